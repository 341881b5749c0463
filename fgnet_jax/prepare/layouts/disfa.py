"""Reads DISFA as its owners lay it out: an intensity file per subject and AU, and a video (or its frames) per subject.

Files are identified by their own names, in any folder and in any case: `SN001_au1.txt`, `LeftVideoSN001_comp.avi`,
`LeftVideoSN001_comp/LeftVideoSN001_comp_00001.jpg`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.aus import CORPUS_AUS, PRESENT_INTENSITY
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Partition, Problem

CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""AUs that DISFA codes; FG-Net trains eight of them."""

_LABELS = re.compile(r"(SN\d{3})_au0*(\d+)\.txt", re.IGNORECASE)
_VIDEO = r"{side}_?video_?(SN\d{{3}})(?:_comp)?"
_VIDEO_END = r"\.(?:avi|mp4|mov|mkv|mpg|mpeg|wmv)"


def read(
    root: Path,
    *,
    partition: Partition | None = None,
    aus: tuple[int, ...] = CORPUS_AUS["disfa"],
    threshold: float = PRESENT_INTENSITY,
    camera: str = "left",
) -> CorpusRecords:
    """Find labels and videos.

    Args:
      root: The owners' folder.
      partition: Folds by subject; by default the published one.
      aus: AUs of `CODED`, in the order of the columns.
      threshold: Intensity from which on an AU counts as present.
      camera: "left" or "right".

    Raises:
      LayoutError: where no label file, or no video of a subject with labels, is found.
    """
    files = records.files_under(root)
    partition = records.standard_partition("disfa") if partition is None else partition
    labels, problems = _label_files(root, files, aus)
    if not labels:
        raise records.not_found(root, files, "a label file ActionUnit_Labels/SN001/SN001_au1.txt")
    _refuse_missing_aus(root, labels, aus)
    videos, frames, more = _image_files(root, files, camera)
    if not set(labels) & (set(videos) | set(frames)):
        side = camera.capitalize()
        expected = (
            f"a {camera} video Videos_{side}Camera/{side}VideoSN001_comp.avi of a subject with labels, or its frames"
        )
        raise records.not_found(root, files, f"{expected} {side}VideoSN001_comp/{side}VideoSN001_comp_00001.jpg")
    problems += more
    sequences = []
    for subject in sorted(set(labels) | set(videos) | set(frames)):
        sequence, more = _sequence(
            subject,
            labels.get(subject, {}),
            video=videos.get(subject),
            images=frames.get(subject, {}),
            partition=partition,
            aus=aus,
            threshold=threshold,
            camera=camera,
        )
        problems += more
        sequences += [sequence] if sequence else []
    return CorpusRecords(
        name="disfa",
        aus=tuple(aus),
        root=root,
        sequences=records.in_order(sequences, partition),
        problems=tuple(problems),
    )


def _label_files(
    root: Path, files: list[PurePosixPath], aus: tuple[int, ...]
) -> tuple[dict[str, dict[int, Path]], list[Problem]]:
    """Find the label files, by subject and AU."""
    labels: dict[str, dict[int, Path]] = defaultdict(dict)
    problems = []
    for path in files:
        match = _LABELS.fullmatch(path.name)
        if match and int(match[2]) in aus:
            subject, au = match[1].upper(), int(match[2])
            used = labels[subject].setdefault(au, root / path)
            if used != root / path:
                problems.append(Problem(records.AMBIGUOUS, f"{subject} AU {au}", f"{used} is taken, {path} is not"))
    return dict(labels), problems


def _refuse_missing_aus(root: Path, labels: dict[str, dict[int, Path]], aus: tuple[int, ...]) -> None:
    """Refuse AUs that no subject has a label file of."""
    available = set().union(*labels.values())
    missing = [au for au in aus if au not in available]
    if missing:
        names = ", ".join(f"SN001_au{au}.txt" for au in missing)
        raise records.LayoutError(
            f"{root} has no label file of AU {', '.join(map(str, missing))}: looked for {names} …"
        )


def _image_files(
    root: Path, files: list[PurePosixPath], camera: str
) -> tuple[dict[str, Path], dict[str, dict[int, Path]], list[Problem]]:
    """Find videos by subject, extracted frames by subject and number, and problems with either."""
    stem = _VIDEO.format(side=camera)
    video, folder = re.compile(stem + _VIDEO_END, re.IGNORECASE), re.compile(stem, re.IGNORECASE)
    videos: dict[str, Path] = {}
    frames: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    problems = []
    for path in files:
        if match := video.fullmatch(path.name):
            subject = match[1].upper()
            used = videos.setdefault(subject, root / path)
            if used != root / path:
                problems.append(Problem(records.AMBIGUOUS, subject, f"{used} is taken, {path} is not"))
        elif path.suffix.lower() in records.IMAGE_SUFFIXES and (match := folder.fullmatch(path.parent.name)):
            digits = re.search(r"(\d+)$", path.stem)
            if digits:
                frames[match[1].upper()].append((int(digits[1]), root / path))
    numbered = {}
    for subject, images in frames.items():
        numbered[subject], more = records.by_number(subject, images)
        problems += more
    return videos, numbered, problems


def _sequence(
    subject: str,
    files: Mapping[int, Path],
    *,
    video: Path | None,
    images: Mapping[int, Path],
    partition: Partition,
    aus: tuple[int, ...],
    threshold: float,
    camera: str,
) -> tuple[LabelledSequence | None, list[Problem]]:
    """Read a subject's sequence of label files by AU; None, with the problems, where it cannot be used."""
    if subject not in partition:
        return None, [Problem(kind=records.NO_FOLD, where=subject, detail="not in the partition", count=0)]
    if not files:
        return None, [
            Problem(kind=records.NO_LABEL, where=subject, detail=f"no file {subject}_au….txt", count=len(images))
        ]
    intensities, problems = _intensities(subject, files, aus)
    if not len(intensities):
        return None, problems
    frames = np.arange(1, len(intensities) + 1, dtype=np.int32)
    if video is None and not images:
        return None, [
            *problems,
            Problem(kind=records.NO_IMAGE, where=subject, detail=f"no {camera} video and no frames", count=len(frames)),
        ]
    if video is not None and images:
        problems.append(Problem(records.AMBIGUOUS, subject, f"{video} is taken, extracted frames are not"))
        images = {}
    if images and min(images) == 0:
        problems.append(
            Problem(records.FRAME_COUNT, subject, "frames are numbered from 0: frame 0 is taken as the first")
        )
        images = {number + 1: path for number, path in images.items()}
    if images:
        problems += records.unlabelled(subject, images, frames)
        if len(images) != len(frames):
            detail = f"{len(images)} images, {len(frames)} label lines"
            problems.append(
                Problem(kind=records.FRAME_COUNT, where=subject, detail=detail, count=abs(len(images) - len(frames)))
            )
    sequence = LabelledSequence(
        subject=subject,
        name=camera,
        fold=partition[subject],
        frames=frames,
        labels=np.where(intensities < 0, -1, intensities >= threshold).astype(np.int8),
        intensities=intensities,
        images=images,
        video=video,
    )
    return sequence, problems


def _intensities(subject: str, files: Mapping[int, Path], aus: tuple[int, ...]) -> tuple[np.ndarray, list[Problem]]:
    """Read a subject's intensities, (frames, K) float32; -1 for an AU whose file is missing or bad."""
    columns: dict[int, dict[int, int]] = {}
    problems = []
    for au in aus:
        if au not in files:
            problems.append(
                Problem(
                    kind=records.BAD_FILE,
                    where=f"{subject}_au{au}.txt",
                    detail="missing: this AU is unknown here",
                    count=0,
                )
            )
            continue
        try:
            columns[au] = read_intensities(files[au])
        except FileError as error:
            problems.append(
                Problem(
                    kind=records.BAD_FILE, where=str(files[au]), detail=f"{error}; this AU is unknown here", count=0
                )
            )
    count = max((max(column, default=0) for column in columns.values()), default=0)
    values = np.full((count, len(aus)), -1, np.float32)
    for k, au in enumerate(aus):
        for frame, intensity in columns.get(au, {}).items():
            values[frame - 1, k] = intensity
        missing = count - len(columns.get(au, {}))
        if au in columns and missing:
            detail = f"{missing} of {count} lines are missing"
            problems.append(Problem(kind=records.FRAME_COUNT, where=str(files[au]), detail=detail, count=missing))
    return values, problems


def read_intensities(path: Path) -> dict[int, int]:
    """Read a label file: intensities, 0 to 5, by frame, from 1.

    Raises:
      FileError: for a line that is not `frame,intensity`, or a frame that comes twice.
    """
    values: dict[int, int] = {}
    for number, line in records.lines_of(path):
        match = re.fullmatch(r"(\d+)\s*[,;\s]\s*([0-5])(?:\.0*)?", line)
        if not match or not 1 <= int(match[1]) <= 1_000_000:
            raise FileError(f"line {number}: expected frame,intensity with an intensity of 0 to 5, got {line[:40]!r}")
        if int(match[1]) in values:
            raise FileError(f"line {number}: frame {match[1]} comes twice")
        values[int(match[1])] = int(match[2])
    if not values:
        raise FileError("has no line")
    return values

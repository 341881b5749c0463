"""Reads DISFA as its owners lay it out: an intensity file per subject and AU, and a video (or its frames) per subject.

Files are identified by their own names, in any folder and in any case: `SN001_au1.txt`, `LeftVideoSN001_comp.avi`,
`LeftVideoSN001_comp/LeftVideoSN001_comp_00001.jpg` (`disfa_files`).
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fgnet_jax.aus import CORPUS_AUS, PRESENT_INTENSITY
from fgnet_jax.prepare.layouts import disfa_files, label_files, recognition, records
from fgnet_jax.prepare.layouts.disfa_files import LabelFiles
from fgnet_jax.prepare.layouts.label_files import LOST, BadLine
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Partition, Problem

CODED = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""AUs that DISFA codes; FG-Net trains eight of them."""

_LINE = re.compile(r"(\d{1,9})(?:\.0*)?\s*[,;\s]\s*(\S.*)?")
_HEADER = re.compile(r"[a-z_ ]*frame[a-z_ ]*[,;\t]", re.IGNORECASE)
_LAST_FRAME = 1_000_000


def read(
    root: Path,
    *,
    partition: Partition | None = None,
    aus: tuple[int, ...] = CORPUS_AUS["disfa"],
    threshold: float = PRESENT_INTENSITY,
    camera: str = "left",
    name: str = "disfa",
) -> CorpusRecords:
    """Find labels and videos.

    Args:
      root: The owners' folder.
      partition: Folds by subject; by default the published one.
      aus: AUs of `CODED`, in the order of the columns.
      threshold: Intensity from which on an AU counts as present.
      camera: "left" or "right".
      name: Name of the corpus; with another than DISFA's, a partition is needed.

    Raises:
      LayoutError: where no label file, or no video of a subject with labels, is found; if this is not DISFA, or has
        another name and no partition.
    """
    partition = recognition.partition_of("disfa", name, partition)
    files = records.files_under(root)
    labels = disfa_files.label_files(root, files, aus)
    recordings = recognition.recordings_of(
        "disfa", name, lambda: recognition.refuse_disfa_plus(root, files, labels.used)
    )
    if not labels.used:
        raise records.not_found(root, files, "a label file ActionUnit_Labels/SN001/SN001_au1.txt")
    images = disfa_files.image_files(root, files, camera)
    subjects = set(images.videos) | set(images.frames)
    if not set(labels.used) & subjects:
        side = camera.capitalize()
        expected = (
            f"a {camera} video Videos_{side}Camera/{side}VideoSN001_comp.avi of a subject with labels, or its frames"
        )
        raise records.not_found(root, files, f"{expected} {side}VideoSN001_comp/{side}VideoSN001_comp_00001.jpg")
    problems = labels.problems + images.problems
    sequences = []
    for subject in sorted(set(labels.used) | subjects):
        sequence, more = _sequence(
            subject,
            labels,
            video=images.videos.get(subject),
            images=images.frames.get(subject, {}),
            partition=partition,
            aus=aus,
            threshold=threshold,
            camera=camera,
        )
        problems += more
        sequences += [sequence] if sequence else []
    return CorpusRecords(
        name=name,
        recordings=recordings,
        aus=tuple(aus),
        root=root,
        sequences=records.in_order(sequences, partition),
        folds=records.folds_of(name, partition),
        problems=tuple(problems),
        notes=tuple(filter(None, [labels.note()])),
    )


def _sequence(
    subject: str,
    labels: LabelFiles,
    *,
    video: Path | None,
    images: Mapping[int, Path],
    partition: Partition,
    aus: tuple[int, ...],
    threshold: float,
    camera: str,
) -> tuple[LabelledSequence | None, list[Problem]]:
    """Read a subject's sequence; None, with the problems, where it cannot be used."""
    if subject not in partition:
        count = len(_intensities(subject, labels, aus)[0]) if subject in labels.used else len(images)
        return None, [Problem(records.NO_FOLD, subject, "not in the partition, so all of it is left out", count=count)]
    if subject not in labels.used:
        return None, [
            Problem(kind=records.NO_LABEL, where=subject, detail=f"no file {subject}_au….txt", count=len(images))
        ]
    intensities, problems = _intensities(subject, labels, aus)
    if not len(intensities):
        return None, problems
    frames = np.arange(1, len(intensities) + 1, dtype=np.int32)
    if video is None and not images:
        return None, [
            *problems,
            Problem(records.NO_IMAGE, subject, _no_images(subject, camera), count=len(frames)),
        ]
    if video is not None and images:
        problems.append(Problem(records.AMBIGUOUS, subject, f"{video} is taken, extracted frames are not"))
        images = {}
    images, more = _from_one(subject, images, frames)
    problems += more
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


def _from_one(subject: str, images: Mapping[int, Path], frames: np.ndarray) -> tuple[Mapping[int, Path], list[Problem]]:
    """Make extracted frames' numbers begin at 1, as labels' do, and compare them with the labels'."""
    if not images:
        return images, []
    problems: list[Problem] = []
    if min(images) == 0:
        detail = "frames are numbered from 0: frame 0 is taken as the first"
        problems.append(Problem(records.FRAME_COUNT, subject, detail))
        images = {number + 1: path for number, path in images.items()}
    problems += records.unlabelled(subject, images, frames)
    if len(images) != len(frames):
        detail = f"{len(images)} images, {len(frames)} label lines"
        problems.append(Problem(records.FRAME_COUNT, subject, detail, count=abs(len(images) - len(frames))))
    return images, problems


def _no_images(subject: str, camera: str) -> str:
    """Say that a subject has no images, and which names they should have."""
    name = f"{camera.capitalize()}Video{subject}_comp"
    return f"no {camera} video and no frames: expected {name}.avi, {name}/{name}_00001.jpg or {subject}/00001.jpg"


def _intensities(subject: str, labels: LabelFiles, aus: tuple[int, ...]) -> tuple[np.ndarray, list[Problem]]:
    """Read a subject's intensities, (frames, K) float32; -1 where a file is missing or bad, or a line is."""
    columns: dict[int, Intensities] = {}
    problems: list[Problem] = []
    files = labels.used[subject]
    for au in aus:
        if au not in files:
            detail = f"missing: this AU is unknown here{labels.instead(subject, au)}"
            problems.append(Problem(records.BAD_FILE, f"{subject}_au{au}.txt", detail, count=0))
            continue
        try:
            columns[au] = read_intensities(files[au])
        except FileError as error:
            problems.append(Problem(records.BAD_FILE, str(files[au]), f"{error}; this AU is unknown here", count=0))
    count = max((max(column.values, default=0) for column in columns.values()), default=0)
    values = np.full((count, len(aus)), -1, np.float32)
    for k, au in enumerate(aus):
        if au in columns:
            for frame, intensity in columns[au].values.items():
                values[frame - 1, k] = intensity
            problems += _lost_lines(files[au], columns[au], count)
    return values, [dataclasses.replace(p, count=count) if p.kind == records.BAD_FILE else p for p in problems]


def _lost_lines(path: Path, column: "Intensities", count: int) -> list[Problem]:
    """Return the problems of a file's bad lines, and of the lines that it lacks of `count`."""
    problems = label_files.problems(path, column.bad)
    missing = count - len(column.values) - column.unnumbered
    if missing > 0:
        detail = f"{missing} of {count} lines are missing"
        problems.append(Problem(records.FRAME_COUNT, str(path), detail, count=missing))
    return problems


class Intensities(NamedTuple):
    """A label file.

    Attributes:
      values: Intensities, 0 to 5, by frame, from 1; `LOST` where the line of a frame cannot be read.
      bad: Lines that cannot be read.
      unnumbered: How many of them have no frame number, so that they are of none of the frames in `values`.
    """

    values: dict[int, int]
    bad: list[BadLine]
    unnumbered: int


def read_intensities(path: Path) -> Intensities:
    """Read a label file of lines `frame,intensity`; a header is left out.

    A frame whose line cannot be read, or that has two lines which differ, has no label.

    Raises:
      FileError: if it cannot be read as text, has no line, numbers frames from 0, or more than half of its lines are
        bad.
    """
    lines = label_files.lines_of(path)
    lines = lines[1:] if lines and _HEADER.match(lines[0][1]) else lines
    values: dict[int, int] = {}
    first: dict[int, int] = {}
    bad: list[BadLine] = []
    unnumbered = 0
    if lines and re.match(r"0+(\.0*)?\s*[,;\s]", lines[0][1].strip()):
        raise FileError(f"line {lines[0][0]}: expected frame,intensity with frames from 1, got {lines[0][1][:40]!r}")
    for number, line in lines:
        frame, intensity = _frame_and_intensity(line.strip())
        if frame is None or intensity == LOST:
            text = f"expected frame,intensity with an intensity of 0 to 5, got {line.strip()[:40]!r}"
            bad.append(BadLine(number, text + (f": frame {frame} is unknown" if frame is not None else "")))
        elif values.get(frame, intensity) != intensity:
            bad.append(BadLine(number, f"frame {frame} comes twice, line {first[frame]} is another: it is unknown"))
            intensity = LOST
        if frame is None:
            unnumbered += 1
        else:
            first.setdefault(frame, number)
            values[frame] = intensity
    if not lines:
        raise FileError("has no line")
    label_files.refuse_mostly_bad(bad, len(lines))
    return Intensities(values, bad, unnumbered)


def _frame_and_intensity(line: str) -> tuple[int | None, int]:
    """Read a line: None for a number that is no frame, `LOST` for a text that is no intensity."""
    match = _LINE.fullmatch(line)
    if not match or not 1 <= int(match[1]) <= _LAST_FRAME:
        return None, LOST
    cell = label_files.plain_number(match[2] or "")
    return int(match[1]), int(cell) if cell in ("0", "1", "2", "3", "4", "5") else LOST

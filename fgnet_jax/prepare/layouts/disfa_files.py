"""Finds DISFA's files by their own names, in any folder and in any case."""

import dataclasses
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import LayoutError, Problem

_LABELS = re.compile(r"(SN\d{3})_au0*(\d+)\.txt", re.IGNORECASE)
_LABELS_SPELLED = re.compile(r"(SN\d{3})[_-]?au[_-]?0*(\d+)\.(?:txt|csv)", re.IGNORECASE)
_LABELS_IN_FOLDER = re.compile(r"()au[_-]?0*(\d+)\.(?:txt|csv)", re.IGNORECASE)
_LIKE_LABELS = re.compile(r"(SN\d{3}).*au[ _-]?0*(\d+).*\.(?:txt|csv|xlsx?)", re.IGNORECASE)
_SUBJECT = re.compile(r"SN\d{3}", re.IGNORECASE)
_VIDEO = r"{side}_?video_?(SN\d{{3}})(?:_comp)?"
_VIDEO_END = r"\.(?:avi|mp4|mov|mkv|mpg|mpeg|wmv)"
_SIDE = re.compile(r"(?<![A-Za-z])(?:left|right)|Left|Right|LEFT|RIGHT")
_SUBJECT_FRAME = r"(?:(SN\d{{3}})_(?:{side}_)?)?(\d+)"

LabelKey = tuple[str, int]
"""Subject and AU."""


@dataclasses.dataclass(frozen=True)
class LabelFiles:
    """Label files of a copy of DISFA.

    Attributes:
      used: Files by subject and AU.
      unread: Files whose names are like those of labels, by what they seem to be of, but not clear.
      problems: Files that are there twice.
    """

    used: dict[str, dict[int, Path]]
    unread: dict[LabelKey, list[PurePosixPath]]
    problems: list[Problem]

    def instead(self, subject: str, au: int) -> str:
        """Return a remark about files whose names are like that of a missing one; else an empty text."""
        names = [str(path) for path in self.unread.get((subject, au), ())]
        return f"; {', '.join(names)} not read: expected the name {subject}_au{au}.txt" if names else ""

    def note(self) -> str:
        """Return a note about files that are not read although they are like labels; else an empty text."""
        names = [str(path) for paths in self.unread.values() for path in paths]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"not read, expected names like SN001_au12.txt: {', '.join(names[:3])}{more}" if names else ""


def label_files(root: Path, files: list[PurePosixPath], aus: tuple[int, ...]) -> LabelFiles:
    """Find the label files of these AUs: `SN001_au1.txt`, `SN001-AU01.csv`, `SN001/au1.txt`.

    Raises:
      LayoutError: if no subject has a file of one of the AUs.
    """
    labels: dict[str, dict[int, Path]] = defaultdict(dict)
    unread: dict[LabelKey, list[PurePosixPath]] = defaultdict(list)
    problems: list[Problem] = []
    named = [(path, _label_key(path)) for path in files]
    for path, key in sorted(named, key=lambda item: not _LABELS.fullmatch(item[0].name)):  # owners' names first
        if key and key[1] in aus:
            problems += records.add_file(labels[key[0]], key[1], root / path, f"{key[0]} AU {key[1]}")
        elif not key and (match := _LIKE_LABELS.fullmatch(path.name)) and int(match[2]) in aus:
            unread[match[1].upper(), int(match[2])].append(path)
    found = LabelFiles(dict(labels), dict(unread), problems)
    if labels:
        _refuse_missing_aus(root, found, aus)
    return found


def _label_key(path: PurePosixPath) -> LabelKey | None:
    """Return subject and AU of a label file; None for other files."""
    if match := _LABELS_SPELLED.fullmatch(path.name):
        return match[1].upper(), int(match[2])
    match = _LABELS_IN_FOLDER.fullmatch(path.name)
    is_subject = _SUBJECT.fullmatch(path.parent.name)
    return (path.parent.name.upper(), int(match[2])) if match and is_subject else None


def _refuse_missing_aus(root: Path, labels: LabelFiles, aus: tuple[int, ...]) -> None:
    """Refuse AUs that no subject has a label file of."""
    available = set().union(*labels.used.values())
    missing = [au for au in aus if au not in available]
    if missing:
        names = ", ".join(f"SN001_au{au}.txt" for au in missing)
        found = next((f" (not read: {paths[0]})" for (_, au), paths in labels.unread.items() if au in missing), "")
        raise LayoutError(f"{root} has no label file of AU {', '.join(map(str, missing))}: looked for {names} …{found}")


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Videos and extracted frames of a copy of DISFA.

    Attributes:
      videos: Videos by subject.
      frames: Extracted frames by subject and number.
      problems: Files that are there twice.
    """

    videos: dict[str, Path]
    frames: dict[str, dict[int, Path]]
    problems: list[Problem]


def image_files(root: Path, files: list[PurePosixPath], camera: str) -> ImageFiles:
    """Find videos and extracted frames of a camera.

    Frames are in a folder with the video's name, or have the video's name and their number; else they are those of a
    folder with the subject's name, `SN004/00001.jpg`, or of names such as `SN004_00001.jpg`, which name no camera: they
    are taken for the left one's, unless the path names a camera.

    Raises:
      LayoutError: if a subject has no video, and such frames in more than one folder.
    """
    video = re.compile(_VIDEO.format(side=camera) + _VIDEO_END, re.IGNORECASE)
    videos: dict[str, Path] = {}
    problems: list[Problem] = []
    named: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    unnamed: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in files:
        if match := video.fullmatch(path.name):
            subject = match[1].upper()
            problems += records.add_file(videos, subject, root / path, subject)
        elif path.suffix.lower() in records.IMAGE_SUFFIXES:
            if key := _named_frame(path, camera):
                named[key[0]].append((key[1], root / path))
            elif key := _unnamed_frame(path, camera):
                unnamed[key[0]].append((key[1], root / path))
    frames = dict(named)
    for subject in sorted(set(unnamed) - set(named)):
        frames[subject] = unnamed[subject]
        if subject not in videos:
            _refuse_folders(root, subject, unnamed[subject], camera)
    numbered = {}
    for subject, images in frames.items():
        numbered[subject], more = records.by_number(subject, images)
        problems += more if subject in named or subject not in videos else []
    return ImageFiles(videos, numbered, problems)


def _named_frame(path: PurePosixPath, camera: str) -> tuple[str, int] | None:
    """Return subject and number of a frame whose folder or file is named as the video; None for other images."""
    stem = _VIDEO.format(side=camera)
    match, digits = re.fullmatch(stem, path.parent.name, re.IGNORECASE), re.search(r"(\d+)$", path.stem)
    if match and digits:
        return match[1].upper(), int(digits[1])
    match = re.fullmatch(stem + r"_(\d+)", path.stem, re.IGNORECASE)
    return (match[1].upper(), int(match[2])) if match else None


def _unnamed_frame(path: PurePosixPath, camera: str) -> tuple[str, int] | None:
    """Return subject and number of `SN004/00001.jpg` or `SN004_00001.jpg`; None for other images and cameras."""
    match = re.fullmatch(_SUBJECT_FRAME.format(side=camera), path.stem, re.IGNORECASE)
    sides = {match[0].lower() for match in _SIDE.finditer(str(path))} or {"left"}
    if not match or sides != {camera}:
        return None
    folder = path.parent.name.upper() if _SUBJECT.fullmatch(path.parent.name) else None
    subject = match[1].upper() if match[1] else folder
    return (subject, int(match[2])) if subject and folder in (subject, None) else None


def _refuse_folders(root: Path, subject: str, numbered: list[tuple[int, Path]], camera: str) -> None:
    """Refuse frames that are in more than one folder and whose names do not say which are meant."""
    folders = sorted({path.parent.resolve(): path.parent for _, path in numbered}.values())
    if len(folders) > 1:
        side = camera.capitalize()
        raise LayoutError(
            f"{root} has images of {subject} in {folders[0]} and in {folders[1]}: name the folder of its frames "
            f"{side}Video{subject}_comp"
        )

"""What a reader of a corpus' folders finds: sequences of labelled frames, and what was wrong."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.data import folds as folds_lib

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Names that images end with, in lower case."""

NO_FACE = "no face"
UNREADABLE = "unreadable"
NO_IMAGE = "label without image"
NO_LABEL = "image without label"
FRAME_COUNT = "frame count off"
BAD_FILE = "bad label file"
NO_FOLD = "subject without a fold"
AMBIGUOUS = "more than one file for the same"
NOT_KNOWN = "code 9, not known"
KINDS = (NO_FACE, UNREADABLE, NO_IMAGE, NO_LABEL, FRAME_COUNT, BAD_FILE, NO_FOLD, AMBIGUOUS, NOT_KNOWN)
"""Every kind of trouble, as reports name it."""


class LayoutError(ValueError):
    """A folder that is not laid out as expected, as a whole; the message says what was looked for and what is there."""


class FileError(ValueError):
    """One bad file; the message says in which line, and what was expected."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is left out, or done with a doubt.

    Attributes:
      kind: One of `KINDS`.
      where: File, or subject, sequence and frame.
      detail: Why.
      count: Frames that it is about.
    """

    kind: str
    where: str
    detail: str = ""
    count: int = 1


@dataclasses.dataclass(frozen=True)
class LabelledSequence:
    """The labelled frames of one recording.

    Attributes:
      subject: Who.
      name: Which recording of the subject.
      fold: The fold that the subject belongs to.
      frames: (N,) int32, numbers of the labelled frames, growing.
      labels: (N, K) int8, 1 present, 0 absent, -1 unknown.
      intensities: (N, K) float32, 0 to 5, -1 unknown.
      images: Number of a frame to its image; empty where there is a video.
      video: Whose k-th frame, from 1, is frame k; None where there are images.
    """

    subject: str
    name: str
    fold: int
    frames: np.ndarray
    labels: np.ndarray
    intensities: np.ndarray
    images: Mapping[int, Path] = dataclasses.field(default_factory=dict)
    video: Path | None = None

    @property
    def key(self) -> str:
        """What distinguishes it: "F001/T1"."""
        return f"{self.subject}/{self.name}"


@dataclasses.dataclass(frozen=True)
class CorpusRecords:
    """A corpus as it lies on disk.

    Attributes:
      corpus: The dataset's name.
      aus: AU numbers of the columns of labels.
      root: The folder that landmarks on disk mirror.
      sequences: In the order in which they are written.
      problems: What is wrong so far.
      notes: What a reader of the report should know.
    """

    corpus: str
    aus: tuple[int, ...]
    root: Path
    sequences: tuple[LabelledSequence, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def files_under(root: Path) -> list[PurePosixPath]:
    """All files under a folder, relative to it, in an order that depends on their names alone.

    Raises:
      LayoutError: if it is no folder.
    """
    if not root.is_dir():
        raise LayoutError(f"no folder {root}")
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [PurePosixPath(os.path.relpath(os.path.join(folder, name), root)) for name in names]
    return sorted(found, key=str)


def refuse(root: Path, files: Iterable[PurePosixPath], wanted: str) -> LayoutError:
    """The error that says what was looked for in vain, with a glance at what is there."""
    there = sorted({path.parts[0] for path in files})
    shown = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
    return LayoutError(f"nothing in {root} is {wanted}; there is: {shown or 'nothing'}")


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines of a text file that are not empty, with their numbers from 1.

    Raises:
      FileError: if it cannot be read as text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"cannot be read as text: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


Partition = Mapping[str, int]
"""Subject to fold."""


def standard_partition(corpus: str) -> Partition:
    """The published folds of BP4D or DISFA."""
    return {name: fold for fold, names in enumerate(folds_lib.FOLDS[corpus]) for name in names}


def read_partition(path: Path) -> Partition:
    """A partition of one's own: JSON, a list of subjects per fold, `[["SN001", …], […], […]]`.

    Raises:
      LayoutError: if the file is not of that form, or a subject is in two folds.
    """
    wanted = f'expected {folds_lib.NUM_FOLDS} lists of subjects, [["SN001", ...], [...], [...]]'
    try:
        folds = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LayoutError(f"partition {path} cannot be read: {error}; {wanted}") from error
    is_list = isinstance(folds, list) and all(isinstance(fold, list) and fold for fold in folds)
    if not is_list or len(folds) != folds_lib.NUM_FOLDS or not all(isinstance(s, str) for f in folds for s in f):
        raise LayoutError(f"partition {path} is of another form: {wanted}")
    names = [name for fold in folds for name in fold]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LayoutError(f"partition {path} has {', '.join(twice)} more than once")
    return {name: k for k, fold in enumerate(folds) for name in fold}


def in_order(sequences: Iterable[LabelledSequence], partition: Partition) -> tuple[LabelledSequence, ...]:
    """Sequences by fold, then subject in the partition's order, then name: the order in which they are written."""
    place = {name: k for k, name in enumerate(partition)}
    return tuple(sorted(sequences, key=lambda s: (s.fold, place[s.subject], s.name)))


def span(key: str, numbers: Iterable[int]) -> str:
    """Where some frames are, for messages: "F001/T1 frame 7", "F001/T1 frame 7 to 20"."""
    first, *others = sorted(numbers)
    return f"{key} frame {first}" + (f" to {others[-1]}" if others else "")


def unlabelled(key: str, images: Mapping[int, Path], frames: np.ndarray) -> list[Problem]:
    """The problem of images that have no label, in one line for a sequence."""
    extra = set(images) - set(frames.tolist())
    return [Problem(NO_LABEL, span(key, extra), count=len(extra))] if extra else []


def by_number(key: str, numbered: Iterable[tuple[int, Path]]) -> tuple[dict[int, Path], list[Problem]]:
    """Images by the number in their name; of two with the same number, 1.jpg and 001.jpg, the first is kept."""
    images: dict[int, Path] = {}
    problems = []
    for number, path in numbered:
        if images.setdefault(number, path) != path:
            detail = f"{images[number].name} is taken, {path.name} is not"
            problems.append(Problem(AMBIGUOUS, f"{key} frame {number}", detail))
    return images, problems

"""Records that the readers of layouts return: sequences of labelled frames, and problems."""

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.data import folds as folds_lib

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""File name suffixes of images, in lower case."""

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
"""Every kind of problem, as reports name it."""


class LayoutError(ValueError):
    """A folder that is not laid out as expected; the message says what was searched and what the folder has."""


class FileError(ValueError):
    """A single bad file; the message says in which line, and what was expected."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that is left out, or is in doubt.

    Attributes:
      kind: One of `KINDS`.
      where: File, or subject, sequence and frame.
      detail: Why.
      count: Number of frames concerned.
    """

    kind: str
    where: str
    detail: str = ""
    count: int = 1


@dataclasses.dataclass(frozen=True)
class LabelledSequence:
    """The labelled frames of one recording.

    Attributes:
      subject: Name of the subject.
      name: Name of the recording among the subject's.
      fold: The fold that the subject belongs to.
      frames: (N,) int32, numbers of the labelled frames, increasing.
      labels: (N, K) int8, 1 present, 0 absent, -1 unknown.
      intensities: (N, K) float32, 0 to 5, -1 unknown.
      images: Images by the number of their frame; empty if there is a video.
      video: The video whose k-th frame, from 1, is frame k; None if there are images.
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
        """Return the subject's and the recording's name, "F001/T1"."""
        return f"{self.subject}/{self.name}"


@dataclasses.dataclass(frozen=True)
class CorpusRecords:
    """A corpus as it is on disk.

    Attributes:
      name: The dataset's name.
      aus: AU numbers of the columns of labels.
      root: The folder whose paths landmarks on disk mirror.
      sequences: In the order in which they are written.
      problems: Problems found while reading.
      notes: Lines for the report.
    """

    name: str
    aus: tuple[int, ...]
    root: Path
    sequences: tuple[LabelledSequence, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def files_under(root: Path) -> list[PurePosixPath]:
    """List all files under a folder, relative to it, in an order that depends on their names alone.

    Raises:
      LayoutError: if there is no such folder.
    """
    if not root.is_dir():
        raise LayoutError(f"no folder {root}")
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [PurePosixPath(os.path.relpath(os.path.join(folder, name), root)) for name in names]
    return sorted(files, key=str)


def not_found(root: Path, files: Iterable[PurePosixPath], expected: str) -> LayoutError:
    """Return the error that says what was not found in a folder, and what the folder has."""
    names = sorted({path.parts[0] for path in files})
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return LayoutError(f"nothing in {root} is {expected}; there is: {listed or 'nothing'}")


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, stripped, with their numbers from 1.

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
    """Return the published folds of BP4D or DISFA."""
    return {name: fold for fold, names in enumerate(folds_lib.FOLDS[corpus]) for name in names}


def read_partition(path: Path) -> Partition:
    """Read a custom partition: JSON, a list of subjects per fold, `[["SN001", …], […], […]]`.

    Raises:
      LayoutError: if the file is not of that form, or a subject is in two folds.
    """
    form = f'expected {folds_lib.NUM_FOLDS} lists of subjects, [["SN001", ...], [...], [...]]'
    try:
        folds = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LayoutError(f"partition {path} cannot be read: {error}; {form}") from error
    is_list = isinstance(folds, list) and all(isinstance(fold, list) and fold for fold in folds)
    if not is_list or len(folds) != folds_lib.NUM_FOLDS or not all(isinstance(s, str) for f in folds for s in f):
        raise LayoutError(f"partition {path} is of another form: {form}")
    names = [name for fold in folds for name in fold]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise LayoutError(f"partition {path} has {', '.join(repeated)} more than once")
    return {name: k for k, fold in enumerate(folds) for name in fold}


def in_order(sequences: Iterable[LabelledSequence], partition: Partition) -> tuple[LabelledSequence, ...]:
    """Sort sequences by fold, then subject in the partition's order, then name: the order in which they are written."""
    place = {name: k for k, name in enumerate(partition)}
    return tuple(sorted(sequences, key=lambda s: (s.fold, place[s.subject], s.name)))


def span(key: str, numbers: Iterable[int]) -> str:
    """Name frames of a sequence for messages: "F001/T1 frame 7", "F001/T1 frame 7 to 20"."""
    first, *others = sorted(numbers)
    return f"{key} frame {first}" + (f" to {others[-1]}" if others else "")


def unlabelled(key: str, images: Mapping[int, Path], frames: np.ndarray) -> list[Problem]:
    """Return the problem of a sequence's images that have no label, as one line; none if all have one."""
    extra = set(images) - set(frames.tolist())
    return [Problem(NO_LABEL, span(key, extra), count=len(extra))] if extra else []


def by_number(key: str, numbered: Iterable[tuple[int, Path]]) -> tuple[dict[int, Path], list[Problem]]:
    """Index images by the number in their name; of two with the same number, 1.jpg and 001.jpg, the first is used."""
    images: dict[int, Path] = {}
    problems = []
    for number, path in numbered:
        if images.setdefault(number, path) != path:
            detail = f"{images[number].name} is taken, {path.name} is not"
            problems.append(Problem(AMBIGUOUS, f"{key} frame {number}", detail))
    return images, problems

"""Records that the readers of layouts return: sequences of labelled frames, and problems."""

import dataclasses
import json
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from fgnet_jax.data import folds as folds_lib
from fgnet_jax.runtime import folders

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""File name suffixes of images, in lower case."""

NO_FACE = "no face"
UNREADABLE = "unreadable"
LOST = "after frames lost in a damaged video"
NO_IMAGE = "label without image"
NO_LABEL = "image without label"
FRAME_COUNT = "frame count off"
BAD_FILE = "bad label file"
BAD_LINE = "bad label lines"
NO_FOLD = "subject without a fold"
AMBIGUOUS = "more than one file for the same"
NOT_KNOWN = "code 9, not known"
KINDS = (NO_FACE, UNREADABLE, LOST, NO_IMAGE, NO_LABEL, FRAME_COUNT, BAD_FILE, BAD_LINE, NO_FOLD, AMBIGUOUS, NOT_KNOWN)
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
      recordings: The published corpus whose recordings these are, where that is known and it has another name.
      folds: Its folds, ascending; a fold that has a face is a split, fold_0 and so on.
    """

    name: str
    aus: tuple[int, ...]
    root: Path
    sequences: tuple[LabelledSequence, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    recordings: str = ""
    folds: tuple[int, ...] = tuple(range(folds_lib.NUM_FOLDS))


def files_under(root: Path) -> list[PurePosixPath]:
    """List all files under a folder, relative to it, in an order that depends on their names alone.

    Links to folders are followed; what lies behind one comes last, so that a file that is also there without it is
    found by that path first. Hidden files, such as those that macOS writes beside every other, are left out.

    Raises:
      LayoutError: if there is no such folder, or one below it cannot be listed.
    """
    if not root.is_dir():
        raise LayoutError(f"no folder {root}")
    files: dict[bool, list[PurePosixPath]] = {False: [], True: []}
    for folder in folders.walk(str(root), _refuse_unlisted):
        relative = PurePosixPath(os.path.relpath(folder.path, root))
        files[folder.is_linked] += [relative / name for name in folder.names]
    return sorted(files[False], key=str) + sorted(files[True], key=str)


def _refuse_unlisted(error: OSError) -> None:
    """Raise for a folder that cannot be listed, unless the file system keeps it for itself."""
    if Path(str(error.filename)).name != "lost+found":
        raise LayoutError(f"{error.filename} cannot be listed: {error.strerror}") from error


Key = TypeVar("Key", bound=Hashable)
"""What a file is of: a subject, a subject and task."""


def is_same(path: Path, other: Path) -> bool:
    """Tell whether two paths lead to the same file, through links."""
    return path == other or os.path.realpath(path) == os.path.realpath(other)


def add_file(files: dict[Key, Path], key: Key, path: Path, where: str) -> list[Problem]:
    """Add a file by its key; of two different ones for the same key the first is used, and that is a problem.

    Args:
      files: Files by key.
      key: What the file is of.
      path: The file.
      where: Name of the key in the problem.
    """
    used = files.setdefault(key, path)
    if is_same(used, path):
        return []
    return [Problem(AMBIGUOUS, where, f"{used} is taken, {path} is not")]


def not_found(root: Path, files: Iterable[PurePosixPath], expected: str) -> LayoutError:
    """Return the error that says what was not found in a folder, and what the folder has."""
    names = sorted({path.parts[0] + _dangling(root / path.parts[0]) for path in files})
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return LayoutError(f"nothing in {root} is {expected}; there is: {listed or 'nothing'}")


def _dangling(path: Path) -> str:
    """Return a remark about a link that leads to nothing, such as a disk that is not mounted."""
    return "" if path.exists() else f" (a link to {os.readlink(path)}, which is not there)"


Partition = Mapping[str, int]
"""Subject to fold."""


def standard_partition(corpus: str) -> Partition:
    """Return the published folds of BP4D or DISFA."""
    return {name: fold for fold, names in enumerate(folds_lib.FOLDS[corpus]) for name in names}


def read_partition(path: Path, num_folds: int | None = None) -> Partition:
    """Read a custom partition: JSON, a list of subjects per fold, `[["SN001", …], […], […]]`.

    Args:
      path: The file.
      num_folds: Number of lists that there must be; any from two on if None.

    Raises:
      LayoutError: if the file is not of that form, or a subject is in two folds.
    """
    form = f'expected {num_folds or "two or more"} lists of subjects, [["SN001", ...], [...], [...]]'
    try:
        folds = json.loads(path.read_bytes())  # in any UTF, with a byte order mark or without
    except (OSError, ValueError) as error:
        raise LayoutError(f"partition {path} cannot be read: {error}; {form}") from error
    is_list = isinstance(folds, list) and all(isinstance(fold, list) and fold for fold in folds)
    if not is_list or not all(isinstance(s, str) for f in folds for s in f):
        raise LayoutError(f"partition {path} is of another form: {form}")
    if len(folds) < 2 or len(folds) != (num_folds or len(folds)):
        hint = "; for other folds, give the corpus a --name of its own" if num_folds else ""
        raise LayoutError(f"partition {path} has {len(folds)} lists: {form}{hint}")
    names = [name for fold in folds for name in fold]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise LayoutError(f"partition {path} has {', '.join(repeated)} more than once")
    return {name: k for k, fold in enumerate(folds) for name in fold}


def folds_of(name: str, partition: Partition) -> tuple[int, ...]:
    """Return the folds of a corpus, ascending: the three of a published one, or those that subjects are in.

    Raises:
      LayoutError: if subjects of a published corpus are in another than its three.
    """
    folds = tuple(sorted(set(partition.values())))
    if not folds_lib.is_published(name):
        return folds
    published = tuple(range(folds_lib.NUM_FOLDS))
    if others := set(folds) - set(published):
        names = ", ".join(map(str, sorted(others)))
        raise LayoutError(f"--name {name}: there are subjects in fold {names}: expected {folds_lib.listed(published)}")
    return published


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
        if not is_same(images.setdefault(number, path), path):
            detail = f"{images[number].name} is taken, {path.name} is not"
            problems.append(Problem(AMBIGUOUS, f"{key} frame {number}", detail))
    return images, problems

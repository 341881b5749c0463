"""Reads FG-Net's own layout: faces that are aligned already, their landmarks, and a table of labels per fold.

`BP4D/aligned_images/F001/T1/02440.jpg`, `BP4D/aligned_landmarks/F001/T1/02440.npy`, `BP4D/labels/0/test.csv`; the same
below `DISFA`.
"""

import dataclasses
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare.layouts import label_files, label_table, recognition, records
from fgnet_jax.prepare.layouts.label_files import BadLine
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Problem

IMAGES, LANDMARKS, LABELS = "aligned_images", "aligned_landmarks", "labels"
"""Folders of the layout."""


def corpora_in(root: Path) -> dict[str, Path]:
    """Find the corpora below a folder, or the one that it is: their folders by name, {"bp4d": …/BP4D}.

    Raises:
      LayoutError: if there is none.
    """
    folders = [root, *(sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else [])]
    corpora: dict[str, Path] = {}
    for folder in folders:
        names = [name for name in (folder.absolute().name.lower(), folder.resolve().name.lower()) if name in CORPUS_AUS]
        if names and (folder / IMAGES).is_dir() and (folder / LABELS).is_dir():
            used = corpora.setdefault(names[0], folder)  # by a link's own name rather than by where it leads to
            if not records.is_same(used, folder):
                raise records.LayoutError(f"{used} and {folder} are both {names[0]}: name one of them")
    if not corpora:
        files = [PurePosixPath(p.name) for p in folders[1:]]
        raise records.not_found(root, files, f"a folder BP4D or DISFA with {IMAGES} and {LABELS} in it")
    return corpora


def read(folder: Path, corpus: str) -> CorpusRecords:
    """Find labels and faces of one corpus; folds are those of the tables `labels/FOLD/test.csv`.

    The training set of a fold is the union of the other two, so that train.csv is not needed; where it exists and
    differs, the report says so.

    Args:
      folder: `…/BP4D`.
      corpus: "bp4d" or "disfa".

    Raises:
      LayoutError: for a missing or broken table, or a subject in two folds.
    """
    aus = CORPUS_AUS[corpus]
    labelled = _Labelled()
    for fold in range(folds_lib.NUM_FOLDS):
        _read_fold(folder, fold, aus, labelled)
    recognition.refuse_other_subjects(corpus, folder, labelled.folds)
    if not labelled.faces:
        detail = labelled.problems[0].detail if labelled.problems else ""
        raise records.LayoutError(f"{folder / LABELS}: no row of any test.csv can be read; {detail}")
    sequences = [_sequence(key, faces) for key, faces in labelled.faces.items()]
    notes = [_train_note(folder, fold, labelled.folds, aus) for fold in range(folds_lib.NUM_FOLDS)]
    notes += [recognition.fold_note(corpus, labelled.folds), *labelled.notes]
    return CorpusRecords(
        name=corpus,
        aus=aus,
        root=folder / IMAGES,
        sequences=tuple(sorted(sequences, key=lambda s: (s.fold, s.subject, s.name))),
        problems=tuple(labelled.problems),
        notes=tuple(filter(None, notes)),
    )


@dataclasses.dataclass(frozen=True)
class _Labelled:
    """Labelled faces of the tables read so far.

    Attributes:
      faces: Of each subject and sequence, by frame number: fold, labels and path.
      folds: Folds by subject.
      problems: Rows that cannot be used.
      notes: Notes about the tables.
    """

    faces: dict[tuple[str, str], dict[int, tuple[int, list[int], Path]]] = dataclasses.field(
        default_factory=lambda: defaultdict(dict)
    )
    folds: dict[str, int] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def _read_fold(folder: Path, fold: int, aus: tuple[int, ...], labelled: _Labelled) -> None:
    """Add the faces of a fold's table."""
    table = _table(folder, fold, "test", aus)
    path_column, columns = _path_column(table), [table.aus[au] for au in aus]
    labelled.notes.append(table.note([path_column, *table.aus.values()]))
    bad = list(table.bad)
    for row, labels in zip(table.rows, label_table.labels(table, columns, label_table.binary), strict=True):
        reasons = list(labels.reasons)
        try:
            subject, name, number, path = _face(folder, row, path_column)
        except FileError as error:
            bad.append(BadLine(row.line, "; ".join([str(error), *reasons])))
            continue
        other = labelled.folds.setdefault(subject, fold)
        if other != fold:
            raise records.LayoutError(f"{table.path} line {row.line}: {subject} is in fold {other} as well")
        faces, values = labelled.faces[subject, name], list(map(int, labels.values))
        if number in faces:
            merged, differing = label_table.merge(faces[number][1], values, columns)
            values = list(map(int, merged))
            reasons += [f"{subject}/{name} frame {number} comes twice, with another {differing}"] if differing else []
            path = faces[number][2]
        faces[number] = fold, values, path
        if reasons:
            bad.append(BadLine(row.line, "; ".join(reasons)))
    labelled.problems.extend(label_files.problems(table.path, sorted(bad)))


def landmarks_beside(corpus: CorpusRecords) -> Path | None:
    """Return the folder of landmarks beside that of the images; None where there is none."""
    folder = corpus.root.parent / LANDMARKS
    return folder if folder.is_dir() else None


def _table(folder: Path, fold: int, name: str, aus: tuple[int, ...]) -> label_table.LabelTable:
    """Read a fold's table, which must have a column of each AU."""
    path = folder / LABELS / str(fold) / f"{name}.csv"
    if not path.is_file():
        raise records.LayoutError(f"no table {path}: expected labels/0, 1 and 2, each with a test.csv")
    table = label_table.read(path)
    missing = [str(au) for au in aus if au not in table.aus]
    if missing:
        raise records.LayoutError(f"{path} has no column of AU {', '.join(missing)}")
    return table


def _path_column(table: label_table.LabelTable) -> str:
    """Return the column of the images' paths."""
    column = table.column("image_path")
    if column is None:
        raise records.LayoutError(
            f"{table.path} has no column image_path: its columns are {', '.join(map(repr, table.columns))}"
        )
    return column


def _face(folder: Path, row: label_table.LabelRow, column: str) -> tuple[str, str, int, Path]:
    """Return subject, sequence, frame number and path of "BP4D/F001/T1/02440.jpg", whatever precedes the subject."""
    parts = PurePosixPath(row.cells[column].replace("\\", "/")).parts
    starts = [k for k, part in enumerate(parts[:-1]) if re.fullmatch(r"[FM]\d{3}|SN\d{3}", part, re.IGNORECASE)]
    if not starts or not PurePosixPath(parts[-1]).stem.isdecimal() or ".." in parts:
        raise FileError(f"{row.cells[column]!r} is no path like BP4D/F001/T1/02440.jpg")
    inner = parts[starts[0] :]
    name = "/".join(inner[1:-1]) or "left"
    return inner[0], name, int(PurePosixPath(inner[-1]).stem), folder / IMAGES / Path(*inner)


def _sequence(key: tuple[str, str], faces: dict[int, tuple[int, list[int], Path]]) -> LabelledSequence:
    """Build a sequence, `key` its subject and name, of faces by frame number: fold, labels and path."""
    numbers = sorted(faces)
    labels = np.array([faces[number][1] for number in numbers], np.int8)
    return LabelledSequence(
        subject=key[0],
        name=key[1],
        fold=faces[numbers[0]][0],
        frames=np.array(numbers, np.int32),
        labels=labels,
        intensities=np.full(labels.shape, -1, np.float32),
        images={number: faces[number][2] for number in numbers},
    )


def _train_note(folder: Path, fold: int, folds: dict[str, int], aus: tuple[int, ...]) -> str:
    """Return a note if a train.csv has other subjects than the other folds; empty also where it is missing."""
    if not (folder / LABELS / str(fold) / "train.csv").is_file():
        return ""
    table = _table(folder, fold, "train", aus)
    column = _path_column(table)
    subjects = set()
    for row in table.rows:
        try:
            subjects.add(_face(folder, row, column)[0])
        except FileError:
            continue  # the same row of a test.csv is what is read and reported
    others = {name for name, other in folds.items() if other != fold}
    if subjects == others:
        return ""
    differing = ", ".join(sorted(subjects ^ others))
    return f"{table.path} has other subjects than the test sets of the other folds ({differing}): it is not used"

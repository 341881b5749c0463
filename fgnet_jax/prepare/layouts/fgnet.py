"""FG-Net's own layout: faces that are aligned already, their landmarks, and a table of labels per fold.

`BP4D/aligned_images/F001/T1/02440.jpg`, `BP4D/aligned_landmarks/F001/T1/02440.npy`, `BP4D/labels/0/test.csv`; the same
below `DISFA`.
"""

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare.layouts import label_table, records
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Problem

IMAGES, LANDMARKS, LABELS = "aligned_images", "aligned_landmarks", "labels"
"""Folders of the layout."""


def corpora_in(root: Path) -> dict[str, Path]:
    """Name of each corpus below (or at) a folder to its own folder: {"bp4d": …/BP4D}.

    Raises:
      LayoutError: if there is none.
    """
    folders = [root, *(sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else [])]
    found = {p.resolve().name.lower(): p for p in folders if (p / IMAGES).is_dir() and (p / LABELS).is_dir()}
    known = {name: path for name, path in found.items() if name in CORPUS_AUS}
    if not known:
        files = [PurePosixPath(p.name) for p in folders[1:]]
        raise records.refuse(root, files, f"a folder BP4D or DISFA with {IMAGES} and {LABELS} in it")
    return known


def read(folder: Path, corpus: str) -> CorpusRecords:
    """Finds labels and faces of one corpus; folds are those of the tables `labels/FOLD/test.csv`.

    The training set of a fold is the union of the other two, so that train.csv is not needed; where it is there and
    says otherwise, the report says so.

    Args:
      folder: `…/BP4D`.
      corpus: "bp4d" or "disfa".

    Raises:
      LayoutError: for a missing or broken table, or a subject in two folds.
    """
    aus = CORPUS_AUS[corpus]
    rows: dict[tuple[str, str], dict[int, tuple[int, list[int], Path]]] = defaultdict(dict)
    problems: list[Problem] = []
    folds: dict[str, int] = {}
    for fold in range(folds_lib.NUM_FOLDS):
        table = _table(folder, fold, "test", aus)
        path_column = _path_column(table)
        for row in table.rows:
            try:
                face = _face(folder, row, path_column)
                labels = [label_table.binary(row, table.aus[au]) for au in aus]
            except FileError as error:
                problems.append(Problem(records.BAD_FILE, f"{table.path} line {row.line}", str(error)))
                continue
            subject, name, number, path = face
            if folds.setdefault(subject, fold) != fold:
                raise records.LayoutError(
                    f"{table.path} line {row.line}: {subject} is in fold {folds[subject]} as well"
                )
            if number in rows[subject, name]:
                problems.append(
                    Problem(records.AMBIGUOUS, f"{subject}/{name} frame {number}", f"{table.path} {row.line}")
                )
                continue
            rows[subject, name][number] = fold, labels, path
    if not rows:
        raise records.LayoutError(
            f"{folder / LABELS}: no row of any test.csv can be read; {problems[0].detail if problems else ''}"
        )
    sequences = [_sequence(key, faces) for key, faces in rows.items()]
    ordered = sorted(sequences, key=lambda s: (s.fold, s.subject, s.name))
    notes = [note for fold in range(folds_lib.NUM_FOLDS) if (note := _train_note(folder, fold, folds, aus))]
    return CorpusRecords(corpus, aus, folder / IMAGES, tuple(ordered), tuple(problems), tuple(notes))


def landmarks_beside(found: CorpusRecords) -> Path | None:
    """The folder of landmarks beside the images'; None where there is none."""
    folder = found.root.parent / LANDMARKS
    return folder if folder.is_dir() else None


def _table(folder: Path, fold: int, name: str, aus) -> label_table.LabelTable:
    path = folder / LABELS / str(fold) / f"{name}.csv"
    if not path.is_file():
        raise records.LayoutError(f"no table {path}: expected labels/0, 1 and 2, each with a test.csv")
    table = label_table.read(path)
    missing = [str(au) for au in aus if au not in table.aus]
    if missing:
        raise records.LayoutError(f"{path} has no column of AU {', '.join(missing)}")
    return table


def _path_column(table: label_table.LabelTable) -> str:
    column = table.column("image_path")
    if column is None:
        raise records.LayoutError(
            f"{table.path} has no column image_path: its columns are {', '.join(map(repr, table.columns))}"
        )
    return column


def _face(folder: Path, row: label_table.LabelRow, column: str) -> tuple[str, str, int, Path]:
    """Subject, sequence, frame number and path: "BP4D/F001/T1/02440.jpg", whatever stands in front of the subject."""
    parts = PurePosixPath(row.cells[column].replace("\\", "/")).parts
    starts = [k for k, part in enumerate(parts[:-1]) if re.fullmatch(r"[FM]\d{3}|SN\d{3}", part, re.IGNORECASE)]
    if not starts or not PurePosixPath(parts[-1]).stem.isdecimal() or ".." in parts:
        raise FileError(f"line {row.line}: {row.cells[column]!r} is no path like BP4D/F001/T1/02440.jpg")
    inner = parts[starts[0] :]
    name = "/".join(inner[1:-1]) or "left"
    return inner[0], name, int(PurePosixPath(inner[-1]).stem), folder / IMAGES / Path(*inner)


def _sequence(key: tuple[str, str], faces: dict[int, tuple[int, list[int], Path]]) -> LabelledSequence:
    numbers = sorted(faces)
    labels = np.array([faces[number][1] for number in numbers], np.int8)
    images = {number: faces[number][2] for number in numbers}
    intensities = np.full(labels.shape, -1, np.float32)
    fold = faces[numbers[0]][0]
    return LabelledSequence(key[0], key[1], fold, np.array(numbers, np.int32), labels, intensities, images)


def _train_note(folder: Path, fold: int, folds: dict[str, int], aus) -> str:
    """What is to be said of a train.csv: nothing where it is missing or has the subjects of the other folds."""
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
    others = {name for name, place in folds.items() if place != fold}
    if subjects == others:
        return ""
    differ = ", ".join(sorted(subjects ^ others))
    return f"{table.path} has other subjects than the test sets of the other folds ({differ}): it is not used"

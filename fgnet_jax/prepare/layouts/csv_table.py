"""Reads a custom corpus: a table of images, subjects and AU columns.

    image,subject,au1,au6,au43
    anna/0001.jpg,anna,0,1,

Columns, in any order: `image` (or `picture`, `image_path`, `path`, `file`; relative to the table), `subject`, AUs by
name (`au1`, `AU06`); optionally `sequence`, `frame` and `fold` (0 to 2).
"""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare.layouts import label_table, records
from fgnet_jax.prepare.layouts.records import (
    CorpusRecords,
    FileError,
    LabelledSequence,
    LayoutError,
    Partition,
    Problem,
)

DEFAULT_SEQUENCE = "pictures"
"""Name of a subject's sequence where the table has no column `sequence`.

Datasets that are prepared already have it in their records and fingerprints, so it stays.
"""

Faces = dict[tuple[str, str], dict[int, tuple[Path, list[float]]]]
"""Of each subject and sequence, image and AU values by frame number."""


def read(file: Path, name: str, *, partition: Partition | None = None, threshold: float | None = None) -> CorpusRecords:
    """Find images and labels.

    Args:
      file: The table.
      name: Name of the corpus.
      partition: Folds by subject; by default the column `fold`, else subjects are assigned to the three folds in turn,
        sorted by name.
      threshold: If given, AU columns have intensities of 0 to 5, present from this one on; else they have 0 and 1.

    Raises:
      LayoutError: if the table cannot be read, lacks a column, or none of its images exists.
    """
    table = label_table.read(file)
    image, subject = _needed(table, "image", "picture", "image_path", "path", "file"), _needed(table, "subject")
    rows, problems = _rows(table, image=image, subject=subject, threshold=threshold)
    _refuse_without_images(file, rows, problems)
    folds = partition if partition is not None else _folds(table, subject, sorted({key[0] for key in rows}))
    sequences = []
    for key, faces in rows.items():
        if key[0] not in folds:
            problems.append(
                Problem(kind=records.NO_FOLD, where="/".join(key), detail="not in the partition", count=len(faces))
            )
        else:
            sequences.append(_sequence(key, faces, folds[key[0]], threshold))
    return CorpusRecords(
        name=name,
        aus=tuple(table.aus),
        root=file.parent,
        sequences=records.in_order(sequences, folds),
        problems=tuple(problems),
    )


def _rows(
    table: label_table.LabelTable, *, image: str, subject: str, threshold: float | None
) -> tuple[Faces, list[Problem]]:
    """Read the table's rows, and the problems of those that cannot be used."""
    sequence, frame = table.column("sequence"), table.column("frame")
    read_label = label_table.binary if threshold is None else label_table.intensity
    rows: Faces = defaultdict(dict)
    problems: list[Problem] = []
    for row in table.rows:
        key = row.cells[subject], row.cells[sequence] if sequence else DEFAULT_SEQUENCE
        try:
            number = _number(row, frame, len(rows[key]) + 1)
            if not key[0]:
                raise FileError(f"line {row.line}: has no subject")
            if number in rows[key]:
                raise FileError(f"line {row.line}: frame {number} of {'/'.join(key)} comes twice")
            values = [float(read_label(row, column)) for column in table.aus.values()]
            rows[key][number] = table.path.parent / row.cells[image], values
        except FileError as error:
            problems.append(Problem(records.BAD_FILE, f"{table.path} line {row.line}", str(error)))
    return {key: faces for key, faces in rows.items() if faces}, problems


def _needed(table: label_table.LabelTable, *names: str) -> str:
    """Return the column with one of these names, which the table must have."""
    column = table.column(*names)
    if column is None:
        columns = ", ".join(map(repr, table.columns))
        raise LayoutError(f"{table.path} has no column {' or '.join(names)}: its columns are {columns}")
    return column


def _number(row: label_table.LabelRow, column: str | None, default: int) -> int:
    """Return a row's frame number."""
    text = row.cells[column] if column else str(default)
    if not re.fullmatch(r"\d{1,9}", text):
        raise FileError(f"line {row.line}: frame is {text!r}: expected a whole number")
    return int(text)


def _refuse_without_images(file: Path, rows: Faces, problems: list[Problem]) -> None:
    """Refuse a table without a row that can be used, or without an image that exists."""
    if not rows:
        raise LayoutError(f"{file}: no row can be used; {problems[0].detail if problems else 'there is none'}")
    paths = [path for faces in rows.values() for path, _ in faces.values()]
    if not any(path.is_file() for path in paths):
        raise LayoutError(f"{file}: none of its {len(paths)} images is there; looked for {paths[0]} and the like")


def _folds(table: label_table.LabelTable, subject: str, names: list[str]) -> dict[str, int]:
    """Return the folds by subject: of the column `fold`, else in turn."""
    column = table.column("fold")
    if column is None:
        return {name: k % folds_lib.NUM_FOLDS for k, name in enumerate(names)}
    folds: dict[str, int] = {}
    for row in table.rows:
        text = row.cells[column]
        if text not in map(str, range(folds_lib.NUM_FOLDS)):
            raise LayoutError(
                f"{table.path} line {row.line}: fold is {text!r}: expected 0 to {folds_lib.NUM_FOLDS - 1}"
            )
        name = row.cells[subject]
        if folds.setdefault(name, int(text)) != int(text):
            raise LayoutError(f"{table.path} line {row.line}: {name} is in fold {folds[name]} as well as in {text}")
    return folds


def _sequence(
    key: tuple[str, str], faces: dict[int, tuple[Path, list[float]]], fold: int, threshold: float | None
) -> LabelledSequence:
    """Build a sequence, `key` its subject and name."""
    numbers = sorted(faces)
    values = np.array([faces[number][1] for number in numbers], np.float32)
    present = values if threshold is None else np.where(values < 0, -1, values >= threshold)
    return LabelledSequence(
        subject=key[0],
        name=key[1],
        fold=fold,
        frames=np.array(numbers, np.int32),
        labels=present.astype(np.int8),
        intensities=np.full(values.shape, -1, np.float32) if threshold is None else values,
        images={number: faces[number][0] for number in numbers},
    )

"""Reads a custom corpus: a table of images, subjects and AU columns.

    image,subject,au1,au6,au43
    anna/0001.jpg,anna,0,1,

Columns, in any order: `image` (or `picture`, `image_path`, `path`, `file`; relative to the table), `subject`, AUs by
name (`au1`, `AU06`, `AU12_c`); optionally `sequence`, `frame` and `fold` (a whole number, of any number of folds).
"""

import dataclasses
import os
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from fgnet_jax.data import folds as folds_lib
from fgnet_jax.prepare.layouts import label_files, label_table, recognition, records
from fgnet_jax.prepare.layouts.label_files import BadLine
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

_LONGEST_NAME = 255
"""Bytes of a file's name, at most, on every usual file system."""

SUBJECTS = "subjects"
"""Instead of a number of folds: one for each subject."""

Faces = dict[tuple[str, str], dict[int, tuple[Path, list[float]]]]
"""Of each subject and sequence, image and AU values by frame number."""


def read(
    file: Path,
    name: str,
    *,
    partition: Partition | None = None,
    folds: int | str | None = None,
    threshold: float | None = None,
) -> CorpusRecords:
    """Find images and labels.

    Args:
      file: The table.
      name: Name of the corpus.
      partition: Folds by subject; by default the column `fold`, else subjects are assigned to the three folds in turn,
        sorted by name.
      folds: Number of folds to assign subjects to in turn, whatever the column `fold` says, or `SUBJECTS`: each subject
        is a fold.
      threshold: If given, AU columns have intensities of 0 to 5, present from this one on; else they have 0 and 1.

    Raises:
      LayoutError: if the table cannot be read, lacks a column, or none of its images exists; if it has the name of BP4D
        or DISFA, and not their subjects or folds; if there are more folds than subjects.
    """
    table = label_table.read(file)
    keys = _key_columns(table)
    faces, problems = _read_rows(table, keys, threshold)
    rows = faces.by_sequence()
    _refuse_without_images(file, rows, problems)
    subjects = sorted({key[0] for key in rows})
    recognition.refuse_borrowed_name(name, subjects, has_folds=partition is not None or keys.fold is not None)
    if folds is not None and folds_lib.is_published(name):
        raise LayoutError(f"--folds {folds}: {name} has three published folds; choose another --name")
    note = ""
    if partition is None:
        partition, note = _partition(table, keys, subjects, folds)
    sequences = []
    for key, faces in rows.items():
        if key[0] not in partition:
            problems.append(
                Problem(kind=records.NO_FOLD, where="/".join(key), detail="not in the partition", count=len(faces))
            )
        else:
            sequences.append(_sequence(key, faces, partition[key[0]], threshold))
    return CorpusRecords(
        name=name,
        aus=tuple(table.aus),
        root=file.parent,
        sequences=records.in_order(sequences, partition),
        folds=records.folds_of(name, partition),
        problems=tuple(problems),
        notes=tuple(filter(None, [note, table.note([*dataclasses.astuple(keys), *table.aus.values()])])),
    )


@dataclasses.dataclass(frozen=True)
class _KeyColumns:
    """Names of the columns that say what a row is of; None for those that are not there."""

    image: str
    subject: str
    sequence: str | None
    frame: str | None
    fold: str | None


def _key_columns(table: label_table.LabelTable) -> _KeyColumns:
    """Find the columns that say what a row is of."""
    return _KeyColumns(
        image=_needed(table, "image", "picture", "image_path", "path", "file"),
        subject=_needed(table, "subject"),
        sequence=table.column("sequence"),
        frame=table.column("frame"),
        fold=table.column("fold"),
    )


def _needed(table: label_table.LabelTable, *names: str) -> str:
    """Return the column with one of these names, which the table must have."""
    column = table.column(*names)
    if column is None:
        columns = ", ".join(map(repr, table.columns))
        raise LayoutError(f"{table.path} has no column {' or '.join(names)}: its columns are {columns}")
    return column


class _FaceRows:
    """Faces of the rows read so far."""

    def __init__(self, table: label_table.LabelTable, keys: _KeyColumns):
        self._table, self._keys = table, keys
        self._faces: Faces = defaultdict(dict)
        self._places: dict[Path, tuple[tuple[str, str], int]] = {}

    def by_sequence(self) -> Faces:
        """Return the faces of each subject and sequence that has one."""
        return {key: faces for key, faces in self._faces.items() if faces}

    def add(self, row: label_table.LabelRow, values: list[float]) -> str:
        """Add a row's face and return what its labels contradict: those are lost; empty where nothing is.

        Raises:
          FileError: if the row cannot be used.
        """
        keys = self._keys
        key = row.cells[keys.subject], row.cells[keys.sequence] if keys.sequence else DEFAULT_SEQUENCE
        if not key[0]:
            raise FileError("has no subject")
        if any(
            label_files.DAMAGE in row.cells[column] for column in (keys.subject, keys.sequence, keys.image) if column
        ):
            raise FileError("is no text in UTF-8: this row is not read")
        number = _number(row, keys.frame, len(self._faces[key]) + 1)
        name = row.cells[keys.image]
        if max(map(len, os.fsencode(name).split(b"/"))) > _LONGEST_NAME:
            raise FileError(f"{name[:40]!r}… is no name of a file")
        path = self._table.path.parent / name
        place = key, number
        if number in self._faces[key] and self._faces[key][number][0] != path:
            raise FileError(f"frame {number} of {'/'.join(key)} comes twice, with another image: this row is not read")
        other = place if number in self._faces[key] else self._places.get(path)
        if other is None:
            self._faces[key][number], self._places[path] = (path, values), place
            return ""
        merged, differing = label_table.merge(self._faces[other[0]][other[1]][1], values, self._table.aus.values())
        self._faces[other[0]][other[1]] = path, merged
        self._faces[key][number] = path, merged
        who = f", {other[0][0]}'s before" if other[0][0] != key[0] else ""
        return f"{name!r} comes twice{who}, with another {differing}" if differing or who else ""


def _read_rows(
    table: label_table.LabelTable, keys: _KeyColumns, threshold: float | None
) -> tuple[_FaceRows, list[Problem]]:
    """Read the table's rows, and the problems of what cannot be read."""
    if threshold is not None and table.are_presence:
        raise LayoutError(f"{table.path}: columns AU…_c have 0 and 1, no intensities: leave out --threshold")
    read_label = label_table.binary if threshold is None else label_table.intensity
    hint = ": say with --threshold from which on an AU is present"
    faces, bad = _FaceRows(table, keys), list(table.bad)
    for row, labels in zip(table.rows, label_table.labels(table, table.aus.values(), read_label, hint), strict=True):
        reasons = list(labels.reasons)
        try:
            reasons += filter(None, [faces.add(row, labels.values)])
        except FileError as error:
            reasons.append(str(error))
        if reasons:
            bad.append(BadLine(row.line, "; ".join(reasons)))
    return faces, label_files.problems(table.path, sorted(bad))


def _number(row: label_table.LabelRow, column: str | None, default: int) -> int:
    """Return a row's frame number."""
    text = label_files.plain_number(row.cells[column]) if column else str(default)
    if not re.fullmatch(r"\d{1,9}", text):
        raise FileError(f"frame is {text!r}: expected a whole number")
    return int(text)


def _refuse_without_images(file: Path, rows: Faces, problems: list[Problem]) -> None:
    """Refuse a table without a row that can be used, or without an image that exists."""
    if not rows:
        raise LayoutError(f"{file}: no row can be used; {problems[0].detail if problems else 'there is none'}")
    paths = [path for faces in rows.values() for path, _ in faces.values()]
    if not any(path.is_file() for path in paths):
        raise LayoutError(f"{file}: none of its {len(paths)} images is there; looked for {paths[0]} and the like")


def _partition(
    table: label_table.LabelTable, keys: _KeyColumns, names: list[str], folds: int | str | None
) -> tuple[dict[str, int], str]:
    """Return the folds by subject (of the column `fold`, else in turn), and a note, "" for none."""
    if folds is None and keys.fold is not None:
        return _column_of_folds(table, keys.subject, keys.fold), ""
    number = len(names) if folds == SUBJECTS else int(folds or folds_lib.NUM_FOLDS)
    if folds is not None and not 2 <= number <= len(names):
        count = f"{len(names)} subject{'s' * (len(names) != 1)}"
        raise LayoutError(
            f"{table.path}: --folds {folds}, of a table with {count}: expected 2 folds or more, each with one"
        )
    note = "" if keys.fold is None else f"column {keys.fold!r} is not read: --folds {folds} says otherwise"
    return {name: k % number for k, name in enumerate(names)}, note


def _column_of_folds(table: label_table.LabelTable, subject: str, column: str) -> dict[str, int]:
    """Return the folds by subject that a column has."""
    folds: dict[str, int] = {}
    for row in table.rows:
        text, name = label_files.plain_number(row.cells[column]), row.cells[subject]
        if not re.fullmatch(r"\d{1,4}", text):
            raise LayoutError(f"{table.path} line {row.line}: fold is {text!r}: expected a whole number, from 0 on")
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

"""Reads tables of labels: one row per image, with AU columns recognised by their names."""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fgnet_jax.prepare.layouts import au_columns, label_files
from fgnet_jax.prepare.layouts.label_files import LOST, BadLine
from fgnet_jax.prepare.layouts.records import FileError, LayoutError

_CELL_LINES = 20
"""Lines that a quoted cell may have."""

_NAMED = 12
"""Columns that are not read which a note names; of more, it has the number."""


@dataclasses.dataclass(frozen=True)
class LabelRow:
    """A row: its line number in the file, and its cells by column, stripped."""

    line: int
    cells: dict[str, str]


@dataclasses.dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes:
      path: The file.
      columns: Names in the header; an unnamed index column is "".
      aus: Names of the AU columns by AU number, in the header's order.
      rows: All rows of as many cells as the header has.
      bad: Other rows.
      are_presence: Whether a column's name says that it has presence, no intensity (`AU01_c`).
    """

    path: Path
    columns: tuple[str, ...]
    aus: dict[int, str]
    rows: tuple[LabelRow, ...]
    bad: tuple[BadLine, ...] = ()
    are_presence: bool = False

    def column(self, *names: str) -> str | None:
        """Return the column that has one of these names, in any case; None if there is none.

        Raises:
          LayoutError: if two columns have that name.
        """
        for name in names:
            found = [column for column in self.columns if column.lower() == name]
            if len(found) > 1:
                raise LayoutError(f"{self.path} has two columns {name!r}")
            if found:
                return found[0]
        return None

    def note(self, used: Iterable[str | None]) -> str:
        """Return a note about the columns that are not among those used; empty if all are, or have no name."""
        used = {*used, ""}
        unread = [column for column in self.columns if column not in used]
        more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        return (
            f"{self.path}: columns that are not read: {', '.join(map(repr, unread[:_NAMED]))}{more}" if unread else ""
        )


def read(path: Path) -> LabelTable:
    """Read a table with commas, semicolons or tabs between its cells, in UTF-8 or UTF-16.

    Raises:
      LayoutError: if it cannot be read, has no AU column, or one that cannot be taken (see `au_columns.find`), or if
        more than half of its rows have other cells than the header.
    """
    try:
        rows = list(_rows(label_files.lines_of(path)))
        if not rows:
            raise LayoutError(f"{path} is empty: expected a header and rows")
        header = tuple(cell.strip() for cell in rows[0][1])
        aus = au_columns.find(header)
    except FileError as error:
        raise LayoutError(f"{path} {error}") from error
    except csv.Error as error:
        raise LayoutError(f"{path}: {error}") from error
    if not aus.names:
        raise LayoutError(f"{path} has no AU column (au1, AU06, …): its columns are {', '.join(map(repr, header))}")
    return _table(path, header, aus, rows[1:])


def _table(
    path: Path, header: tuple[str, ...], aus: au_columns.AuColumns, rows: list[tuple[int, list[str]]]
) -> LabelTable:
    """Build a table of rows of cells."""
    good: list[LabelRow] = []
    bad: list[BadLine] = []
    for line, cells in rows:
        while len(cells) > len(header) and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) == len(header):
            good.append(LabelRow(line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}))
        else:
            reason = f"expected {len(header)} cells as in the header, got {len(cells)}: this row is not read"
            bad.append(BadLine(line, reason))
    try:
        label_files.refuse_mostly_bad(bad, len(rows))
    except FileError as error:
        raise LayoutError(f"{path}: {error}") from error
    return LabelTable(path, header, aus.names, tuple(good), tuple(bad), aus.are_presence)


def _rows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """Read the rows that have a cell, with the numbers of their lines.

    A quoted cell may have line ends, up to `_CELL_LINES`; a quote that none follows does not swallow further rows.
    """
    separator, place, length = _separator(lines[0][1] if lines else ""), 0, 0
    while place < len(lines):
        texts = [text for _, text in lines[place : place + _CELL_LINES]]
        reader = csv.reader(texts, delimiter=separator)
        cells, used = next(reader, []), reader.line_num
        is_closed = len(cells) == length and "".join(texts[:used]).count('"') % 2 == 0
        if used > 1 and not is_closed:
            cells, used = next(csv.reader(texts[:1], delimiter=separator), []), 1
        if any(cell.strip() for cell in cells):
            yield lines[place][0], cells
        place, length = place + used, length or len(cells)


def _separator(header: str) -> str:
    """Return the separator by which a header has the most columns of AUs, or else the most columns."""

    def columns(separator: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=separator), [])
        return au_columns.count(names), len(names)

    return max(label_files.SEPARATORS, key=columns)


class RowLabels(NamedTuple):
    """Labels of a row, `LOST` where one cannot be read, and the reasons."""

    values: list[float]
    reasons: list[str]


def labels(
    table: LabelTable, columns: Iterable[str], read_label: Callable[[str], float], hint: str = ""
) -> list[RowLabels]:
    """Read the labels of every row.

    Args:
      table: The table.
      columns: Names of the columns, in the order of the labels.
      read_label: `binary` or `intensity`.
      hint: What to do about columns of intensities that are read as `binary`.

    Raises:
      LayoutError: if more than half of a column cannot be read, or has intensities where 0 and 1 are expected.
    """
    rows = [RowLabels([], []) for _ in table.rows]
    for column in columns:
        wrong: list[str] = []
        for row, read_row in zip(table.rows, rows, strict=True):
            try:
                read_row.values.append(read_label(row.cells[column]))
            except FileError as error:
                read_row.values.append(LOST)
                read_row.reasons.append(f"{column} is {row.cells[column][:40]!r}: {error}")
                wrong.append(row.cells[column])
        intensities = sorted({text for text in map(label_files.plain_number, wrong) if text in ("2", "3", "4", "5")})
        if len(intensities) > 1:
            raise LayoutError(f"{table.path}: column {column!r} has intensities, {', '.join(intensities)}{hint}")
        if 2 * len(wrong) > len(rows):
            row = next(row for row, read_row in zip(table.rows, rows, strict=True) if read_row.reasons)
            reason = f"column {column!r} cannot be read in {len(wrong)} of {len(rows)} rows"
            raise LayoutError(f"{table.path}: {reason}, such as {wrong[0]!r} in line {row.line}")
    return rows


def merge(values: Sequence[float], others: Sequence[float], columns: Iterable[str]) -> tuple[list[float], str]:
    """Merge two rows of the same frame: a label in which they differ is lost.

    Returns:
      The labels, and the names of the columns that differ.
    """
    merged = [value if value == other else LOST for value, other in zip(values, others, strict=True)]
    pairs = zip(columns, values, others, strict=True)
    return merged, ", ".join(column for column, value, other in pairs if value != other)


_BINARY = {"0": 0, "1": 1, "": -1, "9": -1, "-1": -1}


def binary(cell: str) -> int:
    """Read a label: 1, 0, or -1 for an empty cell, 9 or -1.

    Raises:
      FileError: for anything else.
    """
    value = _BINARY.get(cell)
    value = _BINARY.get(label_files.plain_number(cell)) if value is None else value
    if value is None:
        raise FileError("expected 0, 1, or nothing for unknown")
    return value


def intensity(cell: str) -> float:
    """Read an intensity of 0 to 5; -1 for an empty cell, 9 or -1.

    Raises:
      FileError: for anything else.
    """
    if label_files.plain_number(cell) in ("", "9", "-1"):
        return -1.0
    if not re.fullmatch(r"\d(\.\d*)?", cell) or float(cell) > 5:
        raise FileError("expected an intensity of 0 to 5, or nothing for unknown")
    return float(cell)

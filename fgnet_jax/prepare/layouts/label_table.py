"""Reads tables of labels, as CSV: one row per image, with AU columns recognised by their names."""

import csv
import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fgnet_jax.prepare.layouts.records import FileError, LayoutError

_AU = re.compile(r"au[_ ]?0*(\d+)", re.IGNORECASE)


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
      rows: All rows.
    """

    path: Path
    columns: tuple[str, ...]
    aus: dict[int, str]
    rows: tuple[LabelRow, ...]

    def column(self, *names: str) -> str | None:
        """Return the column that has one of these names, in any case; None if there is none."""
        lower = {column.lower(): column for column in self.columns}
        return next((lower[name] for name in names if name in lower), None)


def read(path: Path) -> LabelTable:
    """Read a table.

    Raises:
      LayoutError: if it cannot be read, has no AU column, or has one twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(file))
    except (OSError, UnicodeDecodeError, csv.Error, FileError) as error:
        raise LayoutError(f"{path}: {error}") from error
    if not rows:
        raise LayoutError(f"{path} is empty: expected a header and rows")
    header = tuple(cell.strip() for cell in rows[0][1])
    aus: dict[int, str] = {}
    for name in header:
        if match := _AU.fullmatch(name):
            if int(match[1]) in aus:
                raise LayoutError(f"{path} has AU {match[1]} twice, in {aus[int(match[1])]!r} and {name!r}")
            aus[int(match[1])] = name
    if not aus:
        raise LayoutError(f"{path} has no AU column (au1, AU06, …): its columns are {', '.join(map(repr, header))}")
    return LabelTable(
        path=path, columns=header, aus=aus, rows=tuple(_row(path, header, line, cells) for line, cells in rows[1:])
    )


def _rows(file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Read the rows that are not empty, with their line numbers."""
    reader = csv.reader(file)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _row(path: Path, header: tuple[str, ...], line: int, cells: list[str]) -> LabelRow:
    """Build a row of as many cells as the header has."""
    if len(cells) != len(header):
        raise LayoutError(f"{path} line {line}: expected {len(header)} cells as in the header, got {len(cells)}")
    return LabelRow(line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)})


def binary(row: LabelRow, column: str) -> int:
    """Read a label: 1, 0, or -1 for an empty cell, 9 or -1.

    Raises:
      FileError: for anything else.
    """
    values = {"0": 0, "1": 1, "": -1, "9": -1, "-1": -1}
    text = re.sub(r"\.0*$", "", row.cells[column])
    if text not in values:
        raise FileError(f"line {row.line}: {column} is {row.cells[column]!r}: expected 0, 1, or nothing for unknown")
    return values[text]


def intensity(row: LabelRow, column: str) -> float:
    """Read an intensity of 0 to 5; -1 for an empty cell, 9 or -1.

    Raises:
      FileError: for anything else.
    """
    text = row.cells[column]
    if text in ("", "9", "-1"):
        return -1.0
    if not re.fullmatch(r"\d(\.\d*)?", text) or float(text) > 5:
        raise FileError(
            f"line {row.line}: {column} is {text!r}: expected an intensity of 0 to 5, or nothing for unknown"
        )
    return float(text)

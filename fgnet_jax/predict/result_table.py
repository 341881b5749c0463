"""Result tables: CSV, or Parquet by the ending, written frame by frame, and read again to go on.

A CSV file holds whole rows whenever the program is stopped. Parquet cannot: its rows lie in `NAME.rows.csv` beside it
until the table is complete. A run that was stopped leaves that file too, an ordinary table, which is gone on with.
"""

import contextlib
import csv
import dataclasses
import io
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from fgnet_jax.predict.columns import ResultRow, TableColumns, parse

_GROUP = 10_000  # rows of a Parquet row group


class TableError(ValueError):
    """A table that cannot be gone on with; the message names it and says why."""


@dataclasses.dataclass(frozen=True)
class WrittenFrame:
    """A frame that a table has.

    Attributes:
      input: As in the table.
      frame: From 1.
      timestamp: In seconds; None for an image.
      faces: How many rows of faces it has.
      rows: How many rows the table has up to and with it.
      end: Where its last row ends, in bytes.
    """

    input: str
    frame: int
    timestamp: float | None
    faces: int
    rows: int
    end: int


class CsvTable:
    """A CSV file (UTF-8, header, newline after every row) that holds whole rows whenever the program is stopped."""

    def __init__(self, stream: BinaryIO, layout: TableColumns, header: bool = True):
        """Writes the header to an open binary stream, unless it is there already."""
        self._stream = stream
        self._layout = layout
        self.is_complete = False
        """Set by who writes, when there is nothing more to come."""
        if header:
            self._write([layout.names])

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Writes the rows of one frame, all at once."""
        self._write([self._layout.cells(row) for row in rows])

    def _write(self, lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        # Bytes at once: a killed run must not leave half a row. File names may hold bytes that are no text.
        self._stream.write(text.getvalue().encode("utf-8", "surrogateescape"))
        self._stream.flush()


@contextlib.contextmanager
def open_table(path: str | os.PathLike[str], layout: TableColumns, keep: int | None = None) -> Iterator[CsvTable]:
    """Opens a table at `path`, or on standard output for `-`.

    Args:
      path: Parquet where it ends with `.parquet`: that file appears when the block ends, whether or not it raised.
      layout: The columns.
      keep: Bytes of a table there already (of `rows_file`) to keep and go on after; None begins a new one.

    Raises:
      OSError: The file cannot be written.
    """
    # Standard output gets a stream of its own, so that Python's has nothing left to flush when the reader is gone.
    to_stdout = path == "-"
    target = sys.stdout.fileno() if to_stdout else rows_file(path)
    with open(target, "wb" if keep is None else "r+b", closefd=not to_stdout) as stream:
        if keep is not None:
            stream.truncate(keep)
            stream.seek(keep)
        table = CsvTable(stream, layout, header=keep is None)
        try:
            yield table
        finally:
            if is_parquet(path):
                _to_parquet(rows_file(path), path, layout)
    if is_parquet(path) and table.is_complete:
        os.remove(rows_file(path))


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Whether a table of this name is Parquet."""
    return os.fspath(path).lower().endswith(".parquet")


def rows_file(path: str | os.PathLike[str]) -> str:
    """The file that rows are written to as they come: the table itself, or a CSV file beside one in Parquet."""
    return f"{os.fspath(path)}.rows.csv" if is_parquet(path) else os.fspath(path)


def written(path: str | os.PathLike[str], layout: TableColumns) -> Iterator[WrittenFrame]:
    """The frames in a CSV table, in order, without the last: nobody knows whether that has all of its rows.

    Raises:
      TableError: The table has other columns, or a row that this package did not write.
    """
    frame: WrittenFrame | None = None
    last_face = -1
    for number, (cells, end) in enumerate(_records(path)):
        if number == 0:
            _check_header(path, cells, layout)
            continue
        found, face = _about(path, number, dict(zip(layout.names, cells, strict=False)), layout)
        same = frame is not None and (frame.input, frame.frame) == found[:2] and face is not None and face > last_face
        if frame is not None and not same:
            yield frame
        faces = (frame.faces if frame is not None and same else 0) + (face is not None)
        frame = WrittenFrame(*found, faces, number, end)
        last_face = -1 if face is None else face


def is_begun(path: str | os.PathLike[str], layout: TableColumns) -> bool:
    """Whether a file has more than these columns' header, or a part of it."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(layout.names)
    whole = header.getvalue().encode()
    with open(path, "rb") as stream:
        return not whole.startswith(stream.read(len(whole) + 1))


def _records(path: str | os.PathLike[str]) -> Iterator[tuple[list[str], int]]:
    """Whole records of a CSV file, and where each ends; a half one at the file's end is left out."""
    end, record = 0, b""
    with open(path, "rb") as stream:
        for line in stream:
            record += line
            if record.count(b'"') % 2 or not line.endswith(b"\n"):
                continue  # within quotes a line end is part of a name
            end += len(record)
            yield next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"), newline=""))), end
            record = b""


def _check_header(path: str | os.PathLike[str], cells: list[str], layout: TableColumns) -> None:
    if cells != layout.names:
        raise TableError(
            f"{path}: cannot go on with this table: its columns are {_short(cells)}, not {_short(layout.names)}"
        )


def _short(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 30 else f"{', '.join(names[:29])}, … ({len(names)})"


def _about(path, number: int, cells: dict[str, str], layout: TableColumns) -> tuple[tuple[str, int, float | None], Any]:
    """What a row is about: input, frame and time; and its face_id, None where it has no face."""
    try:
        seconds = parse(cells[layout.timestamp], float)
        frame = int(cells[layout.frame]) + 1 - layout.first_frame
        when = None if seconds is None else seconds / layout.second
        return (cells["input"], frame, when), parse(cells["face_id"], int)
    except (KeyError, ValueError) as error:
        raise TableError(f"{path}: row {number} is not one of this package's tables: {error!r}") from error


def _to_parquet(source: str, path: str | os.PathLike[str], layout: TableColumns) -> None:
    """Turns a CSV table into Parquet in constant memory, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    types = {str: pyarrow.string(), int: pyarrow.int32(), float: pyarrow.float64(), np.float32: pyarrow.float32()}
    schema = pyarrow.schema([(column.name, types[column.kind]) for column in layout.columns])
    temporary = f"{os.fspath(path)}.partial"
    try:
        with pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for chunk in _chunks(source):
                writer.write_table(pyarrow.table(_arrays(chunk, layout, schema), schema))
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def _arrays(chunk: list[list[str]], layout: TableColumns, schema: Any) -> list[Any]:
    import pyarrow

    columns = zip(*chunk, strict=True)
    return [
        pyarrow.array([parse(_clean(text), column.kind) for text in cells], schema.field(column.name).type)
        for cells, column in zip(columns, layout.columns, strict=True)
    ]


def _clean(text: str) -> str:
    """Parquet's text is UTF-8 throughout: bytes of file names that are not come out as replacement characters."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _chunks(path: str) -> Iterator[list[list[str]]]:
    chunk: list[list[str]] = []
    for number, (cells, _) in enumerate(_records(path)):
        if number:
            chunk.append(cells)
        if len(chunk) == _GROUP:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

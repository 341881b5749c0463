"""Result tables: CSV, or Parquet by the file's suffix, written frame by frame, and read again by a resumed run.

A CSV file holds whole rows whenever the program is stopped. Parquet cannot, and a table without the frames that have no
face (LibreFace's) does not tell which frames are done: the rows of these are in `NAME.rows.csv` beside them until the
table is complete. A run that was stopped leaves that file, an ordinary table, from which it is resumed.
"""

import contextlib
import csv
import dataclasses
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fgnet_jax.predict.columns import CellValue, Faceless, ResultRow, TableColumns, parse
from fgnet_jax.runtime.files import replacing

if TYPE_CHECKING:
    import pyarrow

_GROUP = 10_000  # rows of a Parquet row group


class TableError(ValueError):
    """A table that cannot be resumed; the message names it and the reason."""


@dataclasses.dataclass(frozen=True)
class WrittenFrame:
    """A frame of a table on disk.

    Attributes:
      input: As in the table.
      frame: From 1.
      timestamp: In seconds; None for an image.
      faces: Rows of the frame that have a face.
      rows: Rows of the table up to and including the frame.
      end: Byte at which the frame's last row ends.
    """

    input: str
    frame: int
    timestamp: float | None
    faces: int
    rows: int
    end: int


class CsvTable:
    """A CSV file (UTF-8, header, newline after every row) that holds whole rows whenever the program is stopped."""

    def __init__(self, stream: BinaryIO, columns: TableColumns, header: bool = True, *, is_staged: bool = False):
        """Write the header to an open binary stream, unless it is there already.

        Args:
          stream: The stream.
          columns: The columns.
          header: Whether to write the header.
          is_staged: Whether this is a file of rows, which has every frame whatever the table has.
        """
        self._stream = stream
        self._columns = columns
        self._is_staged = is_staged
        if header:
            self._write([columns.names])

    def add(self, rows: Sequence[ResultRow]) -> None:
        """Write the rows of one frame, all at once."""
        chosen = rows if self._is_staged else self._columns.of_table(rows)
        self._write([self._columns.cells(row) for row in chosen])

    def _write(self, lines: Sequence[Sequence[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        # All bytes at once: a killed run must not leave half a row. Sources' names are text (`media.escaping`).
        self._stream.write(text.getvalue().encode())
        self._stream.flush()


@contextlib.contextmanager
def open_table(path: str | os.PathLike[str], columns: TableColumns, keep: int | None = None) -> Iterator[CsvTable]:
    """Open a table at `path`, or on standard output for `-`.

    Args:
      path: Parquet where it ends with `.parquet`. A table that has a file of rows (`rows_file`) appears when the block
        ends, whether or not it raised; the file of rows stays (`remove_rows`).
      columns: The columns.
      keep: Bytes of an existing table (of `rows_file`) to keep and append to; None begins a new table.

    Raises:
      OSError: The file cannot be written.
    """
    # Standard output gets its own stream, so that Python's has nothing left to flush when the reader is gone.
    to_stdout = path == "-"
    rows = rows_file(path, columns.faceless)
    is_staged = rows != os.fspath(path)
    target = sys.stdout.fileno() if to_stdout else rows
    with open(target, "wb" if keep is None else "r+b", closefd=not to_stdout) as stream:
        if keep is not None:
            stream.truncate(keep)
            stream.seek(keep)
        table = CsvTable(stream, columns, header=keep is None, is_staged=is_staged)
        try:
            yield table
        finally:
            if is_staged:
                _finish(rows, path, columns)


def remove_rows(path: str | os.PathLike[str], faceless: Faceless) -> None:
    """Remove the file of rows beside a table that is recorded as complete, where there is one."""
    rows = rows_file(path, faceless)
    if rows != os.fspath(path):
        with contextlib.suppress(FileNotFoundError):
            os.remove(rows)


def join(path: str | os.PathLike[str], parts: Sequence[str], columns: TableColumns) -> None:
    """Write a table that has the rows of several, one after the other, as if they had been written to it.

    Args:
      path: The table; it appears whole or not at all.
      parts: Complete tables of the same kind, Parquet or CSV.
      columns: Their columns.

    Raises:
      TableError: One has other columns.
    """
    if is_parquet(path):
        _join_parquet(path, parts, columns)
        return
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        for k, part in enumerate(parts):
            with open(part, "rb") as rows:
                header = rows.readline()
                _check_header(part, next(csv.reader([header.decode()])), columns)
                stream.write(header if k == 0 else b"")
                shutil.copyfileobj(rows, stream, 1 << 20)


def named_images(path: str | os.PathLike[str]) -> set[str]:
    """Return the PNGs that a table names as overlays and aligned faces; none where there is no table."""
    columns = {"overlay", "aligned_face"}
    if path == "-" or not os.path.isfile(path):
        return set()
    if is_parquet(path):
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(path) as file:
                found = file.read([name for name in file.schema_arrow.names if name in columns])
        except pyarrow.ArrowInvalid:  # no table, and no run has named anything in it
            return set()
        return {name for column in found.columns for name in column.to_pylist() if name}
    with open(path, newline="", encoding="utf-8", errors="replace") as stream:
        rows = csv.DictReader(stream)
        return {row[name] for row in rows for name in columns & row.keys() if row[name]}


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Return whether a table of this name is Parquet."""
    return os.fspath(path).lower().endswith(".parquet")


def rows_file(path: str | os.PathLike[str], faceless: Faceless = "empty") -> str:
    """Return the file that rows are appended to: the table itself, or a CSV file beside it.

    Args:
      path: The table; Parquet has a CSV file beside it.
      faceless: `TableColumns.faceless`; a table that leaves frames out has one, too, unless it is no file (standard
        output, a device).
    """
    is_file = os.fspath(path) != "-" and (os.path.isfile(path) or not os.path.exists(path))
    is_staged = is_parquet(path) or (faceless == "none" and is_file)
    return f"{os.fspath(path)}.rows.csv" if is_staged else os.fspath(path)


def written(path: str | os.PathLike[str], columns: TableColumns) -> Iterator[WrittenFrame]:
    """Yield the frames of a CSV table, in order, without the last, which may lack rows.

    Raises:
      TableError: The table has other columns, or a row that this package did not write.
    """
    return written_in_turn([path], columns)


def written_in_turn(paths: Iterable[str | os.PathLike[str]], columns: TableColumns) -> Iterator[WrittenFrame]:
    """Yield the frames of several CSV tables, one after the other, without the very last, which may lack rows.

    `WrittenFrame.rows` counts the rows of all of them, `end` the bytes of the frame's own.

    Raises:
      TableError: A table has other columns, or a row that this package did not write.
    """
    frame: WrittenFrame | None = None
    rows, last_face = 0, -1
    for path in paths:
        is_same_table = False
        for number, (cells, end) in enumerate(_records(path)):
            if number == 0:
                _check_header(path, cells, columns)
                continue
            rows += 1
            named = dict(zip(columns.names, cells, strict=False))
            (name, index, seconds), face = _identity(path, number, named, columns)
            is_same = is_same_table and frame is not None and (frame.input, frame.frame) == (name, index)
            is_same = is_same and face is not None and face > last_face
            if frame is not None and not is_same:
                yield frame
            faces = (frame.faces if frame is not None and is_same else 0) + (face is not None)
            frame = WrittenFrame(input=name, frame=index, timestamp=seconds, faces=faces, rows=rows, end=end)
            last_face, is_same_table = -1 if face is None else face, True


def is_begun(path: str | os.PathLike[str], columns: TableColumns) -> bool:
    """Return whether a file has more than these columns' header, or than a part of it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(columns.names)
    header = text.getvalue().encode()
    with open(path, "rb") as stream:
        return not header.startswith(stream.read(len(header) + 1))


def _records(path: str | os.PathLike[str]) -> Iterator[tuple[list[str], int]]:
    """Yield the whole records of a CSV file, and where each ends; half a record at the file's end is left out."""
    end, record = 0, b""
    with open(path, "rb") as stream:
        for line in stream:
            record += line
            if record.count(b'"') % 2 or not line.endswith(b"\n"):
                continue  # within quotes a line end is part of a name
            end += len(record)
            yield next(csv.reader(io.StringIO(record.decode("utf-8", "surrogateescape"), newline=""))), end
            record = b""


def _check_header(path: str | os.PathLike[str], cells: list[str], columns: TableColumns) -> None:
    if cells != columns.names:
        raise TableError(
            f"{path}: this table cannot be resumed: its columns are {_short(cells)}, not {_short(columns.names)}"
        )


def _short(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 30 else f"{', '.join(names[:29])}, … ({len(names)})"


def _identity(
    path: str | os.PathLike[str], number: int, cells: dict[str, str], columns: TableColumns
) -> tuple[tuple[str, int, float | None], int | None]:
    """Return what identifies a row: input, frame and time; and its face_id, None where it has no face."""
    try:
        time, face = cells[columns.timestamp], columns.face_id(cells)
        frame = int(cells[columns.frame]) + 1 - columns.first_frame
        seconds = None if time == "" else float(time) / columns.second
        return (cells["input"], frame, seconds), face
    except (KeyError, ValueError) as error:
        raise TableError(f"{path}: row {number} is not one of this package's tables: {error!r}") from error


def _finish(source: str, path: str | os.PathLike[str], columns: TableColumns) -> None:
    """Make a table of its file of rows; it appears whole or not at all."""
    if is_parquet(path):
        _to_parquet(source, path, columns)
        return
    with replacing(path) as temporary, open(temporary, "wb") as stream, open(source, "rb") as rows:
        first = 0
        for number, (cells, end) in enumerate(_records(source)):
            rows.seek(first)
            if number == 0 or _is_of_table(cells, columns):
                stream.write(rows.read(end - first))
            first = end


def _is_of_table(cells: Sequence[str], columns: TableColumns) -> bool:
    """Return whether a file of rows has this one for the table, and not only for a run that resumes it."""
    face = columns.face_id(dict(zip(columns.names, cells, strict=True)))
    return face is not None or columns.faceless != "none"


def _to_parquet(source: str, path: str | os.PathLike[str], columns: TableColumns) -> None:
    """Convert a CSV table to Parquet in constant memory; the file appears whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    schema = _schema(columns)
    with (
        replacing(path) as temporary,
        pyarrow.parquet.ParquetWriter(os.fspath(temporary), schema, compression="zstd") as writer,
    ):
        for chunk in _chunks(source, columns):
            writer.write_table(pyarrow.table(_arrays(chunk, columns, schema), schema))


def _schema(columns: TableColumns) -> "pyarrow.Schema":
    """Return the schema of a Parquet table."""
    import pyarrow

    types = {str: pyarrow.string(), int: pyarrow.int32(), float: pyarrow.float64(), np.float32: pyarrow.float32()}
    return pyarrow.schema([(column.name, types[column.kind]) for column in columns.columns])


def _join_parquet(path: str | os.PathLike[str], parts: Sequence[str], columns: TableColumns) -> None:
    """Write a Parquet table that has the rows of several, in row groups as if they had been written to it."""
    import pyarrow
    import pyarrow.parquet

    schema, waiting = _schema(columns), _schema(columns).empty_table()
    with (
        replacing(path) as temporary,
        pyarrow.parquet.ParquetWriter(os.fspath(temporary), schema, compression="zstd") as writer,
    ):
        for part in parts:
            with pyarrow.parquet.ParquetFile(part) as file:
                _check_header(part, file.schema_arrow.names, columns)
                for k in range(file.num_row_groups):
                    waiting = pyarrow.concat_tables([waiting, file.read_row_group(k)])
                    while len(waiting) >= _GROUP:
                        writer.write_table(waiting.slice(0, _GROUP).combine_chunks())
                        waiting = waiting.slice(_GROUP)
        if len(waiting):
            writer.write_table(waiting.combine_chunks())


def _arrays(chunk: list[list[str]], columns: TableColumns, schema: "pyarrow.Schema") -> "list[pyarrow.Array]":
    import pyarrow

    def values(cells: Sequence[str], kind: type) -> list[CellValue]:
        return [parse(text, kind) for text in cells]

    return [
        pyarrow.array(values(cells, column.kind), schema.field(column.name).type)
        for cells, column in zip(zip(*chunk, strict=True), columns.columns, strict=True)
    ]


def _chunks(path: str, columns: TableColumns) -> Iterator[list[list[str]]]:
    chunk: list[list[str]] = []
    for number, (cells, _) in enumerate(_records(path)):
        if number and _is_of_table(cells, columns):
            chunk.append(cells)
        if len(chunk) == _GROUP:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

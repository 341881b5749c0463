"""The tables of a run: one for all inputs, or one for each input (`--per_input`).

Those of each input are opened one after the other: a table is complete with its input's last frame.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Protocol

from fgnet_jax.predict import result_table, run_record
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import Faceless, ResultRow, TableColumns
from fgnet_jax.predict.result_table import CsvTable


class Tables(Protocol):
    """Open tables, to which rows are added frame by frame."""

    def add(self, rows: Sequence[ResultRow], source: int) -> None:
        """Write the rows of one frame, by the index of its source."""
        ...

    def complete(self) -> None:
        """Open those of the last inputs, which have no rows: all rows have been added."""
        ...


@contextlib.contextmanager
def open_tables(
    paths: Sequence[str], columns: TableColumns, point: ResumePoint, *, is_per_input: bool
) -> Iterator[Tables]:
    """Open the tables of a run.

    Args:
      paths: The table, or one for each source.
      columns: Their columns.
      point: Where the run resumes: rows before stay.
      is_per_input: Whether each source has its own table.

    Raises:
      OSError: A file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if not is_per_input:
            yield _OneTable(stack.enter_context(result_table.open_table(paths[0], columns, point.end or None)))
            return
        tables = _TablePerInput(paths, columns, point)
        stack.callback(tables.close)
        yield tables


class _OneTable:
    """One table for all sources."""

    __slots__ = ("_table",)

    def __init__(self, table: CsvTable):
        self._table = table

    def add(self, rows: Sequence[ResultRow], source: int) -> None:
        del source
        self._table.add(rows)

    def complete(self) -> None:
        pass


class _TablePerInput:
    """A table for each source, of which one is open at a time.

    A resumed run may begin within a batch that has faces of several sources, so files of rows stay until all tables
    are complete (`result_table.rows_file`).
    """

    __slots__ = ("_columns", "_paths", "_source", "_stack", "_table")

    def __init__(self, paths: Sequence[str], columns: TableColumns, point: ResumePoint):
        self._paths, self._columns = paths, columns
        self._stack = contextlib.ExitStack()
        self._table: CsvTable | None = None
        self._source = max(point.written[0], 0) - 1
        for path in paths[self._source + 2 :]:  # an earlier run's: should this one stop, it has not got that far
            for file in (result_table.rows_file(path, columns.faceless), run_record.path_of(path)):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(file)
        self._open_next(point.end or None)

    def add(self, rows: Sequence[ResultRow], source: int) -> None:
        while self._source < source:
            self._open_next()
        assert self._table is not None
        self._table.add(rows)

    def complete(self) -> None:
        while self._source < len(self._paths) - 1:
            self._open_next()

    def close(self) -> None:
        self._stack.close()

    def _open_next(self, keep: int | None = None) -> None:
        self._stack.close()
        self._source += 1
        path = self._paths[self._source]
        self._table = self._stack.enter_context(result_table.open_table(path, self._columns, keep))


def remove_rows(paths: Sequence[str], faceless: Faceless) -> None:
    """Remove the files of rows of tables that are recorded as complete.

    Killed before, a run is resumed from them; so the last one's goes first (`RecordFiles.has_ended`).
    """
    for path in reversed(paths):
        result_table.remove_rows(path, faceless)


def rows_files(paths: Sequence[str], columns: TableColumns) -> list[str]:
    """Return the files of rows that earlier runs left, from the first table to the last before one that has none."""
    files = (result_table.rows_file(path, columns.faceless) for path in paths)
    return list(itertools.takewhile(os.path.exists, files))

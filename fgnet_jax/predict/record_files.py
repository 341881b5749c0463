"""The JSON files of a run: one beside its table, or one beside each of its tables (`--per_input`), about that input."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from fgnet_jax.media.sources import Source
from fgnet_jax.predict import file_names, result_table, run_record
from fgnet_jax.predict.columns import Faceless, TableColumns, faceless_of
from fgnet_jax.predict.outputs import OutputOptions


class RecordFiles:
    """Writes a run's record, and reads that of an earlier run.

    Attributes:
      tables: The table, or one for each input.
      is_active: Whether there are such files: not beside standard output or a device.
    """

    def __init__(self, outputs: OutputOptions, sources: Sequence[Source]):
        """Write nothing yet."""
        self.tables = outputs.tables(sources)
        self._whole = dataclasses.replace(outputs, part=None), (outputs.part or (sources,))[0]  # with other shards'
        self.is_active = has_record(self.tables[0])
        self._faceless: Faceless = faceless_of(outputs.dialect)
        self._names = [source.name for source in sources] if outputs.per_input else None
        self._facts: dict[int, Any] = {}  # of each input whose table is complete, as its file has them

    @property
    def is_per_input(self) -> bool:
        """Whether each input has its own."""
        return self._names is not None

    def read(self) -> dict[str, Any] | None:
        """Return the record of an earlier run, with the inputs of all its files; None where there is none.

        Beside what is in the files, it has `begun`: the number of tables, or None where there is one for all inputs.

        Raises:
          RunRecordError: A file is no record, or not all are of the same settings.
        """
        records = self._read_all()
        if not records:
            return None
        for table, record in zip(self.tables, records, strict=False):
            run_record.check_same(table, record, records[0])
        self._facts = {k: _facts(record) for k, record in enumerate(records) if record.get("complete")}
        united: dict[str, Any] = {**records[0], "complete": all(record.get("complete") for record in records)}
        for key in ("inputs", "frame_rates"):
            if key in records[0]:
                united[key] = {name: value for record in records for name, value in (record.get(key) or {}).items()}
        begun = len(records) if self.is_per_input else None
        return {"input_count": len(united.get("inputs") or {}), **united, "begun": begun}

    def has_ended(self) -> bool:
        """Return whether all tables that have a record are whole, and nobody has changed them since."""
        ended = zip(self.tables, self._read_all(), strict=False)
        last = None
        for table, record in ended:
            last = table
            size = os.path.getsize(table) if os.path.isfile(table) else None
            if not record.get("complete") or size is None or record.get("table_bytes", size) != size:
                return False
        # Where its file of rows is left, another run has begun since, or it was killed before it removed them.
        return last is not None and not (self._rows(last) != last and os.path.exists(self._rows(last)))

    def rows_files(self) -> list[str]:
        """Return the files with the rows of an earlier run, up to the first that is missing or has no record."""
        recorded = self.tables[: len(self._read_all())]
        return list(itertools.takewhile(os.path.exists, map(self._rows, recorded)))

    def otherwise_named(self) -> str | None:
        """Return a table of one of the inputs from before another input of its name came; None if there is none."""
        outputs, sources = self._whole
        every = set(outputs.tables(sources) if self._names else ())
        for name, table in zip(self._names or (), self.tables, strict=False):
            plain = os.path.join(os.path.dirname(table), file_names.stems([name])[0] + os.path.splitext(table)[1])
            if plain not in every and name in ((run_record.read(plain) or {}).get("inputs") or {}):
                return plain
        return None

    def unrecorded(self, columns: TableColumns) -> str | None:
        """Return a file of rows that has more than a header, but no record beside it; None if there is none."""
        rows = self._rows(self.tables[0])
        has_record = run_record.path_of(self.tables[0]).exists()
        return rows if not has_record and os.path.exists(rows) and result_table.is_begun(rows, columns) else None

    def write(self, record: Mapping[str, Any], *, complete: bool, source: int) -> None:
        """Write the record, or the part of it about one source.

        Args:
          record: All of it.
          complete: Whether the table is.
          source: Index of the source.

        Raises:
          OSError: It cannot be written.
        """
        if not self.is_active:
            return
        k = source if self.is_per_input else 0
        own = {key: value for key, value in record.items() if key != "table_bytes"} | {"complete": complete}
        if self._names is not None:
            for key in ("inputs", "frame_rates"):
                own[key] = {name: value for name, value in record[key].items() if name == self._names[k]}
        if complete and os.path.isfile(self.tables[k]):
            own["table_bytes"] = os.path.getsize(self.tables[k])
        run_record.write(self.tables[k], own)
        self._facts[k] = _facts(own) if complete else None

    def write_all(self, record: Mapping[str, Any], *, complete: bool, last: int) -> None:
        """Write the record; of each input up to the last one, where its file does not have all of it yet.

        Args:
          record: All of it.
          complete: Whether the last one's table is complete.
          last: Index of the last source that has rows.

        Raises:
          OSError: It cannot be written.
        """
        for k, name in enumerate((self._names or ())[:last]):
            if self._facts.get(k) != _facts(record, name):
                self.write(record, complete=True, source=k)
        self.write(record, complete=complete, source=last)

    def _read_all(self) -> list[dict[str, Any]]:
        """Return the records, up to the first that is missing."""
        found = map(run_record.read, self.tables if self.is_active else ())
        return [record for record in itertools.takewhile(lambda record: record is not None, found) if record]

    def _rows(self, table: str) -> str:
        return result_table.rows_file(table, self._faceless)


def has_record(table: str) -> bool:
    """Return whether a table has a JSON beside it: not where it is standard output or a device."""
    return table != "-" and (os.path.isfile(table) or not os.path.exists(table))


def _facts(record: Mapping[str, Any], name: str | None = None) -> Any:  # noqa: ANN401 - values of JSON
    """Return what a record says of one input, or of its only one."""
    inputs: Mapping[str, Any] = record.get("inputs") or {}
    name = next(iter(inputs), None) if name is None else name
    rates: Mapping[str, Any] = record.get("frame_rates") or {}
    return {"facts": dict(inputs.get(name) or {}), "rate": rates.get(name)} if name is not None else None

"""The JSON beside a table, or beside each of several: what each has, and what a resumed run learns from all of them."""

import json

import pytest

from fgnet_jax.media.sources import Source
from fgnet_jax.predict import run_record
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.predict.record_files import RecordFiles, has_record
from fgnet_jax.predict.run_record import RunRecordError

SOURCES = [Source("a.png", "image"), Source("b.mp4", "video"), Source("c.mp4", "video")]
RECORD = {
    "version": "1",
    "every": 1,
    "inputs": {"a.png": {"sha256": "0a"}, "b.mp4": {"sha256": "0b", "first_frame_seconds": 0.8}, "c.mp4": {}},
    "frame_rates": {"b.mp4": 25.0},
    "complete": False,
}


def files(folder, suffix=".csv", dialect=None):
    """Return the record files of one table for each source."""
    return RecordFiles(OutputOptions(table=str(folder), per_input=suffix, dialect=dialect), SOURCES)


def begin(folder, count, suffix=".csv"):
    """Write so many tables with their rows, and return the record files."""
    found = files(folder, suffix)
    for table in found.tables[:count]:
        for path in {table, found._rows(table)}:
            open(path, "w").close()
    return found


def test_each_record_is_about_its_own_input(tmp_path):
    """Write the settings beside each table, and of the inputs only its own."""
    written = begin(tmp_path, 3)
    written.write_all(RECORD, complete=False, last=2)
    a, b, c = (json.loads((tmp_path / f"{name}.csv.json").read_text()) for name in "abc")
    assert (a["version"], a["inputs"], a["frame_rates"]) == ("1", {"a.png": {"sha256": "0a"}}, {})
    assert (b["inputs"], b["frame_rates"]) == ({"b.mp4": RECORD["inputs"]["b.mp4"]}, {"b.mp4": 25.0})
    assert [item["complete"] for item in (a, b, c)] == [True, True, False]
    assert (a["table_bytes"], "table_bytes" in c) == (0, False)


def test_a_resumed_run_reads_them_as_one(tmp_path):
    """Unite the inputs of all records."""
    begin(tmp_path, 3).write_all(RECORD, complete=True, last=2)
    found = files(tmp_path)
    assert (
        found.read() == RECORD | {"complete": True, "table_bytes": 0, "begun": 3, "input_count": 3}
        and found.has_ended()
    )


def test_a_run_that_stopped_within_an_input_is_not_complete(tmp_path):
    """Give the rows of all inputs up to the one that has a record."""
    written = begin(tmp_path, 2)
    written.write(RECORD, complete=True, source=0)
    written.write(RECORD, complete=False, source=1)
    found = files(tmp_path)
    united = found.read()
    assert united is not None and list(united["inputs"]) == ["a.png", "b.mp4"] and not united["complete"]
    assert not found.has_ended() and found.rows_files() == found.tables[:2]


def test_rows_without_a_record_do_not_count(tmp_path):
    """Do an input again that was killed before its record was written."""
    written = begin(tmp_path, 2)
    written.write(RECORD, complete=True, source=0)
    assert files(tmp_path).rows_files() == written.tables[:1]


@pytest.mark.parametrize("changed", ["size", "rows", "missing"])
def test_tables_that_were_changed_or_not_finished_are_not_complete(tmp_path, changed):
    """Check sizes, and that no file of rows is left of the last table."""
    written = begin(tmp_path, 3, ".parquet")
    for table in written.tables if changed != "rows" else written.tables[:2]:
        (tmp_path / f"{table}.rows.csv").unlink()
    if changed == "rows":
        written.write_all(RECORD, complete=True, last=2)
        assert not files(tmp_path, ".parquet").has_ended()
        (tmp_path / f"{written.tables[2]}.rows.csv").unlink()
        assert files(tmp_path, ".parquet").has_ended()
        return
    written.write_all(RECORD, complete=True, last=2)
    assert files(tmp_path, ".parquet").has_ended()
    if changed == "size":
        (tmp_path / written.tables[1]).write_text("x")
    else:
        (tmp_path / written.tables[0]).unlink()
    assert not files(tmp_path, ".parquet").has_ended()


def test_records_of_several_settings_are_refused(tmp_path):
    """Name the table and the difference."""
    written = begin(tmp_path, 2)
    written.write(RECORD, complete=True, source=0)
    written.write(RECORD | {"every": 2}, complete=False, source=1)
    with pytest.raises(RunRecordError, match=r"b\.csv cannot be resumed.*every: 2 there, 1 now"):
        files(tmp_path).read()


def test_a_record_is_written_again_only_where_it_has_changed(tmp_path):
    """Leave the files of finished inputs alone, unless more is known of them, such as their sums."""
    begin(tmp_path, 3).write_all(RECORD, complete=False, last=2)
    for name in "ab":
        (tmp_path / f"{name}.csv.json").write_text(json.dumps(json.loads((tmp_path / f"{name}.csv.json").read_text())))
    found, before = files(tmp_path), [(tmp_path / f"{name}.csv.json").stat().st_mtime_ns for name in "ab"]
    found.read()
    more = RECORD | {"inputs": RECORD["inputs"] | {"b.mp4": RECORD["inputs"]["b.mp4"] | {"bytes": 7}}}
    found.write_all(more, complete=True, last=2)
    after = [(tmp_path / f"{name}.csv.json").stat().st_mtime_ns for name in "ab"]
    assert after[0] == before[0] and after[1] != before[1]
    assert json.loads((tmp_path / "b.csv.json").read_text())["inputs"]["b.mp4"]["bytes"] == 7


def test_a_record_of_a_table_that_is_complete_now_says_so(tmp_path):
    """Though nothing else has changed: a run may be stopped after an input's last row, and all of it is known."""
    begin(tmp_path, 3).write_all(RECORD, complete=False, last=1)
    found = files(tmp_path)
    found.read()
    found.write_all(RECORD, complete=True, last=2)
    assert json.loads((tmp_path / "b.csv.json").read_text())["complete"] and files(tmp_path).has_ended()


def test_one_table_has_one_record(tmp_path):
    """Write and read it as `run_record` does."""
    table = tmp_path / "out.csv"
    table.write_text("input,frame\n")
    found = RecordFiles(OutputOptions(table=str(table)), SOURCES)
    found.write_all(RECORD, complete=True, last=2)
    record = RECORD | {"complete": True, "table_bytes": 12}
    assert run_record.read(table) == record and found.read() == record | {"begun": None, "input_count": 3}
    assert found.has_ended() and found.rows_files() == [str(table)] and not found.is_per_input


def test_standard_output_and_devices_have_none():
    """Write no JSON beside what is no file."""
    assert not has_record("-") and not has_record("/dev/null")
    found = RecordFiles(OutputOptions(table="-"), SOURCES)
    found.write_all(RECORD, complete=True, last=0)
    assert found.read() is None and not found.has_ended()

"""Result tables: whole rows whenever a run stops, Parquet too, and existing rows are read to resume."""

import csv
import os

import numpy as np
import pyarrow.parquet
import pytest

from fgnet_jax.media import escaping
from fgnet_jax.predict import columns, result_table
from fgnet_jax.predict.columns import ResultRow

AUS = (1, 12)
OWN = columns.table_columns(AUS)


def face(name, frame=1, face_id=0, seconds=None):
    """Return a row with a result."""
    scores = np.array([0.25, -0.5], np.float32)
    return ResultRow(
        input=name,
        frame=frame,
        timestamp=seconds,
        face_id=face_id,
        confidence=1.5,
        box=(1.0, 2.0, 3.0, 4.0),
        landmarks=np.zeros((68, 2), np.float32),
        scores=scores,
        present=scores > 0,
    )


def write_video(path, columns=OWN, frames=3):
    """Write an image with two faces, and a video whose second frame has no face."""
    with result_table.open_table(path, columns) as table:
        write_rows(table, frames)
    result_table.remove_rows(path, columns.faceless)


def write_rows(table, frames=3):
    """Add the rows of `write_video`."""
    table.add([face("a.png"), face("a.png", face_id=1)])
    for number in range(1, frames + 1):
        row = ResultRow("b.mp4", number, number / 4) if number == 2 else face("b.mp4", number, 7, number / 4)
        table.add([row])


def test_rows_come_back_as_written(tmp_path):
    """Keep names with commas, quotes and newlines, and write failures as empty cells."""
    with result_table.open_table(tmp_path / "out.csv", OWN) as table:
        table.add([face('a "b", c\nd.png')])
        table.add([ResultRow("e.png")])
    with open(tmp_path / "out.csv", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first["input"] == 'a "b", c\nd.png' and first["success"] == "1" and first["AU12_score"] == "-0.5"
    assert {name for name, text in second.items() if text} == {"input", "frame", "success"}


def test_every_frame_is_on_disk_when_it_is_added(tmp_path):
    """Leave whole rows when killed."""
    with result_table.open_table(tmp_path / "out.csv", OWN) as table:
        assert (tmp_path / "out.csv").read_text().count("\n") == 1
        table.add([face("a.png"), face("a.png", face_id=1)])
        assert (tmp_path / "out.csv").read_text().count("\n") == 3


def test_file_names_that_are_no_text_leave_the_table_text(tmp_path):
    """Write the escaped name of a source, so that any reader of UTF-8 can read the table."""
    name = escaping.escaped(os.fsdecode(b"\xff\r\n.png"))
    for path in (tmp_path / "out.csv", tmp_path / "out.parquet"):
        with result_table.open_table(path, OWN) as table:
            table.add([ResultRow(name)])
    assert "\n\\xff\\x0d\\x0a.png,1," in (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["input"].to_pylist() == [name]


@pytest.mark.parametrize("dialect", [None, *columns.DIALECTS])
def test_frames_are_read_from_the_columns_of_every_tool(tmp_path, dialect):
    """Read all frames but the last, which may lack rows, with the byte at which each ends."""
    chosen, path = columns.table_columns(AUS, dialect), tmp_path / "out.csv"
    write_video(path, chosen)
    rows = tmp_path / "rows.csv"
    with open(rows, "wb") as stream:
        write_rows(result_table.CsvTable(stream, chosen, is_staged=True))
    frames = list(result_table.written(rows, chosen))
    assert [(frame.input, frame.frame, frame.faces, frame.rows) for frame in frames] == [
        ("a.png", 1, 2, 2),
        ("b.mp4", 1, 1, 3),
        ("b.mp4", 2, 0, 4),
    ]
    assert [frame.timestamp for frame in frames] == [None, 0.25, 0.5]
    assert rows.read_bytes()[: frames[-1].end].count(b"\n") == 5
    if dialect != "libreface":
        assert path.read_bytes() == rows.read_bytes()


def test_a_table_without_faceless_frames_is_resumed_by_its_file_of_rows(tmp_path):
    """Leave out frames without a face, as LibreFace does, and still know which are done after a kill."""
    path, chosen = tmp_path / "out.csv", columns.table_columns(AUS, "libreface")
    write_video(path, chosen)
    complete = path.read_bytes()
    assert [line.split(b",")[0] for line in complete.splitlines()] == [b"frame_idx", b"0", b"0", b"0", b"2"]
    assert not os.path.exists(f"{path}.rows.csv")
    with result_table.open_table(path, chosen) as table:
        table.add([face("a.png"), face("a.png", face_id=1)])
        table.add([face("b.mp4", 1, 7, 0.25)])
        table.add([ResultRow("b.mp4", 2, 0.5)])
        table.add([ResultRow("b.mp4", 3, 0.75)])  # a stop: the table is there, and its rows stay
    rows = result_table.rows_file(path, "none")
    last = [*result_table.written(rows, chosen)][-1]
    assert (last.frame, last.faces) == (2, 0), "the frame without a face is known"
    with result_table.open_table(path, chosen, keep=last.end) as table:
        table.add([face("b.mp4", 3, 7, 0.75)])
    assert path.read_bytes() == complete


def test_standard_output_has_no_file_of_rows():
    """Append to what is no file, whatever the dialect."""
    assert result_table.rows_file("-", "none") == "-" and result_table.rows_file("/dev/null", "none") == "/dev/null"


def test_tables_of_several_inputs_are_read_as_one(tmp_path):
    """Count rows over all, and bytes in each; the same frame of the same input in the next table is another frame."""
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    for path in paths:
        with result_table.open_table(path, OWN) as table:
            table.add([face("a.png"), face("a.png", face_id=1)])
    frames = list(result_table.written_in_turn(paths, OWN))
    assert [(frame.faces, frame.rows, frame.end) for frame in frames] == [
        (2, 2, paths[0].stat().st_size),
        (2, 4, paths[1].stat().st_size),
    ]


def test_one_image_named_twice_is_two_frames(tmp_path):
    """Begin a new frame where face_ids do not increase."""
    with result_table.open_table(tmp_path / "out.csv", OWN) as table:
        for _ in range(3):
            table.add([face("a.png"), face("a.png", face_id=1)])
    assert [frame.faces for frame in result_table.written(tmp_path / "out.csv", OWN)] == [2, 2]


@pytest.mark.parametrize("half", [b"c.png,1", b'"c\n', b'"c,d'])
def test_half_a_row_is_left_out_and_cut_off(tmp_path, half):
    """Cut off whatever a crash has left, within quotes, too."""
    path = tmp_path / "out.csv"
    write_video(path)
    complete = path.read_bytes()
    path.write_bytes(complete + half)
    last = list(result_table.written(path, OWN))[-1]
    with result_table.open_table(path, OWN, keep=last.end) as table:
        table.add([face("b.mp4", 3, 7, 0.75)])
    assert path.read_bytes() == complete


def test_other_tables_are_refused(tmp_path):
    """Refuse other columns, and values that this package never writes."""
    write_video(tmp_path / "out.csv")
    with pytest.raises(result_table.TableError, match="its columns are input, frame.*not frame_idx"):
        list(result_table.written(tmp_path / "out.csv", columns.table_columns(AUS, "libreface")))
    with open(tmp_path / "out.csv", "a") as stream:
        stream.write("x,one" + "," * 12 + "\n")
    with pytest.raises(result_table.TableError, match="row 6 is not one of this package"):
        list(result_table.written(tmp_path / "out.csv", OWN))


def test_a_table_is_begun_with_its_first_row(tmp_path):
    """Count a header, or a part of it, as nothing."""
    path = tmp_path / "out.csv"
    for text, begun in (("", False), ("input,fra", False), (",".join(OWN.names) + "\n", False), ("a,b\n", True)):
        path.write_text(text)
        assert result_table.is_begun(path, OWN) is begun
    write_video(path)
    assert result_table.is_begun(path, OWN)


def test_parquet_has_types_and_leaves_nothing_else(tmp_path):
    """Write the same rows, with nulls for empty cells."""
    write_video(tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == OWN.names and os.listdir(tmp_path) == ["out.parquet"]
    assert [str(table.schema.field(name).type) for name in ("input", "frame", "timestamp", "AU01_c", "AU01_score")] == [
        "string", "int32", "double", "int32", "float"
    ]  # fmt: skip
    assert table["AU01_score"].to_pylist() == [0.25, 0.25, 0.25, None, 0.25]


def test_parquet_of_a_stopped_run_can_be_read_and_resumed(tmp_path):
    """Keep its rows beside it, as CSV."""
    with pytest.raises(KeyboardInterrupt), result_table.open_table(tmp_path / "out.parquet", OWN) as table:
        table.add([face("a.png")])
        raise KeyboardInterrupt
    assert len(pyarrow.parquet.read_table(tmp_path / "out.parquet")) == 1
    keep = (tmp_path / "out.parquet.rows.csv").stat().st_size
    with result_table.open_table(tmp_path / "out.parquet", OWN, keep) as table:
        table.add([face("b.png")])
    result_table.remove_rows(tmp_path / "out.parquet", OWN.faceless)
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["input"].to_pylist() == ["a.png", "b.png"]
    assert os.listdir(tmp_path) == ["out.parquet"]

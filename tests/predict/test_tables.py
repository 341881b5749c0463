"""The tables of a run: one for all inputs, or one for each, whichever way the run ends."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from fgnet_jax.predict import batching, columns, result_table, tables
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow

OWN = columns.table_columns((1, 12))
FRAMES = [("a.png", 1), ("b.mp4", 1), ("b.mp4", 2), ("b.mp4", 3), ("c.png", 1), ("d.png", 1)]
BEGINNING = ResumePoint()
NAMES = ["a.png", "b.mp4", "c.png", "d.png"]


def row(name, frame):
    """Return a row with a result; images c.png have no face."""
    if name == "c.png":
        return ResultRow(name)
    seconds, scores = (frame / 4 if name == "b.mp4" else None), np.array([frame / 4, -0.5], np.float32)
    return ResultRow(name, frame, seconds, 0, 0.9, (1.0, 2.0, 3.0, 4.0), None, scores, scores > 0)


def write(paths, chosen, point=BEGINNING, end=None):
    """Write the frames behind a resume point, but not more than the first `end` of all; complete by default."""
    with tables.open_tables(paths, chosen, point, is_per_input=True) as opened:
        for name, frame in FRAMES[:end]:
            if (NAMES.index(name), frame) > point.written:
                opened.add([row(name, frame)], NAMES.index(name))
        if end is None:
            opened.complete()
    if end is None:
        tables.remove_rows(paths, chosen.faceless)


def read(path):
    """Return a table's bytes, or the values of a Parquet one."""
    return pyarrow.parquet.read_table(path).to_pydict() if path.endswith(".parquet") else Path(path).read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("dialect", [None, "openface", "libreface"])
def test_each_input_has_a_table_of_its_own(tmp_path, suffix, dialect):
    """Write a table for each input, an image without a face among them, and nothing beside them."""
    chosen = columns.table_columns((1, 12), dialect)
    paths = [str(tmp_path / f"{name[0]}{suffix}") for name in NAMES]
    write(paths, chosen)
    assert sorted(map(str, tmp_path.iterdir())) == paths
    if suffix == ".csv":
        counts = [Path(path).read_text().count("\n") - 1 for path in paths]
        assert counts == ([1, 3, 0, 1] if dialect == "libreface" else [1, 3, 1, 1])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("dialect", [None, "openface", "libreface"])
@pytest.mark.parametrize(
    ("end", "size", "written"),
    [(1, 2, (-1, 0)), (3, 2, (-1, 0)), (4, 2, (1, 1)), (5, 2, (1, 1)), (6, 2, (1, 3)), (6, 3, (1, 2)), (6, 4, (1, 3))],
)
def test_a_stopped_run_is_resumed_to_the_same_tables(tmp_path, suffix, dialect, end, size, written):
    """Stop after each frame, and resume at the beginning of the last batch, which may be within an earlier input."""
    chosen = columns.table_columns((1, 12), dialect)
    whole, paths = ([str(tmp_path / f"{name[0]}{kind}{suffix}") for name in NAMES] for kind in ("-whole", ""))
    write(whole, chosen)
    write(paths, chosen, end=end)
    files = tables.rows_files(paths, chosen)
    point = batching.resume_point(result_table.written_in_turn(files, chosen), NAMES, size)
    assert point.written == written
    write(paths, chosen, point)
    assert [read(path) for path in paths] == [read(path) for path in whole]
    assert not list(tmp_path.glob("*.rows.csv"))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_of_an_earlier_run_are_not_taken_for_those_of_a_stopped_one(tmp_path, suffix):
    """Begin anew where all tables exist, stop early, and know where."""
    paths = [str(tmp_path / f"{name[0]}{suffix}") for name in NAMES]
    write(paths, OWN)
    write(paths, OWN, end=3)
    files = tables.rows_files(paths, OWN)
    assert [frame.frame for frame in result_table.written_in_turn(files, OWN)] == [1, 1] and len(files) == 2


def test_one_table_has_all_inputs(tmp_path):
    """Write what `result_table.open_table` writes."""
    path = str(tmp_path / "out.csv")
    with tables.open_tables([path], OWN, ResumePoint(), is_per_input=False) as opened:
        for name, frame in FRAMES:
            opened.add([row(name, frame)], NAMES.index(name))
        opened.complete()
    assert Path(path).read_text().count("\n") == 1 + len(FRAMES)

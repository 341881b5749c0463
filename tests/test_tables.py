"""Result tables and archives: their layout, and that they hold whole results whenever a run stops."""

import csv
import os

import numpy as np
import pytest

from fgnet_jax import tables

AUS = (1, 12)


def test_columns_pad_au_numbers():
    """The names that other tools' users know."""
    assert tables.columns(AUS) == ["input", "success", "AU01_c", "AU01_score", "AU12_c", "AU12_score"]


def test_rows_come_back_as_written(tmp_path):
    """Scores to the last bit of float32, names with commas, quotes and newlines, failures as empty cells."""
    scores = np.array([1 / 3, -1e-7], np.float32)
    with tables.open_csv(tmp_path / "out.csv", AUS) as table:
        table.add(tables.row('a "b", c\nd.png', AUS, scores, scores > 0))
        table.add(tables.failed_row("e.png"))
    with open(tmp_path / "out.csv", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert first["input"] == 'a "b", c\nd.png' and first["success"] == "1"
    assert (first["AU01_c"], first["AU12_c"]) == ("1", "0")
    assert [np.float32(first["AU01_score"]), np.float32(first["AU12_score"])] == list(scores)
    assert second == {"input": "e.png", "success": "0", "AU01_c": "", "AU01_score": "", "AU12_c": "", "AU12_score": ""}


def test_every_row_is_on_disk_when_it_is_added(tmp_path):
    """What a killed run leaves: whole rows."""
    with tables.open_csv(tmp_path / "out.csv", AUS) as table:
        assert (tmp_path / "out.csv").read_text().count("\n") == 1
        table.add(tables.failed_row("a.png"))
        assert (tmp_path / "out.csv").read_text().endswith("a.png,0,,,,\n")


def test_unknown_columns_are_refused(tmp_path):
    """An AU that the table has no column for is a mistake, not a silent loss."""
    with tables.open_csv(tmp_path / "out.csv", AUS) as table, pytest.raises(ValueError, match="AU02_c"):
        table.add({"input": "a", "AU02_c": "1"})


def test_file_names_that_are_no_text_keep_their_bytes(tmp_path):
    """Linux file names are bytes."""
    with tables.open_csv(tmp_path / "out.csv", AUS) as table:
        table.add(tables.failed_row(os.fsdecode(b"\xff.png")))
    assert b"\xff.png,0," in (tmp_path / "out.csv").read_bytes()


def test_an_archive_holds_every_input_in_order(tmp_path):
    """Heatmaps, scores, AUs and inputs, with NaN where there is no result, and no pickles."""
    maps = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 2)).astype(np.float32)
    with tables.open_archive(tmp_path / "out.npz", AUS, 4) as archive:
        archive.add("a.png", maps[0].mean((0, 1)), maps[0])
        archive.add("b.png", None, None)
        archive.add("ç/c.png", maps[2].mean((0, 1)), maps[2])
        assert not (tmp_path / "out.npz").exists()
    with np.load(tmp_path / "out.npz", allow_pickle=False) as loaded:
        assert sorted(loaded) == ["aus", "heatmaps", "input", "scores"]
        assert loaded["heatmaps"].dtype == loaded["scores"].dtype == np.float32
        np.testing.assert_array_equal(loaded["heatmaps"][[0, 2]], maps[[0, 2]])
        np.testing.assert_allclose(loaded["scores"][[0, 2]], maps[[0, 2]].mean((1, 2)))
        assert np.isnan(loaded["heatmaps"][1]).all() and np.isnan(loaded["scores"][1]).all()
        assert loaded["aus"].tolist() == [1, 12] and loaded["input"].tolist() == ["a.png", "b.png", "ç/c.png"]
    assert os.listdir(tmp_path) == ["out.npz"]


def test_an_interrupted_archive_holds_what_was_added(tmp_path):
    """As the table does."""
    with pytest.raises(KeyboardInterrupt), tables.open_archive(tmp_path / "out.npz", AUS, 4) as archive:
        archive.add("a.png", np.zeros(2), np.zeros((4, 4, 2)))
        raise KeyboardInterrupt
    with np.load(tmp_path / "out.npz") as loaded:
        assert loaded["heatmaps"].shape == (1, 4, 4, 2)


def test_an_empty_archive_is_valid(tmp_path):
    """A run that was stopped before its first picture."""
    with tables.open_archive(tmp_path / "out.npz", AUS, 4):
        pass
    with np.load(tmp_path / "out.npz") as loaded:
        assert loaded["heatmaps"].shape == (0, 4, 4, 2) and loaded["scores"].shape == (0, 2)


def test_heatmaps_of_another_shape_are_refused(tmp_path):
    """They would shift everything after them."""
    with tables.open_archive(tmp_path / "out.npz", AUS, 4) as archive, pytest.raises(ValueError, match="a.png"):
        archive.add("a.png", np.zeros(2), np.zeros((4, 4, 3)))

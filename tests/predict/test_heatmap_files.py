"""Archives of heatmaps: row by row as the table, npz written in the end, Zarr growing and resumed."""

import os

import numpy as np
import pytest

from fgnet_jax.predict import heatmap_files
from fgnet_jax.predict.columns import ResultRow

AUS = (1, 12)
MAPS = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 2)).astype(np.float32)
NAMES = ("out.npz", "out.zarr")


def row(name, maps=None, face_id=None):
    """Return a row, with a result where there are heatmaps."""
    return ResultRow(name, 3, face_id=face_id, scores=None if maps is None else maps.mean((0, 1)))


def load(path):
    """Return an archive's arrays, of either kind."""
    if heatmap_files.is_zarr(path):
        import zarr

        group = zarr.open_group(path, mode="r")
        return {name: np.asarray(array[:]) for name, array in group.arrays()} | {"aus": np.array(group.attrs["aus"])}
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_holds_every_row_in_order(tmp_path, name):
    """Hold heatmaps, scores, AUs and inputs, with NaN where there is no result, and no pickles."""
    with heatmap_files.open_archive(tmp_path / name, AUS, 4) as archive:
        archive.add(row("a.png", MAPS[0], 0), MAPS[0])
        archive.add(row("b.png"), None)
        archive.add(row("ç/c.png", MAPS[2], 5), MAPS[2])
    loaded = load(tmp_path / name)
    assert sorted(loaded) == ["aus", "face_id", "frame", "heatmaps", "input", "scores"]
    assert loaded["heatmaps"].dtype == loaded["scores"].dtype == np.float32
    np.testing.assert_array_equal(loaded["heatmaps"][[0, 2]], MAPS[[0, 2]])
    np.testing.assert_allclose(loaded["scores"][[0, 2]], MAPS[[0, 2]].mean((1, 2)))
    assert np.isnan(loaded["heatmaps"][1]).all() and np.isnan(loaded["scores"][1]).all()
    assert loaded["aus"].tolist() == [1, 12] and loaded["input"].tolist() == ["a.png", "b.png", "ç/c.png"]
    assert loaded["face_id"].tolist() == [0, -1, 5] and loaded["frame"].tolist() == [3, 3, 3]
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_archive_holds_what_was_added(tmp_path, name):
    """Keep the rows that were added, as the table does."""
    with pytest.raises(KeyboardInterrupt), heatmap_files.open_archive(tmp_path / name, AUS, 4) as archive:
        archive.add(row("a.png", MAPS[0]), MAPS[0])
        raise KeyboardInterrupt
    assert load(tmp_path / name)["heatmaps"].shape == (1, 4, 4, 2)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_archive_is_valid(tmp_path, name):
    """Write a valid archive for a run that was stopped before its first image."""
    with heatmap_files.open_archive(tmp_path / name, AUS, 4):
        pass
    loaded = load(tmp_path / name)
    assert loaded["heatmaps"].shape == (0, 4, 4, 2) and loaded["scores"].shape == (0, 2)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_all_sizes(tmp_path, name):
    """Write heatmaps warped back to the image as one array per row, and none for a row without a result."""
    with heatmap_files.open_archive(tmp_path / name, AUS, 4, on_image=True) as archive:
        archive.add(row("a.png", MAPS[0], 0), np.full((6, 8, 2), 0.5, np.float32))
        archive.add(row("b.png"), None)
        archive.add(row("c.png", MAPS[0], 0), np.full((3, 2, 2), -0.25, np.float32))
    loaded = load(tmp_path / name)
    assert loaded["heatmaps_0000000"].shape == (6, 8, 2) and loaded["heatmaps_0000002"].dtype == np.float16
    assert (loaded["heatmaps_0000002"] == -0.25).all() and "heatmaps_0000001" not in loaded and "heatmaps" not in loaded
    assert loaded["input"].tolist() == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("name", NAMES)
def test_heatmaps_of_another_shape_are_refused(tmp_path, name):
    """Refuse them, as they would shift everything after them."""
    with heatmap_files.open_archive(tmp_path / name, AUS, 4) as archive, pytest.raises(ValueError, match="a.png"):
        archive.add(row("a.png", MAPS[0]), np.zeros((4, 4, 3)))


@pytest.mark.parametrize("on_image", [False, True])
def test_zarr_is_resumed(tmp_path, on_image):
    """Replace what was added beyond the table's rows."""
    path = tmp_path / "out.zarr"
    first = heatmap_files.open_archive(path, AUS, 4, on_image=on_image)
    archive = first.__enter__()  # a killed run: never closed
    for name in "abc":
        archive.add(row(name, MAPS[0]), MAPS[0])
    with heatmap_files.open_archive(path, AUS, 4, on_image=on_image, keep=2) as archive:
        archive.add(row("d", MAPS[1]), MAPS[1])
    loaded = load(path)
    assert loaded["input"].tolist() == ["a", "b", "d"] and loaded["scores"].shape == (3, 2)
    last = loaded["heatmaps_0000002"] if on_image else loaded["heatmaps"][2]
    np.testing.assert_allclose(last, MAPS[1], atol=1e-3)


def test_archives_that_cannot_be_resumed_are_refused(tmp_path):
    """Refuse an npz archive, one of other AUs, and a missing one."""
    with heatmap_files.open_archive(tmp_path / "out.zarr", AUS, 4) as archive:
        archive.add(row("a", MAPS[0]), MAPS[0])
    cases = {"out.npz": (AUS, 1, "npz"), "out.zarr": ((1, 2), 1, "other AUs"), "no.zarr": (AUS, 1, "no archive")}
    for name, (aus, keep, reason) in cases.items():
        with pytest.raises(heatmap_files.ArchiveError, match=reason):
            heatmap_files.open_archive(tmp_path / name, aus, 4, keep=keep).__enter__()
    with pytest.raises(heatmap_files.ArchiveError, match="fewer than 2 rows"):
        heatmap_files.open_archive(tmp_path / "out.zarr", AUS, 4, keep=2).__enter__()

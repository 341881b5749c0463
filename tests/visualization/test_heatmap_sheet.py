"""Sheets of target and predicted heatmaps: their colours, frames and size."""

import numpy as np
from PIL import Image

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.visualization import heatmap_sheet

BP4D = CORPUS_AUS["bp4d"]


def _faces(count: int, aus: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make grey faces, targets of the label's sign everywhere, predictions that are all right and exceed [-1, 1]."""
    labels = np.random.default_rng(0).integers(0, 2, (count, aus))
    images = np.full((count, 64, 64, 3), 128, np.uint8)
    targets = np.broadcast_to((2.0 * labels - 1)[:, None, None], (count, 16, 16, aus))
    return images, targets, 3 * targets, labels


def _sheet(images, targets, predictions, labels, aus=BP4D, path=None) -> np.ndarray:
    return heatmap_sheet.heatmap_sheet(
        images, targets=targets, predictions=predictions, labels=labels, aus=aus, path=path
    )


def test_a_sheet_is_red_where_present_and_blue_where_absent(tmp_path):
    """Draw target and prediction for each AU of a face; the file is the array."""
    images, targets, predictions, labels = _faces(1)
    sheet = _sheet(images, targets, predictions, labels, path=tmp_path / "sheet.png")
    assert sheet.dtype == np.uint8
    with Image.open(tmp_path / "sheet.png") as image:
        np.testing.assert_array_equal(np.asarray(image), sheet)
    for k in range(12):
        for row in (0, 1):
            y = heatmap_sheet._HEAD + row * (heatmap_sheet._TILE + heatmap_sheet._GAP) + heatmap_sheet._TILE // 2
            red, _, blue = sheet[y, heatmap_sheet._left(k) + heatmap_sheet._TILE // 2].astype(int)
            assert red - blue > 80 if labels[0, k] else blue - red > 80


def _has(sheet: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((sheet == np.array(colour, np.uint8)).all(-1).any())


def test_wrong_predictions_stand_out():
    """Frame a wrong prediction in amber; unknown labels are grey, and no prediction of them is wrong."""
    images, targets, predictions, labels = _faces(1)
    right = _sheet(images, targets, predictions, labels)
    wrong = _sheet(images, targets, -predictions, labels)
    unknown = _sheet(images, 0 * targets, -predictions, np.full_like(labels, -1))
    assert _has(wrong, heatmap_sheet._WRONG) and not _has(right, heatmap_sheet._WRONG)
    assert (
        _has(unknown, heatmap_sheet._UNKNOWN)
        and not _has(right, heatmap_sheet._UNKNOWN)
        and not _has(unknown, heatmap_sheet._WRONG)
    )


def test_a_sheet_has_room_for_four_faces_and_any_aus():
    """Make sheets of sixteen faces as high as of four; those of fewer are lower."""
    heights = [_sheet(*_faces(count, 3), aus=(1, 2, 99)).shape[0] for count in (1, 4, 16)]
    assert heights[0] < heights[1] == heights[2]


def test_faces_that_show_most_are_chosen():
    """Choose all AUs before any twice, in ascending order; unknown AUs do not count."""
    labels = np.array([[0, 0, 0, -1], [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [-1, -1, -1, -1]])
    assert heatmap_sheet.choose_faces(labels, 2) == [1, 3]
    assert heatmap_sheet.choose_faces(labels, 9) == [0, 1, 2, 3, 4]


def test_overlays_are_clear_at_zero():
    """Show the face where the map is 0, and hide it nowhere."""
    grey = np.full((8, 8), 100.0)
    assert (heatmap_sheet.overlay(grey, np.zeros((4, 4))) == 100).all()
    strong, stronger = (heatmap_sheet.overlay(grey, np.full((4, 4), value)) for value in (1.0, 5.0))
    np.testing.assert_array_equal(strong, stronger)
    assert (heatmap_sheet.overlay(grey + 100, np.ones((4, 4))) != strong).any()

"""Drawings of aligned faces: heatmaps over the face, the legend beside it, at every size."""

import numpy as np
import pytest

from fgnet_jax.visualization import aligned_face

GREY = np.full((64, 64, 3), 128, np.uint8)


def blob(row, column, size=32):
    """Make a heatmap with one peak."""
    rows, columns = np.indices((size, size))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).astype(np.float32)


def test_only_present_aus_are_drawn_over_the_face():
    """Leave the face unchanged where nothing is present, and draw the legend all the same."""
    heatmaps = np.stack([blob(8, 8), blob(24, 24)], -1)
    scores = heatmaps.mean((0, 1))
    absent, present = (
        np.asarray(aligned_face.draw(GREY, heatmaps, scores=scores, present=np.array(flags), aus=(1, 12))).astype(int)
        for flags in ([False, False], [True, False])
    )
    side = aligned_face.FACE_SIDE
    assert (absent[:, :side] == 128).all() and absent[:, side:].max() > 200
    changed = np.abs(present[:, :side] - 128).sum(-1) > 0
    assert changed[side // 4, side // 4] and not changed[side // 2 :, side // 2 :].any()


@pytest.mark.parametrize("size", [(16, 4), (64, 16), (1024, 128)])
@pytest.mark.parametrize("count", [1, 12, 32])
def test_faces_of_every_size_and_many_aus_are_drawn(size, count):
    """Draw the face large, and the legend with a row for every AU."""
    side, heatmap_side = size
    heatmaps = np.zeros((heatmap_side, heatmap_side, count), np.float32)
    heatmaps[-1, 0] = 1  # all tags in the same corner
    drawn = aligned_face.draw(
        np.zeros((side, side, 3), np.uint8),
        heatmaps,
        scores=np.ones(count),
        present=np.ones(count, bool),
        aus=range(1, count + 1),
    )
    assert drawn.mode == "RGB" and drawn.height >= aligned_face.FACE_SIDE

"""Painting AUs over an image: distinct colours, tints where heatmaps are."""

import itertools

import numpy as np

from fgnet_jax import aus
from fgnet_jax.visualization import painting

GREY = np.full((64, 64, 3), 128, np.uint8)


def blob(row, column, size=32):
    """Make a heatmap with one peak."""
    rows, columns = np.indices((size, size))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).astype(np.float32)


def test_every_au_has_a_distinct_colour():
    """Check the distances between colours, greater for AUs at the same place."""
    assert set(painting.COLOURS) == set(aus.NAMES)
    for first, second in itertools.combinations(painting.COLOURS, 2):
        distance = np.linalg.norm(np.subtract(painting.COLOURS[first], painting.COLOURS[second]))
        assert distance > (120 if aus.CENTRES[first] == aus.CENTRES[second] else 40), (first, second)


def test_an_au_beyond_the_corpora_gets_a_colour_too():
    """Allow a model with further AUs."""
    assert painting.colour(43) != painting.colour(45)


def test_the_tint_is_strongest_at_the_peak_and_absent_far_away():
    """Check also that negative parts are not drawn."""
    tinted = painting.tint(GREY, [np.kron(blob(8, 24) - blob(24, 8), np.ones((2, 2)))], [(255, 0, 0)])
    change = np.abs(tinted.astype(int) - GREY).sum(-1)
    assert np.unravel_index(change.argmax(), change.shape)[0] in range(14, 20)
    assert change[48, 16] == 0 and change[60, 60] == 0
    assert tinted[17, 49, 0] > 180 and tinted[17, 49, 2] < 80


def test_where_maps_overlap_the_stronger_wins():
    """Check that colours do not mix to grey."""
    strong, weak = np.full((64, 64), 0.9, np.float32), np.full((64, 64), 0.3, np.float32)
    red, _, blue = painting.tint(GREY, [strong, weak], [(255, 0, 0), (0, 0, 255)])[0, 0].astype(int)
    assert red > 170 and blue < 80


def test_maps_without_a_peak_are_not_drawn():
    """Leave the image unchanged."""
    painted = painting.paint(GREY, [np.full((64, 64), -0.1, np.float32)], [12], tags=False)
    assert (np.asarray(painted) == 128).all()

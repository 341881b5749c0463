"""Back-projection: heatmaps land where the face is in its image, and peaks return to their places."""

import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.aus import Centres
from fgnet_jax.faces import back_projection
from fgnet_jax.train import targets
from tests.faces.heatmaps import PLACES, blobs, turned


@pytest.mark.parametrize("side", [16, 64, 128])
def test_peaks_are_located_between_pixels_of_the_image(side):
    """Locate them within half a pixel at the published size, where a heatmap's pixel is more than two of the image."""
    alignment = turned()
    peaks = back_projection.peaks(blobs(PLACES, side, 6 * side / 128), alignment)
    errors = np.linalg.norm(peaks - alignment.to_image(PLACES), axis=1)
    assert errors.max() < (0.5 if side == 128 else 128 / side)


def test_the_middle_of_a_clipped_top_counts():
    """Locate peaks of heatmaps that are clipped at 1."""
    peaks = back_projection.peaks(np.clip(3 * blobs(PLACES), -1, 1), turned())
    assert np.linalg.norm(peaks - turned().to_image(PLACES), axis=1).max() < 0.7


def test_peaks_of_training_targets_return_to_their_landmarks():
    """Render one landmark as training does: two blobs in one place, so that the top is flat and wide."""
    landmarks = np.random.default_rng(0).uniform(60, 200, (1, 68, 2)).astype(np.float32)
    centres = (Centres((48,), (48,)), Centres((30,), (30,)))
    maps = np.asarray(targets.targets(jnp.asarray(landmarks), jnp.ones((1, 2), int), centres)[0])
    peaks = back_projection.peaks(maps, turned())
    np.testing.assert_allclose(peaks, turned().to_image(landmarks[0, [48, 30]]), atol=0.5)


def test_a_map_that_is_nowhere_above_0_has_no_peak():
    """Return NaN, an empty cell of tables."""
    assert np.isnan(back_projection.peaks(np.full((8, 8, 1), -0.5, np.float32), turned())).all()


def test_heatmaps_land_where_the_face_is():
    """Keep the values, too, and nothing outside of the face's square."""
    alignment, maps = turned(), blobs(PLACES)
    warped = back_projection.warp_to_image(maps, alignment, 640, 480)
    assert warped.shape == (480, 640, 3) and warped.dtype == np.float32
    for k, (x, y) in enumerate(alignment.to_image(PLACES)):
        row, column = np.unravel_index(warped[..., k].argmax(), warped.shape[:2])
        assert abs(row - y) < 1.5 and abs(column - x) < 1.5 and warped[row, column, k] > 0.98
    assert not warped[:40].any() and not warped[:, :100].any()
    part = back_projection.warp_to_image(maps, alignment, 640, 480, (200, 100, 400, 300))
    np.testing.assert_allclose(part, warped[100:300, 200:400], atol=1e-5)

"""Training targets computed from landmarks."""

import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.train.targets import au_centres, blob_centres, intensity_heights, targets
from tests.parity import reference


@pytest.mark.parametrize("corpus", ["bp4d", "disfa"])
def test_targets_are_the_published_ones(corpus):
    """Every eighth row and column of four faces, for every AU."""
    golden = {
        key.split("_", 1)[1]: value
        for key, value in reference.golden("heatmaps").items()
        if key.startswith(corpus.upper())
    }
    landmarks = jnp.asarray(golden["landmarks"], jnp.float32)
    heatmaps = targets(landmarks, jnp.asarray(golden["labels"]), au_centres(CORPUS_AUS[corpus]))
    actual = np.asarray(heatmaps).transpose(0, 3, 1, 2)[:, :, ::8, ::8]
    np.testing.assert_allclose(actual, golden["heatmaps_every8"], rtol=0, atol=1e-5)


def _landmarks() -> jnp.ndarray:
    points = np.random.default_rng(0).uniform(60, 200, (1, 68, 2))
    return jnp.asarray(points, jnp.float32)


def test_present_is_positive_absent_negative_unknown_zero():
    """One AU, with each of the three labels."""
    labels = jnp.asarray([[1], [0], [-1]])
    present, absent, unknown = targets(jnp.repeat(_landmarks(), 3, 0), labels, au_centres((12,)))
    assert present.max() > 0.9 and present.min() >= 0
    np.testing.assert_array_equal(present, -absent)
    np.testing.assert_array_equal(unknown, jnp.zeros_like(unknown))


def test_a_blob_peaks_at_its_landmark_at_any_size():
    """The lip corner of a 256x256 face, on a map of 128 and on one of 64."""
    landmarks = _landmarks().at[0, 48].set(jnp.array([60.0, 180.0])).at[0, 54].set(jnp.array([220.0, 20.0]))
    for size in (128, 64):
        heatmap = targets(landmarks, jnp.asarray([[1]]), au_centres((12,)), size=size)[0, :, :, 0]
        row, column = 180 * size // 256, 60 * size // 256
        assert heatmap[row, column] == 1
        one_sigma_up = heatmap[row - 20 * size // 128, column]
        np.testing.assert_allclose(one_sigma_up, np.exp(-0.5), rtol=1e-6)


def test_cheeks_lie_one_eye_distance_below_the_eyes():
    """AU 6 is shifted down by the distance of the inner eye corners."""
    landmarks = (
        jnp.zeros((1, 68, 2)).at[0, 36:42].set(jnp.array([50.0, 80.0])).at[0, 42:48].set(jnp.array([80.0, 80.0]))
    )
    centres = blob_centres(landmarks, au_centres((6,)))[0, 0]
    np.testing.assert_allclose(centres, [[50, 110], [80, 110]], rtol=1e-6)  # means of six, in float32


def test_an_au_without_centres_is_refused():
    """By its number, with the known ones."""
    with pytest.raises(ValueError, match=r"AU 43; known: \[1, 2, 4"):
        au_centres((1, 43))


def test_the_height_of_a_target_grows_with_intensity_and_its_sign_is_the_labels():
    """Present from 2 on; a corpus prepared with another threshold of presence keeps its labels' signs."""
    coded = jnp.asarray([[0.0], [1.0], [1.99], [2.0], [3.0], [5.0]])
    heights = intensity_heights((coded >= 2).astype(jnp.int8), coded)[:, 0]
    np.testing.assert_allclose(heights, [-0.6, -0.4, -0.202, 0.4, 0.6, 1.0], atol=1e-6)
    for threshold in range(1, 6):
        codes = jnp.arange(6.0)[:, None]
        heights = intensity_heights((codes >= threshold).astype(jnp.int8), codes)[:, 0]
        assert ((heights > 0) == (codes[:, 0] >= threshold)).all() and (heights != 0).all()
        assert (jnp.diff(heights) >= 0).all()


def test_presence_without_an_intensity_has_the_height_of_the_middle_code_and_of_0():
    """As on a corpus that codes presence alone; unknown labels have no height, whatever their intensity."""
    labels = jnp.asarray([[1, 0, -1, -1]])
    heights = intensity_heights(labels, jnp.asarray([[-1.0, -1.0, -1.0, 4.0]]))
    np.testing.assert_allclose(heights, [[0.6, -0.6, 0, 0]], atol=1e-6)


def test_targets_of_intensity_are_those_of_presence_times_their_height():
    """Also where two blobs meet: no target is higher than its intensity says."""
    # Both lip corners at one place: the published target is clipped at 1 there, from a sum of 2.
    landmarks = _landmarks().at[0, 48].set(jnp.array([128.0, 128.0])).at[0, 54].set(jnp.array([128.0, 128.0]))
    codes = jnp.asarray([[3.0], [5.0], [0.0]])
    labels = (codes >= 2).astype(jnp.int8)
    faces, centres = jnp.repeat(landmarks, 3, 0), au_centres((12,))
    present = targets(faces, jnp.ones((3, 1), jnp.int8), centres)
    drawn = targets(faces, labels, centres, intensities=codes)
    np.testing.assert_allclose(drawn, present * jnp.asarray([0.6, 1.0, -0.6])[:, None, None, None], atol=1e-6)
    assert float(drawn[0].max()) == pytest.approx(0.6)

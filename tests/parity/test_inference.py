"""The published network in evaluation mode, at full size: every stage against the published code's numbers."""

import jax
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.predict import network
from tests.parity import reference, reference_weights

pytestmark = pytest.mark.full_size

TOLERANCE = 1e-4
"""Largest absolute error in float32; 4e-6 has been measured."""


def _stages(variables, images):
    model = fgnet.merge(reference.PUBLISHED, variables)
    codes = model.encoder(images)
    w = model.generator.map(codes)
    features = model.generator.features(w)
    return {
        "codes": codes,
        "w": w,
        **{f"feature{i}": feature for i, feature in enumerate(features)},
        "rgb": model.generator.image(w),
        "heatmaps": model.interpreter(features),
    }


@pytest.fixture(scope="module")
def outputs():
    """Outputs of every stage for the reference images."""
    images = fgnet.normalise(reference_weights.images())
    with jax.default_matmul_precision("highest"):
        return jax.device_get(jax.jit(_stages)(reference.variables(), images))


@pytest.fixture(scope="module")
def golden():
    """Numbers of the published code."""
    return reference.golden("inference")


@pytest.mark.parametrize("name", ["codes", "w"])
def test_codes(outputs, golden, name):
    """All codes and all of w."""
    np.testing.assert_allclose(outputs[name], golden[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", [*(f"feature{i}" for i in range(9)), "rgb", "heatmaps"])
def test_maps(outputs, golden, name):
    """Features, image and heatmaps, at the places that the golden file has."""
    actual = reference.sample(outputs[name], int(golden[f"{name}_stride"]), golden[name].size)
    np.testing.assert_allclose(actual, golden[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", [*(f"feature{i}" for i in range(9)), "heatmaps"])
def test_standard_deviation_of_maps(outputs, golden, name):
    """Over all of a map, not only where it was sampled."""
    np.testing.assert_allclose(outputs[name].std(), golden[f"{name}_std"], rtol=1e-4)


def test_scores_and_labels(outputs, golden):
    """Scores of all 32 channels, and which of them are above 0."""
    scores = fgnet.scores(outputs["heatmaps"])
    np.testing.assert_allclose(scores, golden["au_scores"], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(scores > 0, golden["au_scores"] > 0)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_heatmaps_by_the_paths_of_other_platforms(platform, golden):
    """Those of the published code, as `predict` computes them there: from weights that are prepared before."""
    variables, images = reference.variables(), reference_weights.images()
    prepare, finish = network.split_forward(
        reference.PUBLISHED,
        reference.PUBLISHED.num_heatmaps,
        platform,
        jax.ShapeDtypeStruct(images.shape, images.dtype),
    )
    with jax.default_matmul_precision("highest"):
        scores, heatmaps = jax.jit(finish)(jax.jit(prepare)(variables), images)
    expected = golden["heatmaps"].clip(-1, 1)
    actual = reference.sample(heatmaps, int(golden["heatmaps_stride"]), expected.size)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scores, golden["au_scores"], rtol=0, atol=TOLERANCE)


def test_apply_equals_the_stages(outputs):
    """`apply`, which skips what only the RGB image needs, predicts the heatmaps of the stages one by one."""
    images = fgnet.normalise(reference_weights.images())
    with jax.default_matmul_precision("highest"):
        heatmaps = jax.jit(fgnet.apply, static_argnums=0)(reference.PUBLISHED, reference.variables(), images)
    np.testing.assert_allclose(heatmaps, outputs["heatmaps"], rtol=0, atol=1e-5)

"""Reference weights of the tiny network, and errors against golden numbers."""

import dataclasses

import numpy as np
import pytest

from benchmarks.gpu import parity
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY, ModelConfig
from tests.parity import reference, reference_weights


def test_weights_have_the_shapes_of_the_network():
    """All of them, single numbers too, and none is constant."""
    weights, shapes = parity.variables(TINY), fgnet.abstract(TINY)
    for group in ("params", "batch_stats", "buffers"):
        actual = {path: array.shape for path, array in getattr(weights, group).items()}
        assert actual == {path: leaf.shape for path, leaf in getattr(shapes, group).items()}
    assert all(np.ptp(array) > 0 for array in weights.params.values() if array.size > 1)


def test_images_take_turns():
    """The published network's are those of the golden numbers."""
    np.testing.assert_array_equal(parity.images(ModelConfig(), 2), reference_weights.images())
    images = parity.images(TINY, 3)
    assert images.shape == (3, 64, 64, 3) and (images[0] == images[2]).all() and (images[0] != images[1]).any()


def test_golden_numbers_are_of_the_published_network_in_any_format(tmp_path):
    """Other sizes have those that were computed for them, or none."""
    for format_ in ({"dtype": "bfloat16"}, {"precision": "default"}, {"dropout": 0.0}):
        golden = parity.golden(dataclasses.replace(ModelConfig(), **format_), "inference", "")
        assert golden is not None and golden["codes"].shape[0] == 2
    assert parity.golden(TINY, "inference", str(tmp_path)) is None


def _heatmaps(channels: int = 6) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2, 2, (2, 8, 8, channels))


@pytest.mark.parametrize("images", [1, 2])
def test_errors_of_heatmaps_are_taken_at_the_golden_places(images: int):
    """Of fewer images and channels than the golden file has; an error that is planted is found."""
    whole = _heatmaps()
    expected = {
        "heatmaps": reference.sample(whole, 3, 200),
        "heatmaps_stride": 3,
        "au_scores": np.clip(whole, -1, 1).mean((1, 2)),
    }
    heatmaps = whole[:images, ..., :4].copy()
    assert set(parity.heatmap_errors(heatmaps, expected, 6).values()) == {0.0}
    heatmaps[0, 0, 0, 0] = -np.sign(heatmaps[0, 0, 0, 0])  # place 0 is in the sample
    errors = parity.heatmap_errors(heatmaps, expected, 6)
    change = 1 + min(1, abs(whole[0, 0, 0, 0]))
    assert errors["heatmaps"] == pytest.approx(change) and errors["scores"] == pytest.approx(change / 64)
    assert errors["relative"] > 0


def test_errors_of_gradients_are_relative():
    """Of the loss, the whole norm, and each tensor's: here one of two is off by a tenth."""
    expected = {
        "names": np.array(["generator/conv1.activate.bias", "generator/convs.0.activate.bias"]),
        "first_grad_l2": np.array([3.0, 4.0]),
        "loss": 2.0,
        "grad_norm": 5.0,
    }
    norms = {"generator/convs/0/bias": 3.3, "generator/convs/1/bias": 4.0}
    errors = parity.gradient_errors(TINY, 2.002, norms, expected)
    assert errors["loss"] == pytest.approx(1e-3) and errors["median"] == pytest.approx(0.05)
    assert errors["grad_norm"] == pytest.approx((3.3**2 + 4**2) ** 0.5 / 5 - 1)


def test_golden_numbers_have_the_names_and_places_of_the_published_network():
    """Their own norms have no error, and zeros are as far from their heatmaps as these are long."""
    config, paths = ModelConfig(), reference.published_names()
    inference, training = (parity.golden(config, name, "") for name in ("inference", "training_exact"))
    assert inference is not None and training is not None
    pairs = zip(training["names"].tolist(), training["first_grad_l2"].tolist(), strict=True)
    norms = {paths[name]: value for name, value in pairs}
    assert len(norms) > 580
    assert max(parity.gradient_errors(config, float(training["loss"]), norms, training).values()) < 1e-12
    zeros = np.zeros((2, config.heatmap_size, config.heatmap_size, 12))
    assert parity.heatmap_errors(zeros, inference, config.num_heatmaps)["relative"] == pytest.approx(1)


def test_bounds_go_with_the_format():
    """Float32 has those of tests/parity; NaN is within none."""
    errors = {"heatmaps": 2e-4, "relative": 1e-4, "scores": 1e-6}
    expected = "errors in float32 are heatmaps 2.0e-04: expected at most heatmaps 0.0001, scores 0.0001"
    assert parity.beyond(errors, "float32") == expected
    assert parity.beyond(errors, "tf32") == parity.beyond(errors, "bfloat16") == ""
    assert "relative nan" in parity.beyond({"relative": float("nan")}, "bfloat16")

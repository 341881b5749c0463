"""Convolutions tap by tap, values and gradients, against XLA's own in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.conv import conv


@pytest.mark.parametrize(
    ("taps", "features_in", "padding", "stride"),
    [
        ((2, 2), 3, ((1, 1), (1, 1)), 1),
        ((2, 1), 3, ((1, 1), (0, 0)), 1),
        ((3, 3), 128, ((1, 1), (1, 1)), 1),
        ((3, 3), 128, ((1, 1), (1, 1)), 2),
        ((5, 5), 32, ((2, 2), (2, 2)), 1),
    ],
)
@pytest.mark.parametrize("side", [(7, 6), (70, 40)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-14)])
def test_gradients(taps, features_in, padding, stride, side, dtype, tolerance):
    """Value and gradients of map and kernel are right, for a small map at once and for a large one in strips."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *side, features_in)).astype(np.float32)
    kernel = rng.uniform(-0.1, 0.1, (*taps, features_in, 5)).astype(np.float32)

    def direct(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout)

    def by_taps(x, kernel):
        return conv(x, kernel, padding, stride)

    weights = rng.standard_normal(jax.eval_shape(by_taps, x, kernel).shape).astype(np.float32)
    arrays = x, kernel, weights
    with jax.enable_x64(dtype is np.float64), jax.default_matmul_precision("highest"):
        computed = _value_and_gradients(by_taps, *(jnp.asarray(array, dtype) for array in arrays))
    with jax.enable_x64(True):
        exact = _value_and_gradients(direct, *(jnp.asarray(array, np.float64) for array in arrays))
    for actual, expected in zip(computed, exact, strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def _value_and_gradients(fn, *arrays: jax.Array) -> list[np.ndarray]:
    @jax.jit
    def compute(x, kernel, weights):
        out, gradients = jax.vjp(fn, x, kernel)
        return out, *gradients(weights)

    return [np.asarray(array) for array in compute(*arrays)]


def test_without_a_gradient_a_wide_large_convolution_is_the_same():
    """Winograd's method, by another program, agrees with the value that is computed with a gradient."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((1, 64, 64, 256)).astype(np.float32))
    kernel = jnp.asarray(rng.standard_normal((3, 3, 256, 256)).astype(np.float32) / 48)
    with jax.default_matmul_precision("highest"):
        alone = conv(x, kernel, ((1, 1), (1, 1)))
        with_gradient = jax.vjp(lambda x: conv(x, kernel, ((1, 1), (1, 1))), x)[0]
    np.testing.assert_allclose(alone, with_gradient, rtol=0, atol=2e-5)
    assert bool((alone != with_gradient).any()) == (platforms.current() == "cpu")

"""Convolutions, values and gradients, against XLA's own in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.ops.conv import conv


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
def test_gradients(taps, features_in, padding, stride, side):
    """Of the map and of the kernel, all of a small map at once, a large one in strips; and the value."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, *side, features_in)).astype(np.float32))
    kernel = jnp.asarray(rng.uniform(-0.1, 0.1, (*taps, features_in, 5)).astype(np.float32))

    def xlas(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout)

    def ours(x, kernel):
        return conv(x, kernel, padding, stride)

    weights = rng.standard_normal(jax.eval_shape(ours, x, kernel).shape)
    with jax.default_matmul_precision("highest"):
        out, gradients = jax.vjp(ours, x, kernel)
        made = out, *gradients(jnp.asarray(weights, np.float32))
    with jax.enable_x64(True):
        out, gradients = jax.vjp(xlas, jnp.asarray(x, np.float64), jnp.asarray(kernel, np.float64))
        exact = out, *gradients(jnp.asarray(weights, np.float32).astype(np.float64))
    for actual, expected in zip(made, exact, strict=True):
        expected = np.asarray(expected)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_without_a_gradient_a_wide_large_one_is_the_same():
    """Winograd's way, against the value that comes with a gradient; another program."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((1, 64, 64, 256)).astype(np.float32))
    kernel = jnp.asarray(rng.standard_normal((3, 3, 256, 256)).astype(np.float32) / 48)
    with jax.default_matmul_precision("highest"):
        alone = conv(x, kernel, ((1, 1), (1, 1)))
        with_gradient = jax.vjp(lambda x: conv(x, kernel, ((1, 1), (1, 1))), x)[0]
    np.testing.assert_allclose(alone, with_gradient, rtol=0, atol=2e-5)
    assert bool((alone != with_gradient).any()) == (jax.default_backend() == "cpu")

"""Convolutions whose kernel gradient is computed tap by tap, against XLA's own."""

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
    ],
)
def test_gradients(taps, features_in, padding, stride):
    """Of the map and of the kernel."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 7, 6, features_in)).astype(np.float32))
    kernel = jnp.asarray(rng.uniform(-0.1, 0.1, (*taps, features_in, 5)).astype(np.float32))

    def xlas(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=layout)

    def ours(x, kernel):
        return conv(x, kernel, padding, stride)

    weights = jnp.asarray(rng.standard_normal(ours(x, kernel).shape).astype(np.float32))
    with jax.default_matmul_precision("highest"):
        both = [jax.grad(lambda *a, f=f: (f(*a) * weights).sum(), (0, 1))(x, kernel) for f in (ours, xlas)]
    for actual, expected in zip(*both, strict=True):
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=2e-6)

"""Winograd's convolution against a direct one in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.cpu import winograd


@pytest.mark.parametrize("shape", [(1, 2, 2, 3), (2, 8, 6, 64), (2, 24, 6, 4)])
def test_a_map(shape):
    """It is the direct convolution to within a few roundings, borders included."""
    _check(shape)


@pytest.mark.parametrize(("values", "rows"), [(0, 2), (200, 4), (400, 8), (1 << 20, 8)])
def test_a_large_map_is_split_into_strips(values, rows, monkeypatch):
    """Of two, four, eight and, since 24 has no larger power of two as a divisor, again eight rows."""
    monkeypatch.setattr(winograd, "MAX_UNSPLIT", 1000)
    monkeypatch.setattr(winograd, "_STRIP", values)
    assert winograd._rows_per_strip(jnp.zeros((2, 24, 6, 4))) == rows
    _check((2, 24, 6, 4))


def _check(shape):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(shape), rng.standard_normal((3, 3, shape[-1], 5))
    with jax.default_matmul_precision("highest"):
        actual = jax.jit(winograd.conv3x3)(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32))
    with jax.enable_x64(True):
        expected = np.asarray(conv2d(jnp.asarray(x), jnp.asarray(kernel)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6 * np.abs(expected).max())

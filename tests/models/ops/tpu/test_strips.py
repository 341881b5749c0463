"""The last resolution in strips, against all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import patches
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.filters import upsample_conv
from fgnet_jax.models.ops.resize import shrink
from fgnet_jax.models.ops.tpu import strips

SIZES = [(8, 4), (16, 4), (32, 8), (32, 16)]
"""Sides of the map before upsampling and after the shrink: blocks of four and of eight pixels."""


def _random(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def _same_with_gradients(actual, expected, *arrays):
    """Compare values, and gradients to within a few roundings of the largest."""

    def both(function):
        out, gradients = jax.vjp(function, *arrays)
        return out, gradients(_random(*out.shape))

    with jax.default_matmul_precision("highest"):
        (value, gradients), (other, others) = (jax.jit(both, static_argnums=0)(f) for f in (actual, expected))
    for result, reference in zip((value, *gradients), (other, *others), strict=True):
        scale = float(jnp.abs(reference).max())
        np.testing.assert_allclose(result / scale, reference / scale, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_both_convolutions_and_the_shrink(side, size):
    """From the map before the last resolution to the last map, shrunk: what `Generator.features` computes of it."""

    def expected(x, style, first, second):
        return shrink(conv2d(upsample_conv(x * style[:, None, None], first), second), size)

    def actual(x, style, first, second):
        x = strips.upsample_conv_strips(x, style, first, size) * strips.inside(2 * side, size, 5)
        return strips.shrink_read(strips.conv_strips(x, second, size), 2 * side, size)

    arrays = _random(2, side, side, 3), _random(2, 3), _random(3, 3, 3, 5), _random(3, 3, 5, 4)
    _same_with_gradients(actual, expected, *arrays)


def test_noise_lies_as_the_maps_do():
    """Shrunk from the pixels that the shrink reads, a map of noise is the same for all channels, and shrunk."""
    noise = _random(32, 32)
    shrunk = strips.shrink_read(strips.read_pixels(noise, 8, 3), 32, 8)
    expected = jnp.broadcast_to(shrink(noise[None, :, :, None], 8), (1, 8, 8, 3))
    np.testing.assert_allclose(shrunk, expected, atol=1e-6)


def test_strips_have_all_columns_of_four_rows():
    """The first block's patch begins one row outside the map: at an odd row, so it comes after those of even rows."""
    noise = _random(32, 32)
    taken, inside = strips.strips(noise, 8, 3), strips.inside(32, 8, 3)
    assert taken.shape[2:] == (16, 4 * 2 * 3) and inside.shape[1:] == (taken.shape[1], 1, taken.shape[3])
    assert patches.patch_rows(32, 8)[0].tolist() == [-1, 0, 1, 2]
    (position,) = np.flatnonzero(~inside[0, :, 0, 0])[:1]
    pixels = taken[0, position, 5].reshape(4, 2, 3)
    np.testing.assert_array_equal(pixels[1:], jnp.repeat(noise[0:3, 10:12, None], 3, axis=2))


def test_factors_are_repeated_for_the_pixels_that_lie_side_by_side():
    """(N, C) to (N, pixels * C)."""
    assert strips.side_by_side(jnp.array([[1, 2]]), 6).tolist() == [[1, 2, 1, 2, 1, 2]]

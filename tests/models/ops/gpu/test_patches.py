"""The last resolution at patches as GPUs compute it, against all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.gpu import patches
from fgnet_jax.models.ops.gpu.upsampling import low_pass
from fgnet_jax.models.ops.resize import shrink
from tests.models.ops.comparing import random, same_with_gradients

SIZES = [(16, 4), (32, 4), (64, 8), (64, 16)]
"""Sides of the map and after the shrink: blocks of four and of eight pixels."""


def _at_patches(x, size):
    """Take the patches (N, size, size * 16, C) of maps (N, side, side, C), zero outside."""
    by_channel = [[patches.take_patches(channel, size) for channel in image.transpose(2, 0, 1)] for image in x]
    taken = jnp.stack([jnp.stack(channels, axis=-1) for channels in by_channel])
    return jnp.where(patches.inside(x.shape[1], size), taken, 0)


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_low_pass_at_patches(side, size):
    """It gives what the low-pass of the whole map does; what lies outside is left to `Filter.inside`."""
    x, at_patches = random(2, side + 1, side + 1, 3), patches.low_pass_patches(side, size)
    actual = jnp.where(patches.inside(side, size), at_patches.apply(x), 0)
    np.testing.assert_allclose(actual, _at_patches(low_pass(x), size), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_gradient_of_the_low_pass_at_patches(side, size):
    """Where blocks have four rows, two patches may read a row, and their gradients are added up."""
    at_patches = patches.low_pass_patches(side, size)
    result, transpose = jax.vjp(at_patches.apply, random(2, side + 1, side + 1, 3))
    gradient = random(*result.shape)
    np.testing.assert_allclose(at_patches.transpose(gradient), transpose(gradient)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_convolution_and_shrink_of_patches(side, size):
    """Values and gradients are those of the whole map, shrunk."""

    def full(x, kernel):
        return shrink(conv2d(x, kernel), size)

    def at_patches(x, kernel):
        return patches.shrink_patches(patches.conv_patches(_at_patches(x, size), kernel), side)

    same_with_gradients(at_patches, full, random(2, side, side, 3), random(3, 3, 3, 5), rtol=1e-6)


def test_noise_where_the_shrink_reads():
    """Of a patch's 16 pixels the inner four."""
    numbers = jnp.arange(64.0).reshape(8, 8)
    assert patches.take_patches(numbers, 2)[0, :16].reshape(4, 4).tolist()[1] == [0, 0, 1, 2]
    assert patches.read_places(patches.take_patches(numbers, 2))[0, :4].tolist() == [0, 1, 8, 9]

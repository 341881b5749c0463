"""The last resolution at patches only, against all of it."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import patches
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.filters import upsample_conv
from fgnet_jax.models.ops.resize import shrink
from tests.models.ops.comparing import random, same_with_gradients

SIZES = [(8, 4), (16, 4), (32, 8), (32, 16)]
"""Sides of the map before upsampling and after the shrink: blocks of four and of eight pixels."""


def _at_patches(x, size):
    """Take the patches (N, 16 * size, size, C) of maps (N, side, side, C), zero outside."""
    maps = [patches.patches(channel, size) for channel in x.transpose(0, 3, 1, 2).reshape(-1, *x.shape[1:3])]
    maps = jnp.stack(maps).reshape(x.shape[0], x.shape[3], -1, size).transpose(0, 2, 3, 1)
    return maps * patches.inside(x.shape[1], size)


def test_patches_lie_around_what_is_read():
    """Of blocks of eight pixels, the two that are read and their neighbours; the first and the last are at the rim."""
    rows = patches.patch_rows(1024, 128)
    assert rows[0].tolist() == [-1, 0, 1, 2] and rows[-1].tolist() == [1022, 1023, 1024, 1025]
    position = np.arange(128) * 1023 / 127
    assert (np.abs(rows[:, 1] - np.floor(position)) == 0).all()


def _drawing(block: int, side: int, size: int) -> list[str]:
    """Draw a block of 4x4 pixels, with a rim of one pixel, as the module's docstring does."""
    rows = patches.patch_rows(side, size)[block] - block * (side // size)
    grid = [["." if 0 <= y < 4 and 0 <= x < 4 else " " for x in range(-1, 5)] for y in range(-1, 5)]
    for y, x in itertools.product(range(4), repeat=2):
        is_read = 0 < y < 3 and 0 < x < 3
        grid[rows[y] + 1][rows[x] + 1] = "#" if is_read else "o"
    return [" ".join(line) for line in grid]


def test_the_figure_is_what_the_code_does():
    """The docstring's six lines show blocks 0, 3 and 6 of a map of 32x32 that is shrunk to 8x8."""
    drawings = [_drawing(block, 32, 8) for block in (0, 3, 6)]
    drawn = [("    " + "      ".join(lines)).rstrip() for lines in zip(*drawings, strict=True)]
    assert "\n".join(["", *drawn, ""]) in (patches.__doc__ or "")


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_upsample_conv_patches(side, size):
    """Values and gradients are those of the whole map, taken at the patches, with zeros outside it."""

    def full(x, kernel):
        return _at_patches(upsample_conv(x, kernel), size)

    def at_patches(x, kernel):
        return patches.upsample_conv_patches(x, kernel, size)

    same_with_gradients(at_patches, full, random(2, side, side, 3), random(3, 3, 3, 5))


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_conv_and_shrink_of_patches(side, size):
    """Values and gradients are those of the whole map, shrunk."""

    def full(x, kernel):
        return shrink(conv2d(x, kernel), size)

    def at_patches(x, kernel):
        return patches.shrink_patches(patches.conv_patches(_at_patches(x, size), kernel), side)

    same_with_gradients(at_patches, full, random(2, side, side, 3), random(3, 3, 3, 5), rtol=1e-6)


@pytest.mark.parametrize(("side", "size"), [(32, 8), (64, 8), (1024, 128)])
def test_shrink_patches(side, size):
    """It gives what a shrink of the whole map does."""
    full = random(side, side)
    actual = patches.shrink_patches(patches.read_places(patches.patches(full, size))[None, :, :, None], side)
    np.testing.assert_allclose(actual, shrink(full[None, :, :, None], size), rtol=0, atol=1e-6)

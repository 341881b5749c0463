"""The last resolution at patches only, against all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.ops.filters import upsample_conv
from fgnet_jax.ops.resize import shrink
from fgnet_jax.ops.sparse import inside, patch_rows, patches, shrink_patches, upsample_conv_patches

SIZES = [(8, 4), (16, 4), (32, 16)]
"""Side of the small map and of what is read in the end, patches being half, or all, of the pixels and more."""


def _random(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_patches_lie_around_what_is_read():
    """Of eight pixels a block, the two that are read and their neighbours; the first and the last are at the rim."""
    rows = patch_rows(1024, 128).reshape(128, 4)
    assert rows[0].tolist() == [-1, 0, 1, 2] and rows[-1].tolist() == [1022, 1023, 1024, 1025]
    position = np.arange(128) * 1023 / 127
    assert (np.abs(rows[:, 1] - np.floor(position)) == 0).all()


@pytest.mark.parametrize(("side", "size"), SIZES)
def test_upsample_conv_patches(side, size):
    """Values and gradients are those of the whole map, taken at the patches; zero outside it."""
    x, kernel = _random(2, side, side, 3), _random(3, 3, 3, 5)
    weights = _random(1, 4 * size, 4 * size, 5)

    def whole(x, kernel):
        full, rows = upsample_conv(x, kernel), patch_rows(2 * side, size)
        return full[:, rows.clip(0, 2 * side - 1)][:, :, rows.clip(0, 2 * side - 1)] * inside(2 * side, size)

    def at_patches(x, kernel):
        return upsample_conv_patches(x, kernel, size)

    with jax.default_matmul_precision("highest"):
        np.testing.assert_allclose(at_patches(x, kernel), whole(x, kernel), rtol=0, atol=5e-6)
        pairs = (jax.grad(lambda *a, f=f: (f(*a) * weights).sum(), (0, 1))(x, kernel) for f in (at_patches, whole))
        for actual, expected in zip(*pairs, strict=True):
            scale = float(jnp.abs(expected).max())
            np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("side", "size"), [(32, 8), (64, 8), (1024, 128)])
def test_shrink_patches(side, size):
    """What a shrink of the whole map gives."""
    whole = _random(side, side)
    actual = shrink_patches(patches(whole, size)[None, :, :, None], side)
    np.testing.assert_allclose(actual, shrink(whole[None, :, :, None], size), rtol=0, atol=1e-6)

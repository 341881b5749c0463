"""The last resolution at the patches that the shrink reads (`ops.patches`), laid out patch by patch.

A patch is a row of a matrix, and the convolution of all patches one matrix product. What the low-pass reads is looked
up pixel by pixel within the kernel that filters: no map of windows is written.

A map of patches is (N, size, size * pixels, C): for each patch its pixels, row by row.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint

from fgnet_jax.models.ops.dtypes import accum_dtype
from fgnet_jax.models.ops.filters import LOW_PASS
from fgnet_jax.models.ops.gathering import by_image
from fgnet_jax.models.ops.gpu.styling import Filter
from fgnet_jax.models.ops.gpu.upsampling import filtered, padded
from fgnet_jax.models.ops.gpu.windows import weighted, windows
from fgnet_jax.models.ops.patches import PATCH, READ, inside_rows, patch_rows, read_weights

_WINDOW = PATCH + len(LOW_PASS) - 1
"""Rows of a transposed convolution's result that a patch's low-pass reads: from one above the patch to two below."""

_BEFORE, _AFTER = 2, 3
"""Rows outside a transposed convolution's result that patches at its ends read."""


def take_patches(x: jax.Array, size: int) -> jax.Array:
    """Take the patches (size, size * 16) out of a map (side, side), repeating its border where they lie outside."""
    rows = patch_rows(x.shape[0], size).clip(0, x.shape[0] - 1)
    return x[rows[:, None, :, None], rows[None, :, None, :]].reshape(size, -1)


def read_places(x: jax.Array) -> jax.Array:
    """Take what the shrink reads (size, size * 4) out of patches (size, size * 16)."""
    size = x.shape[0]
    return x.reshape(size, size, PATCH, PATCH)[..., READ, READ].reshape(size, -1)


def inside(side: int, size: int) -> np.ndarray:
    """Return (1, size, size * 16, 1) bool: whether a patch's pixel lies on the map; outside, convolutions read 0."""
    on = inside_rows(side, size)
    return (on[:, None, :, None] & on[None, :, None, :]).reshape(1, size, -1, 1)


@functools.cache
def low_pass_patches(side: int, size: int) -> Filter:
    """Return the low-pass after upsampling at patches: from (N, side + 1, side + 1, C) to (N, size, size * 16, C).

    Args:
      side: Side of the map that the low-pass would give.
      size: Patches along each side.
    """
    transpose = functools.partial(_low_pass_gradient, side=side)
    return Filter(functools.partial(_low_pass, size=size), transpose, inside(side, size))


def _low_pass(x: jax.Array, size: int) -> jax.Array:
    starts = patch_rows(x.shape[1] - 1, size)[:, 0] - 1
    taken = windows(padded(x, _BEFORE, _AFTER), starts + _BEFORE, _WINDOW)
    return filtered(taken, axes=(3, 4)).reshape(x.shape[0], size, -1, x.shape[-1])


def _low_pass_gradient(gradient: jax.Array, side: int) -> jax.Array:
    """Compute the gradient of the transposed convolution's result (N, side + 1, side + 1, C) from that of the patches.

    Each pixel looks up the patches that read it, where autodiff would add to pixels in memory.
    """
    n, size, _, channels = gradient.shape
    # As it is laid out: for what looks pixels up, XLA would transpose this map, and all that are computed with it.
    gradient = by_image(with_layout_constraint, Layout(major_to_minor=(0, 1, 2, 3)))(gradient)
    patches = gradient.reshape(n, size, size, PATCH, PATCH, channels)
    readers = _readers(side, size)
    parts = []
    for (rows, by_row), (columns, by_column) in itertools.product(readers, repeat=2):
        taken = _look_up(patches, rows, columns)
        parts.append(weighted(taken, *(jnp.asarray(w, accum_dtype(gradient.dtype)) for w in (by_row, by_column))))
    return functools.reduce(jnp.add, parts)


def _look_up(patches: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Take whole patches of (N, size, size, 4, 4, C): (N, rows, columns, 4, 4, C)."""
    n, _, _, height, width, channels = patches.shape
    indices = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).astype(np.int32)
    numbers = jax.lax.GatherDimensionNumbers(
        offset_dims=(0, 3, 4, 5), collapsed_slice_dims=(1, 2), start_index_map=(1, 2)
    )
    return jax.lax.gather(
        patches,
        jnp.asarray(indices),
        numbers,
        (n, 1, 1, height, width, channels),
        mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


@functools.cache
def _readers(side: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return which blocks' patches read each row (side + 1,) of a transposed convolution's result, and by what weights.

    Returns:
      As often as patches may share a row (once where blocks have eight rows, twice where they have four), a block for
      each row, and its weights (side + 1, 4) in the rows of the block's patch, all 0 where it does not read the row.
    """
    starts = patch_rows(side, size)[:, 0] - 1
    rows = np.arange(side + 1)
    last = np.searchsorted(starts, rows, side="right") - 1
    readers = []
    for back in range(-(-_WINDOW // (side // size))):
        blocks = (last - back).clip(0)
        taps = (rows - starts[blocks])[:, None] - np.arange(PATCH)
        is_read = (taps >= 0) & (taps < len(LOW_PASS)) & (last >= back)[:, None]
        readers.append((blocks, np.where(is_read, np.take(LOW_PASS, taps, mode="clip"), 0)))
    return readers


def conv_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve patches by 3x3 where the shrink reads: (N, size, size * 16, Cin) to (N, size, size * 4, Cout)."""
    n, size, _, features_in = x.shape
    # For each of the four outputs of a patch its taps, with zeros around them.
    taps = [
        jnp.pad(kernel, [(row, 1 - row), (column, 1 - column), (0, 0), (0, 0)]) for row in (0, 1) for column in (0, 1)
    ]
    weights = jnp.stack(taps, axis=3).reshape(PATCH * PATCH * features_in, -1)
    return (x.reshape(-1, PATCH * PATCH * features_in) @ weights).reshape(n, size, size * 4, -1)


def shrink_patches(x: jax.Array, side: int) -> jax.Array:
    """Shrink a map of this side, as `ops.resize.shrink`, from what it reads, (N, size, size * 4, C)."""
    n, size, _, channels = x.shape
    weights = jnp.asarray(read_weights(side, size, accum_dtype(x.dtype)))
    return weighted(x.reshape(n, size, size, 2, 2, channels), weights, weights).astype(x.dtype)

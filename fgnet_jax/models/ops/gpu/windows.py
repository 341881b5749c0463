"""Windows of a map, one for each block, and weighted sums over them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.bilinear import bilinear_matrix
from fgnet_jax.models.ops.dtypes import accum_dtype, to_accum_dtype


def windows(x: jax.Array, starts: np.ndarray, size: int) -> jax.Array:
    """Take square windows of (N, H, W, C): (N, blocks, blocks, size, size, C).

    XLA looks each pixel up inside the kernel that uses it: the result itself is not written.

    Args:
      x: The map.
      starts: First row of each block's window, and first column (blocks,). Every window lies on the map.
      size: Rows and columns of a window.
    """
    corners = np.stack(np.meshgrid(starts, starts, indexing="ij"), axis=-1).astype(np.int32)
    numbers = jax.lax.GatherDimensionNumbers(offset_dims=(0, 3, 4, 5), collapsed_slice_dims=(), start_index_map=(1, 2))
    return jax.lax.gather(
        x,
        jnp.asarray(corners),
        numbers,
        (x.shape[0], size, size, x.shape[-1]),
        mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


def weighted(x: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Sum windows (N, H, W, h, w, C) to (N, H, W, C) by weights (H, h) of their rows and (W, w) of their columns."""
    parts = [
        to_accum_dtype(x[:, :, :, i, j]) * (rows[:, None, i, None] * columns[None, :, j, None])
        for i, j in itertools.product(range(x.shape[3]), range(x.shape[4]))
    ]
    return functools.reduce(jnp.add, parts)


def shrink(x: jax.Array, size: int) -> jax.Array:
    """Shrink (N, H, H, C) to (N, size, size, C), as `ops.resize.shrink`, reading only pixels that have a weight."""
    return x if x.shape[1] == size else _shrink(x, x.shape[1], size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _shrink(x: jax.Array, side: int, size: int) -> jax.Array:
    matrix = bilinear_matrix(side, size, accum_dtype(x.dtype))
    starts = (matrix > 0).argmax(1).clip(0, side - 2)
    weights = jnp.asarray(np.take_along_axis(matrix, starts[:, None] + np.arange(2), axis=1))
    return weighted(windows(x, starts, 2), weights, weights).astype(x.dtype)


def _forward(x: jax.Array, side: int, size: int) -> tuple[jax.Array, None]:
    return _shrink(x, side, size), None


def _backward(side: int, size: int, residuals: None, gradient: jax.Array) -> tuple[jax.Array]:
    """Give each pixel its block's gradient times its weight, where autodiff would scatter."""
    del residuals
    n, _, _, channels = gradient.shape
    matrix = bilinear_matrix(side, size, accum_dtype(gradient.dtype)).reshape(size, size, -1)
    own_block = jnp.asarray(matrix[np.arange(size), np.arange(size)])  # (size, side / size)
    weights = own_block[:, :, None, None, None] * own_block[:, :, None]
    spread = to_accum_dtype(gradient)[:, :, None, :, None] * weights
    return (spread.reshape(n, side, side, channels).astype(gradient.dtype),)


_shrink.defvjp(_forward, _backward)

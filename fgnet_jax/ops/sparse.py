"""The last resolution computed only where the shrink after it reads.

An align-corners shrink reads two rows and two columns of every block of pixels. A 3x3 convolution before it is wanted
there alone, and its own input one row further on either side: four rows and columns a block, its *patch*. Patches lie
side by side in a map of 4 * size rows, which an ordinary convolution takes; of its result, the inner two rows of each
patch mean something, and the shrink has weight zero for the others. Exact, forwards and backwards.
"""

import dataclasses
import functools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.ops.filters import LOW_PASS, conv_phase
from fgnet_jax.ops.resize import bilinear_matrix, weigh_blocks

PATCH = 4
"""Rows and columns of a patch."""


@functools.cache
def patch_rows(side: int, size: int) -> np.ndarray:
    """(4 * size,) the rows of a map of this side that patches consist of; at the ends, some lie outside."""
    first_read = (bilinear_matrix(side, size) > 0).argmax(1)
    return (first_read[:, None] + np.arange(-1, PATCH - 1)).ravel()


def patches(x: jax.Array, size: int) -> jax.Array:
    """The patches of a map (side, side), repeating its border where they lie outside: (4 * size, 4 * size)."""
    rows = patch_rows(x.shape[0], size)
    return jnp.take(jnp.take(x, rows, axis=0, mode="clip"), rows, axis=1, mode="clip")


def inside(side: int, size: int) -> np.ndarray:
    """(1, 4 * size, 4 * size, 1) float32: 1 where a patch lies on the map, 0 outside, where convolutions see zeros."""
    rows = patch_rows(side, size)
    on = ((rows >= 0) & (rows < side)).astype(np.float32)
    return (on[:, None] * on)[None, :, :, None]


def shrink_patches(x: jax.Array, side: int) -> jax.Array:
    """`ops.resize.shrink` of a map of this side, from its patches: (N, 4 * size, 4 * size, C) to (N, size, size, C)."""
    size = x.shape[1] // PATCH
    rows = patch_rows(side, size).reshape(size, PATCH)
    weights = np.take_along_axis(bilinear_matrix(side, size), rows.clip(0, side - 1), axis=1)
    return weigh_blocks(x, np.where((rows >= 0) & (rows < side), weights, 0))


def upsample_conv_patches(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Patches of `ops.filters.upsample_conv`: (N, H, W, Cin) and (3, 3, Cin, Cout) to (N, 4 * size, 4 * size, Cout).

    The convolutions are needed nearly everywhere; their low-pass only at the patches. Zero outside the picture.
    """
    bands = _low_pass_bands(x.shape[1], size)
    by_column = []
    for column in (0, 1):
        even, odd = (_mixed(conv_phase(x, kernel, row, column), bands[row], 1) for row in (0, 1))
        by_column.append(_mixed(even + odd, bands[column], 2))
    return by_column[0] + by_column[1]


@dataclasses.dataclass(frozen=True, eq=False)
class _Band:
    """A constant matrix of few entries a row and column, as gathers: rows and weights of each term, both ways."""

    terms: tuple[tuple[np.ndarray, np.ndarray], ...]
    transposed_terms: tuple[tuple[np.ndarray, np.ndarray], ...]


@functools.cache
def _low_pass_bands(side: int, size: int) -> tuple[_Band, _Band]:
    # Output row p is the sum of LOW_PASS[j] times sample p - 1 + j of the transposed convolution, whose samples
    # 0 to 2 * side are alternately one of its even and one of its odd phase.
    rows = patch_rows(2 * side, size)
    matrix = np.zeros((len(rows), 2 * side + 1), np.float32)
    for tap, weight in enumerate(LOW_PASS):
        sample = rows - 1 + tap
        kept = (sample >= 0) & (sample <= 2 * side) & (rows >= 0) & (rows < 2 * side)
        matrix[np.flatnonzero(kept), sample[kept]] = weight
    even, odd = matrix[:, ::2], matrix[:, 1::2]
    return _Band(_terms(even), _terms(even.T)), _Band(_terms(odd), _terms(odd.T))


def _terms(matrix: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Entries of each row, the k-th of every row in the k-th term; weight zero where a row has fewer."""
    order = np.argsort(matrix == 0, axis=1, kind="stable")
    count = (matrix != 0).sum(1).max()
    return tuple((order[:, k], np.take_along_axis(matrix, order[:, k : k + 1], axis=1)[:, 0]) for k in range(count))


def _mixed(x: jax.Array, band: _Band, axis: int) -> jax.Array:
    """The band's matrix times x along one axis. Its gradient gathers as well: JAX would scatter, one by one."""
    return cast(jax.Array, _mix(x, band, axis))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _mix(x: jax.Array, band: _Band, axis: int) -> jax.Array:
    return _weighted_sum(x, band.terms, axis)


def _weighted_sum(x: jax.Array, terms: tuple[tuple[np.ndarray, np.ndarray], ...], axis: int) -> jax.Array:
    def add(total: jax.Array, term: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        rows, weights = term
        weights = jnp.expand_dims(weights.astype(x.dtype), [other for other in range(x.ndim) if other != axis])
        return total + jnp.take(x, rows, axis=axis, mode="clip") * weights, None

    rows, weights = (np.stack(column) for column in zip(*terms, strict=True))
    total = jnp.zeros((*x.shape[:axis], rows.shape[1], *x.shape[axis + 1 :]), x.dtype)
    terms_in_turn = jnp.asarray(rows), jnp.asarray(weights)
    return jax.lax.scan(add, total, terms_in_turn)[0]  # a loop: XLA would keep every term, each as large as the map


def _mix_forward(x, band, axis):
    return _mix(x, band, axis), None


def _mix_backward(band, axis, residuals, gradient):
    del residuals
    return (_weighted_sum(gradient, band.transposed_terms, axis),)


_mix.defvjp(_mix_forward, _mix_backward)

"""The last resolution computed only where the shrink after it reads.

An align-corners shrink reads two rows and two columns of every block of pixels. A 3x3 convolution before it is wanted
there alone, and its own input one row further on either side: four rows and columns a block, its *patch*. Exact,
forwards and backwards.

Maps of patches lie place by place, (N, 4 * 4 * size, size, C): first all that is upper left in its patch, and so on.
Where a patch lies in its block moves on by one row now and then (its *drift*), so that patches are taken out of a map
in a few runs of rows: copies, where a gather would look every pixel up.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.conv import conv
from fgnet_jax.models.ops.cpu import winograd
from fgnet_jax.models.ops.dtypes import accum_dtype
from fgnet_jax.models.ops.filters import LOW_PASS, phase_kernel
from fgnet_jax.models.ops.resize import bilinear_matrix

PATCH = 4
"""Rows and columns of a patch."""

_READ = slice(1, 3)  # of a patch, what the shrink reads


@functools.cache
def patch_rows(side: int, size: int) -> np.ndarray:
    """(size, 4) the rows of a map of this side that patches consist of; at the ends, some lie outside."""
    first_read = (bilinear_matrix(side, size) > 0).argmax(1)
    return first_read[:, None] + np.arange(-1, PATCH - 1)


def _inside(side: int, size: int) -> np.ndarray:
    """(size, 4) whether a patch's row lies on the map."""
    rows = patch_rows(side, size)
    return (rows >= 0) & (rows < side)


def patches(x: jax.Array, size: int) -> jax.Array:
    """The patches of a map (side, side), repeating its border where they lie outside: (16 * size, size)."""
    rows = patch_rows(x.shape[0], size).clip(0, x.shape[0] - 1)
    return x[rows.T[:, None, :, None], rows.T[None, :, None, :]].reshape(-1, size)


def inside(side: int, size: int) -> np.ndarray:
    """(1, 16 * size, size, 1) float32: 1 where a patch lies on the map, 0 outside, where convolutions see zeros."""
    on = _inside(side, size).T.astype(np.float32)
    return (on[:, None, :, None] * on[None, :, None, :]).reshape(1, -1, size, 1)


def read_places(x: jax.Array) -> jax.Array:
    """Of a map of patches (..., 16 * size, size), the inner places, which are read: (..., 4 * size, size)."""
    size = x.shape[-1]
    places = x.reshape(*x.shape[:-2], PATCH, PATCH, size, size)[..., _READ, _READ, :, :]
    return places.reshape(*x.shape[:-2], -1, size)


def conv_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A 3x3 convolution where the shrink reads: (N, 16 * size, size, Cin) to (N, 4 * size, size, Cout)."""
    places = jnp.split(x, PATCH**2, axis=1)
    read = winograd.of_tiles([places[row : row + PATCH] for row in range(0, PATCH**2, PATCH)], kernel)
    return jnp.concatenate([*read[0], *read[1]], axis=1)


def shrink_patches(x: jax.Array, side: int) -> jax.Array:
    """`ops.resize.shrink` of a map of this side, from what it reads: (N, 4 * size, size, C) to (N, size, size, C)."""
    size = x.shape[2]
    rows = patch_rows(side, size)[:, _READ]
    weights = np.take_along_axis(bilinear_matrix(side, size, accum_dtype(x.dtype)), rows.clip(0, side - 1), axis=1)
    upper, lower = (jnp.asarray(row, x.dtype) for row in np.where(rows < side, weights, 0).T)
    upper_left, upper_right, lower_left, lower_right = jnp.split(x, 4, axis=1)
    up = upper_left * upper[:, None] + upper_right * lower[:, None]
    low = lower_left * upper[:, None] + lower_right * lower[:, None]
    return up * upper[:, None, None] + low * lower[:, None, None]


def upsample_conv_patches(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Patches of `ops.filters.upsample_conv`: (N, H, W, Cin) and (3, 3, Cin, Cout) to (N, 16 * size, size, Cout).

    The convolutions are needed nearly everywhere; their low-pass only at the patches. Zero outside the image.
    """
    phases = _phases(x.shape[1], size)
    by_column = []
    for column in phases:
        of_rows = [_phase(x, kernel, row, column) for row in phases]
        by_column.append(jnp.stack(_low_pass(of_rows, phases, axis=1), axis=1))
    places = jnp.stack(_low_pass(by_column, phases, axis=3), axis=2)
    return places.reshape(x.shape[0], -1, size, kernel.shape[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class _Phase:
    """The even or the odd samples of a transposed convolution along one axis, as patches take them.

    Attributes:
      parity: 0 or 1.
      padding: Zeros before and after the map, so that its convolution gives the samples from the first to the last
        that is needed.
      starts: (size,) each patch's first sample, counted from the first that is needed.
      step: Samples from one block to the next, as long as there is no drift.
      weights: (4, samples, size) float32, the low-pass from a patch's samples to its rows; 0 outside the map.
    """

    parity: int
    padding: tuple[int, int]
    starts: np.ndarray
    step: int
    weights: np.ndarray


@functools.cache
def _phases(side: int, size: int) -> tuple[_Phase, _Phase]:
    """Even and odd samples of the transposed convolution of a map of this side."""
    # Row p of the output is the sum of LOW_PASS[j] times sample p - 1 + j of the transposed convolution. Its even
    # samples 2i see x[i] and x[i - 1], its odd ones 2i + 1 see x[i].
    first = patch_rows(2 * side, size)[:, 0] - 1
    on, made = _inside(2 * side, size), []
    for parity in (0, 1):
        starts = (first - parity + 1) // 2
        weights = np.zeros((PATCH, PATCH, size), np.float32)
        for row, tap, block in itertools.product(range(PATCH), range(len(LOW_PASS)), range(size)):
            sample, rest = divmod(first[block] + row + tap - parity, 2)
            if not rest and on[block, row]:
                weights[row, sample - starts[block], block] = LOW_PASS[tap]
        last = starts[-1] + PATCH - 1
        padding = (1 - parity - starts[0], last - side + 1)
        made.append(_Phase(parity, padding, starts - starts[0], side // size, weights))
    return made[0], made[1]


def _phase(x: jax.Array, kernel: jax.Array, row: _Phase, column: _Phase) -> jax.Array:
    """Samples of the transposed convolution whose rows and columns have these parities."""
    return conv(x, phase_kernel(kernel, row.parity, column.parity), (row.padding, column.padding))


def _low_pass(maps: Sequence[jax.Array], phases: tuple[_Phase, _Phase], axis: int) -> list[jax.Array]:
    """The four rows of all patches from even and odd samples along `axis`, each of length `size` there."""
    parts = [part for x, phase in zip(maps, phases, strict=True) for part in _samples(x, phase, axis)]
    weights = np.concatenate([phase.weights for phase in phases], axis=1)
    return [_weighted_sum(parts, row, axis) for row in weights]


def _weighted_sum(parts: Sequence[jax.Array], weights: np.ndarray, axis: int) -> jax.Array:
    shape = [1] * parts[0].ndim
    shape[axis] = -1
    terms = [
        part * jnp.asarray(weight.reshape(shape), part.dtype)
        for part, weight in zip(parts, weights, strict=True)
        if weight.any()
    ]
    return functools.reduce(jnp.add, terms)


def _samples(x: jax.Array, phase: _Phase, axis: int) -> list[jax.Array]:
    """The first, second, third and fourth sample of every patch along `axis`."""
    found: list[jax.Array] = []
    for first in range(0, PATCH, phase.step):  # patches whose blocks are small share samples
        run = _runs(x, phase.starts + first, phase.step, axis)
        blocks = run.reshape(*x.shape[:axis], len(phase.starts), phase.step, *x.shape[axis + 1 :])
        found += [part.squeeze(axis + 1) for part in jnp.split(blocks, phase.step, axis=axis + 1)]
    return found[:PATCH]


def _runs(x: jax.Array, starts: np.ndarray, count: int, axis: int) -> jax.Array:
    """`count` samples from each start on, one block after the other, copied in runs without a gap."""
    samples = (starts[:, None] + np.arange(count)).ravel()
    runs = np.split(samples, np.flatnonzero(np.diff(samples) > 1) + 1)
    edges = [edge for run in runs for edge in (int(run[0]), int(run[-1]) + 1)]
    return jnp.concatenate(jnp.split(x, edges, axis=axis)[1::2], axis=axis)

"""The last resolution, computed only where the shrink after it reads: exact, in values and gradients.

A shrink with aligned corners reads two rows and two columns of every block of pixels (`#` below). The 3x3 convolution
before the shrink is needed only there, and needs its own input one pixel further on every side (`o`): four rows and
four columns per block, its *patch*. From one block to the next, the patch moves within its block by less than a pixel:
every few blocks it *drifts* by one. Here are blocks 0, 3 and 6, along both axes, of a map of side 32 that is shrunk to
8. Blocks have 4x4 pixels, of which `.` are not computed; the patch of block 0 begins outside the map.

    o o o o
    o # # o .          o o o o          . . . .
    o # # o .          o # # o          . o o o o
    o o o o .          o # # o          . o # # o
      . . . .          o o o o          . o # # o
                                          o o o o

Maps of patches are laid out place by place, (N, 4 * 4 * size, size, C): first the upper left pixels of all patches, and
so on. Thanks to the slow drift, patches are copied out of a map in a few runs of rows, where a gather would look up
every pixel.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.bilinear import bilinear_matrix
from fgnet_jax.models.ops.conv import conv
from fgnet_jax.models.ops.cpu import winograd
from fgnet_jax.models.ops.dtypes import accum_dtype
from fgnet_jax.models.ops.filters import LOW_PASS, phase_kernel

PATCH = 4
"""Rows and columns of a patch."""

READ = slice(1, 3)
"""The rows and columns of a patch that the shrink reads."""


@functools.cache
def patch_rows(side: int, size: int) -> np.ndarray:
    """Return the rows (size, 4) of each block's patch in a map of this side; at the ends, some lie outside of it."""
    first_read = (bilinear_matrix(side, size) > 0).argmax(1)
    return first_read[:, None] + np.arange(-1, PATCH - 1)


def inside_rows(side: int, size: int) -> np.ndarray:
    """Return whether each row of `patch_rows` lies on the map: (size, 4)."""
    rows = patch_rows(side, size)
    return (rows >= 0) & (rows < side)


def patches(x: jax.Array, size: int) -> jax.Array:
    """Take the patches (16 * size, size) out of a map (side, side), repeating its border where they lie outside."""
    rows = patch_rows(x.shape[0], size).clip(0, x.shape[0] - 1)
    return x[rows.T[:, None, :, None], rows.T[None, :, None, :]].reshape(-1, size)


def inside(side: int, size: int) -> np.ndarray:
    """Return (1, 16 * size, size, 1) float32: 1 where a patch lies on the map, 0 outside, where convolutions read 0."""
    on = inside_rows(side, size).T.astype(np.float32)
    return (on[:, None, :, None] * on[None, :, None, :]).reshape(1, -1, size, 1)


def read_places(x: jax.Array) -> jax.Array:
    """Take what the shrink reads, (..., 4 * size, size), out of a map of patches (..., 16 * size, size)."""
    size = x.shape[-1]
    places = x.reshape(*x.shape[:-2], PATCH, PATCH, size, size)[..., READ, READ, :, :]
    return places.reshape(*x.shape[:-2], -1, size)


def conv_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve patches by 3x3 where the shrink reads: (N, 16 * size, size, Cin) to (N, 4 * size, size, Cout)."""
    places = jnp.split(x, PATCH**2, axis=1)
    upper, lower = winograd.conv_tiles([places[row : row + PATCH] for row in range(0, PATCH**2, PATCH)], kernel)
    return jnp.concatenate([*upper, *lower], axis=1)


def read_weights(side: int, size: int, dtype: np.dtype) -> np.ndarray:
    """Return the shrink's weights (size, 2) of the two rows of each block that it reads; 0 for rows outside the map."""
    rows = patch_rows(side, size)[:, READ]
    weights = np.take_along_axis(bilinear_matrix(side, size, dtype), rows.clip(0, side - 1), axis=1)
    return np.where(rows < side, weights, 0)


def shrink_patches(x: jax.Array, side: int) -> jax.Array:
    """Shrink a map of this side, as `ops.resize.shrink`, from what it reads, (N, 4 * size, size, C)."""
    weights = read_weights(side, x.shape[2], accum_dtype(x.dtype))
    first, second = (jnp.asarray(weight, x.dtype) for weight in weights.T)
    upper_left, upper_right, lower_left, lower_right = jnp.split(x, 4, axis=1)
    upper_row = upper_left * first[:, None] + upper_right * second[:, None]
    lower_row = lower_left * first[:, None] + lower_right * second[:, None]
    return upper_row * first[:, None, None] + lower_row * second[:, None, None]


def upsample_conv_patches(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Compute the patches (N, 16 * size, size, Cout) of `ops.filters.upsample_conv`, with zeros outside the map.

    The convolutions are needed nearly everywhere, their low-pass only at the patches.

    Args:
      x: (N, H, W, Cin).
      kernel: (3, 3, Cin, Cout).
      size: Side that the result is shrunk to later.
    """
    phases = _phases(x.shape[1], size)
    by_column = []
    for column in phases:
        by_row = [_conv_phase(x, kernel, row, column) for row in phases]
        by_column.append(jnp.stack(_low_pass(by_row, phases, axis=1), axis=1))
    places = jnp.stack(_low_pass(by_column, phases, axis=3), axis=2)
    return places.reshape(x.shape[0], -1, size, kernel.shape[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class _Phase:
    """The even or the odd samples of a transposed convolution along one axis, as patches need them.

    Attributes:
      parity: 0 or 1.
      padding: Zeros before and after the map, so that its convolution gives the samples from the first to the last
        that is needed.
      starts: Each patch's first sample (size,), counted from the first that is needed.
      step: Samples from one block to the next, without drift.
      weights: The low-pass from a patch's samples to its rows, (4, samples, size) float32; 0 outside the map.
    """

    parity: int
    padding: tuple[int, int]
    starts: np.ndarray
    step: int
    weights: np.ndarray


@functools.cache
def _phases(side: int, size: int) -> tuple[_Phase, _Phase]:
    """Describe even and odd samples of the transposed convolution of a map of this side."""
    # Row p of the output is the sum of LOW_PASS[j] times sample p - 1 + j of the transposed convolution. Its even
    # samples 2i read x[i] and x[i - 1], its odd ones 2i + 1 read x[i].
    first = patch_rows(2 * side, size)[:, 0] - 1
    is_inside, phases = inside_rows(2 * side, size), []
    for parity in (0, 1):
        starts = (first - parity + 1) // 2
        weights = np.zeros((PATCH, PATCH, size), np.float32)
        for row, tap, block in itertools.product(range(PATCH), range(len(LOW_PASS)), range(size)):
            sample, rest = divmod(first[block] + row + tap - parity, 2)
            if not rest and is_inside[block, row]:
                weights[row, sample - starts[block], block] = LOW_PASS[tap]
        last = starts[-1] + PATCH - 1
        padding = (1 - parity - starts[0], last - side + 1)
        phases.append(
            _Phase(parity=parity, padding=padding, starts=starts - starts[0], step=side // size, weights=weights)
        )
    return phases[0], phases[1]


def _conv_phase(x: jax.Array, kernel: jax.Array, row: _Phase, column: _Phase) -> jax.Array:
    """Compute the samples of the transposed convolution whose rows and columns have these parities."""
    return conv(x, phase_kernel(kernel, row.parity, column.parity), (row.padding, column.padding))


def _low_pass(maps: Sequence[jax.Array], phases: tuple[_Phase, _Phase], axis: int) -> list[jax.Array]:
    """Filter even and odd samples along `axis` to the four rows of all patches, each of length `size` there."""
    parts = [part for x, phase in zip(maps, phases, strict=True) for part in _samples(x, phase, axis)]
    weights = np.concatenate([phase.weights for phase in phases], axis=1)
    return [_weighted_sum(parts, row, axis) for row in weights]


def _weighted_sum(parts: Sequence[jax.Array], weights: np.ndarray, axis: int) -> jax.Array:
    """Sum parts by weights (parts, size) along `axis`, without those whose weights are all 0."""
    shape = [1] * parts[0].ndim
    shape[axis] = -1
    terms = [
        part * jnp.asarray(weight.reshape(shape), part.dtype)
        for part, weight in zip(parts, weights, strict=True)
        if weight.any()
    ]
    return functools.reduce(jnp.add, terms)


def _samples(x: jax.Array, phase: _Phase, axis: int) -> list[jax.Array]:
    """Take the first, second, third and fourth sample of every patch along `axis`."""
    samples: list[jax.Array] = []
    for first in range(0, PATCH, phase.step):  # patches whose blocks are small share samples
        run = _runs(x, phase.starts + first, phase.step, axis)
        blocks = run.reshape(*x.shape[:axis], len(phase.starts), phase.step, *x.shape[axis + 1 :])
        samples += [part.squeeze(axis + 1) for part in jnp.split(blocks, phase.step, axis=axis + 1)]
    return samples[:PATCH]


def _runs(x: jax.Array, starts: np.ndarray, count: int, axis: int) -> jax.Array:
    """Take `count` samples from each start on, one block after the other, copied in runs without gaps."""
    samples = (starts[:, None] + np.arange(count)).ravel()
    runs = np.split(samples, np.flatnonzero(np.diff(samples) > 1) + 1)
    edges = [edge for run in runs for edge in (int(run[0]), int(run[-1]) + 1)]
    return jnp.concatenate(jnp.split(x, edges, axis=axis)[1::2], axis=axis)

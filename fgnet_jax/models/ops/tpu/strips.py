"""The last resolution where the shrink after it reads, as strided convolutions of maps with full lanes.

A TPU lays channels out in lanes, 128 at a time: a map of 32 channels takes up the memory of 128. So pixels go side by
side into channels, and convolutions read and write them there:

- *strips*, (N, positions, W, 4 * 2 * C): the four rows of each block's patch (`fgnet_jax.models.ops.patches`), and all
  columns, two by two;
- *read pixels*, (N, positions, positions, 2 * 2 * C): two rows and two columns of each block, which the shrink reads.

Patches drift within their blocks, and begin at an even or at an odd row. *Runs* of blocks where neither changes are
copied out of the map one after the other, those of even rows first, and two strided convolutions read them there. Where
one run ends and the next begins, a convolution also gives blocks that are none; they are left out in the end.
"""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.direct import Padding
from fgnet_jax.models.ops.dtypes import accum_dtype
from fgnet_jax.models.ops.filters import LOW_PASS
from fgnet_jax.models.ops.patches import PATCH, READ, inside_rows, patch_rows, read_weights
from fgnet_jax.models.ops.reductions import scale

PAIR = 2
"""Rows or columns of a map that one row or column before upsampling becomes."""


@dataclasses.dataclass(frozen=True)
class _Run:
    """Blocks one after the other whose patches begin at the same place in them, along one axis.

    Attributes:
      parity: Whether the patches begin at an even (0) or an odd (1) row.
      pair: The pair of rows in which the first patch begins.
      blocks: The blocks' numbers.
    """

    parity: int
    pair: int
    blocks: tuple[int, ...]


@functools.cache
def _runs(side: int, size: int) -> tuple[_Run, ...]:
    """Return the runs of a map of this side that is shrunk to `size`."""
    pairs, parities = np.divmod(patch_rows(side, size)[:, 0], PAIR)
    drift = pairs - _step(side, size) * np.arange(size)
    ends = np.flatnonzero((np.diff(drift) != 0) | (np.diff(parities) != 0)) + 1
    runs = np.split(np.arange(size), ends)
    return tuple(_Run(int(parities[run[0]]), int(pairs[run[0]]), tuple(run.tolist())) for run in runs)


def _step(side: int, size: int) -> int:
    """Return the pairs of rows from one block to the next."""
    return side // size // PAIR


def _surplus(step: int, read: int) -> int:
    """Return the blocks that are none between two runs, where a convolution reads `read` pairs for each block."""
    return max(0, -((step - read) // step))


@functools.cache
def _positions(side: int, size: int, read: int) -> np.ndarray:
    """Return the block's number at each position of strips (or columns of read pixels), -1 where there is none.

    Args:
      side: Side of the map.
      size: Side that it is shrunk to.
      read: Pairs that a convolution reads for a patch that begins at an even row; one more at an odd row.
    """
    positions = []
    for parity in (0, 1):
        surplus = _surplus(_step(side, size), read + parity)
        of_kind = [number for run in _of_parity(side, size, parity) for number in (*run.blocks, *[-1] * surplus)]
        positions += of_kind[: len(of_kind) - surplus]
    return np.array(positions)


def _of_parity(side: int, size: int, parity: int) -> list[_Run]:
    """Return the runs whose patches begin at rows of this parity."""
    return [run for run in _runs(side, size) if run.parity == parity]


_ROWS_READ = PATCH // PAIR + 2
"""Pairs of rows that the upsampling convolution reads for a patch that begins at an even row: those around it, too."""

_COLUMNS_READ = PATCH // PAIR
"""Pairs of columns that the second convolution reads for it."""


def upsample_conv_strips(x: jax.Array, style: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Scale a map's channels, and compute the strips (N, positions, W, 4 * 2 * Cout) of `ops.filters.upsample_conv`.

    Rows outside the map have no meaning: `inside` has zeros there.

    Args:
      x: (N, H, W, Cin).
      style: Factors (N, Cin). What is copied is scaled, where it is read: a map scaled before would be written, too.
      kernel: (3, 3, Cin, Cout), float32 at least.
      size: Side that the result is shrunk to later.
    """
    side, parts = 2 * x.shape[1], []
    for parity in (0, 1):
        rows = _upsampling(PATCH, parity)
        wide = _wide_kernel(kernel, rows, _upsampling(PAIR, 0)).astype(x.dtype)
        read = _copied(x, _of_parity(side, size, parity), _step(side, size), before=1, read=rows.shape[1], axis=1)
        parts.append(_conv(scale(read, style), wide, (_step(side, size), 1), ((0, 0), (1, 1))))
    return jnp.concatenate(parts, axis=1)


def conv_strips(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Convolve strips by 3x3 where the shrink reads.

    Args:
      x: Strips (N, positions, W, 4 * 2 * Cin).
      kernel: (3, 3, Cin, Cout), float32 at least.
      size: Side that the map is shrunk to.

    Returns:
      Read pixels (N, positions, positions, 2 * 2 * Cout).
    """
    side, parts = PAIR * x.shape[2], []
    for parity in (0, 1):
        columns = _reading(_COLUMNS_READ + parity, PAIR, parity)
        wide = _wide_kernel(kernel, _reading(1, PATCH, 0), columns).astype(x.dtype)
        runs, read = _of_parity(side, size, parity), columns.shape[1]
        part = _copied(x, runs, _step(side, size), before=0, read=read, axis=2)
        parts.append(_conv(part, wide, (1, _step(side, size)), ((0, 0), (0, 0))))
    return jnp.concatenate(parts, axis=2)


def _copied(x: jax.Array, runs: list[_Run], step: int, *, before: int, read: int, axis: int) -> jax.Array:
    """Copy the pairs of all runs out of a map one after the other, with zeros where they lie outside of it.

    Args:
      x: (N, H, W, C).
      runs: Runs of one parity.
      step: Pairs from one block to the next.
      before: Pairs that a convolution reads before the one in which a patch begins.
      read: Pairs that it reads.
      axis: 1 for rows, 2 for columns.
    """
    parts = []
    for run in runs:
        start, length = run.pair - before, step * (len(run.blocks) + _surplus(step, read))
        first, last = max(start, 0), min(start + length, x.shape[axis])
        sides = [(0, 0)] * x.ndim
        sides[axis] = (first - start, start + length - last)
        parts.append(jnp.pad(jax.lax.slice_in_dim(x, first, last, axis=axis), sides))
    return jnp.concatenate(parts, axis=axis)


def shrink_read(x: jax.Array, side: int, size: int) -> jax.Array:
    """Shrink a map of this side to `size`, as `ops.resize.shrink`, from the pixels that it reads."""
    weights = read_weights(side, size, accum_dtype(x.dtype)).astype(x.dtype)
    row_weights, column_weights = (weights[_positions(side, size, read)] for read in (_ROWS_READ, _COLUMNS_READ))
    parts = jnp.split(x, 4, axis=3)
    by_pixel = (
        row_weights[:, None, None, row] * column_weights[None, :, None, column] for row in (0, 1) for column in (0, 1)
    )
    x = functools.reduce(jnp.add, (part * weight for part, weight in zip(parts, by_pixel, strict=True)))
    for axis, read in ((1, _ROWS_READ), (2, _COLUMNS_READ)):
        x = _in_order(x, _positions(side, size, read), axis)
    return x


def _in_order(x: jax.Array, positions: np.ndarray, axis: int) -> jax.Array:
    """Put blocks in the order of their numbers, and leave out those that are none."""
    ends = np.flatnonzero((np.diff(positions) != 1) | (positions[:-1] < 0)) + 1
    starts = [int(start) for start in (0, *ends)]
    runs = sorted((int(run[0]), start, len(run)) for start, run in zip(starts, np.split(positions, ends), strict=True))
    parts = [jax.lax.slice_in_dim(x, start, start + count, axis=axis) for number, start, count in runs if number >= 0]
    return jnp.concatenate(parts, axis=axis)


def strips(x: jax.Array, size: int, channels: int) -> jax.Array:
    """Take the strips (1, positions, W, 4 * 2 * channels) of a map (side, side), the same for all channels."""
    side = x.shape[0]
    rows = patch_rows(side, size)[_positions(side, size, _ROWS_READ)].clip(0, side - 1)
    return _repeated(x[rows].reshape(*rows.shape, -1, PAIR).swapaxes(1, 2), channels)


def read_pixels(x: jax.Array, size: int, channels: int) -> jax.Array:
    """Take the read pixels (1, positions, positions, 2 * 2 * channels) of a map (side, side), as `strips`."""
    side = x.shape[0]
    rows, columns = (
        patch_rows(side, size)[_positions(side, size, read), READ].clip(0, side - 1)
        for read in (_ROWS_READ, _COLUMNS_READ)
    )
    return _repeated(x[rows[:, None, :, None], columns[None, :, None, :]], channels)


def inside(side: int, size: int, channels: int) -> np.ndarray:
    """Return (1, positions, 1, 4 * 2 * channels): whether a strip's row lies on a map of this side."""
    rows = inside_rows(side, size)[_positions(side, size, _ROWS_READ)]
    return np.repeat(rows, PAIR * channels, axis=1)[None, :, None]


def side_by_side(values: jax.Array, width: int) -> jax.Array:
    """Repeat factors or summands (..., C) for all pixels that lie in `width` channels: (..., width)."""
    return jnp.tile(values, (1,) * (values.ndim - 1) + (width // values.shape[-1],))


def _repeated(x: jax.Array, channels: int) -> jax.Array:
    """Repeat (H, W, rows, columns) for channels: (1, H, W, rows * columns * channels)."""
    return jnp.repeat(x.reshape(1, *x.shape[:2], -1), channels, axis=-1)


@functools.cache
def _upsampling(count: int, parity: int) -> np.ndarray:
    """Describe rows of an upsampling convolution along one axis.

    Args:
      count: Rows, an even number.
      parity: 0 if the first one is row 2i, 1 if it is row 2i + 1.

    Returns:
      (count, pixels, 1, 3) float32: the factor that each row has for pixel i - 1, i, ... with each tap of the kernel.
    """
    factors = np.zeros((count, count // 2 + 2 + parity, 1, 3), np.float32)
    for row, tap in itertools.product(range(count), range(len(LOW_PASS))):
        # The sample of the transposed convolution, counted from 2i: row 2i of it is x[i] k[0] + x[i-1] k[2], row 2i + 1
        # is x[i] k[1].
        pixel, is_odd = divmod(parity + row - 1 + tap, 2)
        for before, of_kernel in [(0, 1)] if is_odd else [(0, 0), (1, 2)]:
            factors[row, pixel + 1 - before, 0, of_kernel] += LOW_PASS[tap]
    return factors


@functools.cache
def _reading(steps: int, places: int, first: int) -> np.ndarray:
    """Describe the two rows that a 3x3 convolution gives of those that lie side by side, along one axis.

    Args:
      steps: Positions that the convolution reads.
      places: Rows side by side at each position.
      first: First row that is read.

    Returns:
      (2, steps, places, 3) float32: 1 where a row reads a place with a tap of the kernel.
    """
    factors = np.zeros((2, steps * places, 3), np.float32)
    for row, tap in itertools.product(range(2), range(3)):
        factors[row, first + row + tap, tap] = 1
    return factors.reshape(2, steps, places, 3)


def _wide_kernel(kernel: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Build the kernel of a convolution whose input and output have pixels side by side.

    Args:
      kernel: (3, 3, Cin, Cout).
      rows: (rows of the output, positions, rows of the input side by side, 3), factors of the kernel's rows.
      columns: The same for columns.

    Returns:
      (positions, positions, rows * columns * Cin, rows * columns * Cout).
    """
    factors = (jnp.asarray(each, kernel.dtype) for each in (rows, columns))
    wide = jnp.einsum("aypk,bxql,klio->yxpqiabo", *factors, kernel, precision="highest")
    return wide.reshape(*wide.shape[:2], math.prod(wide.shape[2:5]), -1)


def _conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: Padding) -> jax.Array:
    """Convolve (N, H, W, Cin) with (kh, kw, Cin, Cout)."""
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

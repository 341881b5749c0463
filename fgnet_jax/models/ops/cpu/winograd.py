"""3x3 convolutions with 16 multiplications where four outputs side by side take 36: Winograd's F(2x2, 3x3).

Four rows of the input and the four taps' combinations that meet them are multiplied one by one; sums and differences
of the products are two rows of the output. The same for columns. The combinations are exact in float32 but for one
rounding each, so that the result is a direct convolution's to within a few roundings.
(Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.1.)
"""

import math

import jax
import jax.numpy as jnp

TILE = 4
"""Rows and columns of the input that two rows and columns of the output see."""

WHOLE = 1 << 21
"""Values of a map up to which all of it is worked through at once."""

_STRIP = 1 << 19
"""Values of a strip of rows of a larger one: its tiles and products nearly fit into a cache."""


def conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves a map of even sides, padded by one, with (3, 3, Cin, Cout): (N, H, W, Cin) to (N, H, W, Cout)."""
    n, height, width, features_in = x.shape
    kernels, rows = _transformed(kernel), height if values(x) <= WHOLE else _rows(x)
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    if rows == height:
        return _strip(x, kernels)

    def strip(index: jax.Array) -> jax.Array:
        seen = jax.lax.dynamic_slice(x, (0, index * rows, 0, 0), (n, rows + 2, width + 2, features_in))
        return _strip(seen, kernels)

    return jnp.moveaxis(jax.lax.map(strip, jnp.arange(height // rows)), 0, 1).reshape(n, height, width, -1)


def values(x: jax.Array) -> int:
    """How many a map has; of one image where their number is left open, as it is in an exported program."""
    return math.prod(side for side in x.shape if isinstance(side, int))


def _rows(x: jax.Array) -> int:
    """A strip's: a power of two, and a divisor of the map's."""
    fitting = max(2, _STRIP * x.shape[1] // values(x))
    return math.gcd(x.shape[1], 1 << (fitting.bit_length() - 1))


def _strip(x: jax.Array, kernels: list[list[jax.Array]]) -> jax.Array:
    """The convolution of what is padded already, by a kernel that is transformed already."""
    n, height, width, _ = (side - extra for side, extra in zip(x.shape, (0, 2, 2, 0), strict=True))
    tiles = [
        [x[:, row : row + height : 2, column : column + width : 2] for column in range(TILE)] for row in range(TILE)
    ]
    rows = [jnp.stack(row, axis=3) for row in _of_tiles(tiles, kernels)]
    return jnp.stack(rows, axis=2).reshape(n, height, width, -1)


def of_tiles(tiles: list[list[jax.Array]], kernel: jax.Array) -> list[list[jax.Array]]:
    """Convolves tiles of 4x4 places with (3, 3, Cin, Cout), without padding.

    Args:
      tiles: Four rows of four columns: each (N, rows, columns, Cin) of one place in every tile.
      kernel: Taps.

    Returns:
      The inner two rows of two columns, each (N, rows, columns, Cout).
    """
    return _of_tiles(tiles, _transformed(kernel))


def _of_tiles(tiles: list[list[jax.Array]], kernels: list[list[jax.Array]]) -> list[list[jax.Array]]:
    by_row = zip(*(_seen(list(column)) for column in zip(*tiles, strict=True)), strict=True)
    seen = [_seen(list(row)) for row in by_row]
    # Sixteen products: one batched would have all that is seen copied side by side first, a fifth of the time.
    products = [[s @ k for s, k in zip(*rows, strict=True)] for rows in zip(seen, kernels, strict=True)]
    by_column = [_summed(list(column)) for column in zip(*products, strict=True)]
    return [_summed(list(row)) for row in zip(*by_column, strict=True)]


def _transformed(kernel: jax.Array) -> list[list[jax.Array]]:
    """Combinations of taps, four rows of four columns, each (Cin, Cout)."""
    # Sums of slices: as a product, which XLA transposes, a wide kernel's took a third of its whole convolution.
    by_row = _combined([kernel[row] for row in range(3)])
    return [_combined([row[column] for column in range(3)]) for row in by_row]


def _combined(g: list[jax.Array]) -> list[jax.Array]:
    """Combinations of three taps."""
    outer, inner = 0.5 * (g[0] + g[2]), 0.5 * g[1]
    return [g[0], outer + inner, outer - inner, g[2]]


def _seen(d: list[jax.Array]) -> list[jax.Array]:
    """What each combination of taps meets."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _summed(m: list[jax.Array]) -> list[jax.Array]:
    """Two outputs from four products."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]

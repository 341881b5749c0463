"""3x3 convolutions with 16 multiplications where four outputs side by side take 36: Winograd's F(2x2, 3x3).

Along each axis, four combinations of four input rows are multiplied by four combinations of the three taps; sums and
differences of the products are two output rows. The combinations are exact in float32 but for one rounding each, so the
result differs from a direct convolution's by a few roundings.
(Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.1.)
"""

import math

import jax
import jax.numpy as jnp

TILE = 4
"""Rows and columns of the input that two rows and columns of the output depend on."""

MAX_UNSPLIT = 1 << 21
"""Number of values up to which a map is processed at once, not in strips of rows."""

_STRIP = 1 << 19
"""Number of values of a strip of rows of a larger map: its tiles and products nearly fit into a cache."""


def conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve a map of even sides, padded by one, with (3, 3, Cin, Cout): (N, H, W, Cin) to (N, H, W, Cout)."""
    n, height, width, features_in = x.shape
    kernels = _transform_kernel(kernel)
    rows = height if values(x) <= MAX_UNSPLIT else _rows_per_strip(x)
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    if rows == height:
        return _conv_padded(x, kernels)

    def conv_strip(index: jax.Array) -> jax.Array:
        strip = jax.lax.dynamic_slice(x, (0, index * rows, 0, 0), (n, rows + 2, width + 2, features_in))
        return _conv_padded(strip, kernels)

    return jnp.moveaxis(jax.lax.map(conv_strip, jnp.arange(height // rows)), 0, 1).reshape(n, height, width, -1)


def values(x: jax.Array) -> int:
    """Count the values of a map; of one image if the batch size is symbolic, as in an exported program."""
    return math.prod(side for side in x.shape if isinstance(side, int))


def _rows_per_strip(x: jax.Array) -> int:
    """Return the rows of a strip: a power of two that divides the map's rows."""
    fitting = max(2, _STRIP * x.shape[1] // values(x))
    return math.gcd(x.shape[1], 1 << (fitting.bit_length() - 1))


def _conv_padded(x: jax.Array, kernels: list[list[jax.Array]]) -> jax.Array:
    """Convolve a map that is already padded with a kernel that is already transformed."""
    n, height, width, _ = (side - extra for side, extra in zip(x.shape, (0, 2, 2, 0), strict=True))
    tiles = [
        [x[:, row : row + height : 2, column : column + width : 2] for column in range(TILE)] for row in range(TILE)
    ]
    rows = [jnp.stack(row, axis=3) for row in _conv_tiles(tiles, kernels)]
    return jnp.stack(rows, axis=2).reshape(n, height, width, -1)


def conv_tiles(tiles: list[list[jax.Array]], kernel: jax.Array) -> list[list[jax.Array]]:
    """Convolve tiles of 4x4 pixels with (3, 3, Cin, Cout), without padding.

    Args:
      tiles: Four rows of four arrays, each (N, rows, columns, Cin): the pixels at one place in all tiles.
      kernel: Taps.

    Returns:
      Two rows of two arrays, each (N, rows, columns, Cout): the outputs at a tile's inner four places.
    """
    return _conv_tiles(tiles, _transform_kernel(kernel))


def _conv_tiles(tiles: list[list[jax.Array]], kernels: list[list[jax.Array]]) -> list[list[jax.Array]]:
    by_row = zip(*(_combine_input(list(column)) for column in zip(*tiles, strict=True)), strict=True)
    inputs = [_combine_input(list(row)) for row in by_row]
    # Sixteen products: a batched one would first copy all inputs side by side, which takes a fifth of the time.
    products = [[x @ k for x, k in zip(*rows, strict=True)] for rows in zip(inputs, kernels, strict=True)]
    by_column = [_combine_products(list(column)) for column in zip(*products, strict=True)]
    return [_combine_products(list(row)) for row in zip(*by_column, strict=True)]


def _transform_kernel(kernel: jax.Array) -> list[list[jax.Array]]:
    """Compute combinations of taps, four rows of four, each (Cin, Cout)."""
    # Sums of slices: as a matrix product, which XLA transposes, it took a third of a wide kernel's convolution.
    by_row = _combine_taps([kernel[row] for row in range(3)])
    return [_combine_taps([row[column] for column in range(3)]) for row in by_row]


def _combine_taps(g: list[jax.Array]) -> list[jax.Array]:
    """Compute the four combinations of three taps."""
    outer, inner = 0.5 * (g[0] + g[2]), 0.5 * g[1]
    return [g[0], outer + inner, outer - inner, g[2]]


def _combine_input(d: list[jax.Array]) -> list[jax.Array]:
    """Compute the four combinations of four inputs that the combinations of taps are multiplied by."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _combine_products(m: list[jax.Array]) -> list[jax.Array]:
    """Compute two outputs from four products."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]

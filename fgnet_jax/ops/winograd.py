"""3x3 convolutions with 16 multiplications where four outputs side by side take 36: Winograd's F(2x2, 3x3).

Four rows of the input and the four taps' combinations that meet them are multiplied one by one; sums and differences
of the products are two rows of the output. The same for columns. The combinations are exact in float32 but for one
rounding each, so that the result is a direct convolution's to within a few roundings.
(Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.1.)
"""

import jax
import jax.numpy as jnp

TILE = 4
"""Rows and columns of the input that two rows and columns of the output see."""

_ROWS = 8
"""Rows of the output that are worked through at once: their tiles and products nearly fit into a cache."""


def conv3x3(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves a map of even sides, padded by one, with (3, 3, Cin, Cout): (N, H, W, Cin) to (N, H, W, Cout)."""
    n, height, width, features_in = x.shape
    kernels, strips = _transformed(kernel), height // _ROWS
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    if strips < 2 or height % _ROWS:
        return _strip(x, kernels)

    def strip(index: jax.Array) -> jax.Array:
        seen = jax.lax.dynamic_slice(x, (0, index * _ROWS, 0, 0), (n, _ROWS + 2, width + 2, features_in))
        return _strip(seen, kernels)

    return jnp.moveaxis(jax.lax.map(strip, jnp.arange(strips)), 0, 1).reshape(n, height, width, -1)


def _strip(x: jax.Array, kernels: jax.Array) -> jax.Array:
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


def _of_tiles(tiles: list[list[jax.Array]], kernels: jax.Array) -> list[list[jax.Array]]:
    n, rows, columns, features = tiles[0][0].shape
    by_row = list(zip(*(_seen(list(column)) for column in zip(*tiles, strict=True)), strict=True))
    seen = [part.reshape(n, 1, rows * columns, features) for row in by_row for part in _seen(list(row))]
    # One batched product, whose operands and result lie in memory as they are.
    products = jnp.concatenate(seen, 1) @ jnp.broadcast_to(kernels, (n, *kernels.shape))
    parts = [part.reshape(n, rows, columns, -1) for part in jnp.split(products, TILE**2, axis=1)]
    by_column = [_summed([parts[TILE * row + column] for row in range(TILE)]) for column in range(TILE)]
    return [_summed(list(row)) for row in zip(*by_column, strict=True)]


def _transformed(kernel: jax.Array) -> jax.Array:
    """Combinations of taps, rows and columns: (16, Cin, Cout)."""
    # Sums of slices: as a product, which XLA transposes, a wide kernel's took a third of its whole convolution.
    by_row = _combined([kernel[row] for row in range(3)])
    return jnp.stack([taps for row in by_row for taps in _combined([row[column] for column in range(3)])])


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

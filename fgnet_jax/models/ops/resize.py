"""Bilinear resizing with aligned corners (PyTorch's `align_corners=True`), which `jax.image.resize` does not offer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops import platforms, switches
from fgnet_jax.models.ops.bilinear import bilinear_matrix
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.dtypes import accum_dtype
from fgnet_jax.models.ops.gpu import mixing


def upsample(x: jax.Array, size: int) -> jax.Array:
    """Enlarge (N, H, W, C) to (N, size, size, C): two products with constant matrices, one per axis."""
    rows = jnp.asarray(bilinear_matrix(x.shape[1], size, accum_dtype(x.dtype)), x.dtype)
    columns = jnp.asarray(bilinear_matrix(x.shape[2], size, accum_dtype(x.dtype)), x.dtype)
    return jnp.einsum("ph,qw,nhwc->npqc", rows, columns, x)


def upsample_conv2d(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Upsample, then convolve with an odd square kernel padded by its half: (N, H, W, Cin) to (N, size, size, Cout).

    Both are linear, so the channels are mixed first, on the small map, once for each tap of the kernel (k, k, Cin,
    Cout); each row and column of the result is then a weighted sum of these. At twice the side and k = 5 that takes a
    third of the multiplications, all of them in matrix products.
    """
    if not switches.is_on("mix"):
        return conv2d(upsample(x, size), kernel)
    if platforms.current() == "gpu" and size == 2 * x.shape[1]:
        return mixing.upsample_conv2d(x, kernel)
    return _upsample_conv2d(x, kernel, size)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _upsample_conv2d(x: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    n, height, width, features_in = x.shape
    taps, features = kernel.shape[0], kernel.shape[-1]
    # Batched products throughout, laid out in memory so that XLA transposes nothing.
    kernels = kernel.transpose(0, 2, 1, 3).reshape(taps, features_in, taps * features)
    x = jnp.broadcast_to(x.reshape(n, 1, height * width, features_in), (n, taps, height * width, features_in))
    x = (x @ jnp.broadcast_to(kernels, (n, *kernels.shape))).reshape(n, taps * height, width * taps * features)
    rows = jnp.asarray(_shifted_matrix(height, size, taps, accum_dtype(x.dtype), taps_first=True), x.dtype)
    x = (jnp.broadcast_to(rows, (n, *rows.shape)) @ x).reshape(n, size, width * taps, features)
    columns = jnp.asarray(_shifted_matrix(width, size, taps, accum_dtype(x.dtype), taps_first=False), x.dtype)
    return jnp.broadcast_to(columns, (n, size, *columns.shape)) @ x


def _upsample_forward(x: jax.Array, kernel: jax.Array, size: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _upsample_conv2d(x, kernel, size), (x, kernel)


def _upsample_backward(
    size: int, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Loop over the kernel's rows: each row of taps needs a map of `taps` times as many channels."""
    x, kernel = residuals
    n, height, width, features_in = x.shape
    taps, features = kernel.shape[0], kernel.shape[-1]
    columns = jnp.asarray(_shifted_matrix(width, size, taps, accum_dtype(x.dtype), taps_first=False).T, x.dtype)
    by_column = jnp.broadcast_to(columns, (n, size, *columns.shape)) @ gradient
    by_column = by_column.reshape(n, size, width * taps * features)
    rows = _shifted_matrix(height, size, taps, accum_dtype(x.dtype), taps_first=True)
    rows = jnp.asarray(rows.reshape(size, taps, height).transpose(1, 2, 0), x.dtype)

    def of_row(of_x: jax.Array, tap: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        weights, row = tap  # (height, size), (features_in, taps * features)
        mixed = (jnp.broadcast_to(weights, (n, *weights.shape)) @ by_column).reshape(-1, taps * features)
        return of_x + mixed @ row.T, x.reshape(-1, features_in).T @ mixed

    kernels = kernel.transpose(0, 2, 1, 3).reshape(taps, features_in, taps * features)
    start = jnp.zeros((n * height * width, features_in), x.dtype)
    of_x, of_kernels = jax.lax.scan(of_row, start, (rows, kernels))
    of_kernel = of_kernels.reshape(taps, features_in, taps, features).transpose(0, 2, 1, 3)
    return of_x.reshape(x.shape), of_kernel


_upsample_conv2d.defvjp(_upsample_forward, _upsample_backward)


@functools.cache
def _shifted_matrix(size: int, new_size: int, taps: int, dtype: np.dtype, taps_first: bool) -> np.ndarray:
    """Compute (new_size, taps * size): the weight of each sample in what each tap of a convolution reads."""
    matrix, side = bilinear_matrix(size, new_size, dtype), taps // 2
    padded = np.pad(matrix, [(side, side), (0, 0)])
    by_tap = np.stack([padded[tap : tap + new_size] for tap in range(taps)])  # (taps, new_size, size)
    return by_tap.transpose((1, 0, 2) if taps_first else (1, 2, 0)).reshape(new_size, -1)


def shrink(x: jax.Array, size: int) -> jax.Array:
    """Shrink (N, H, H, C) to (N, size, size, C), H being a multiple of `size`.

    Output pixel i reads pixel i * (H - 1) / (size - 1) and the next one: both lie in the i-th block of H / size
    pixels, so the resize is a weighted sum within each block, without a gather (nor a scatter in its gradient).

    Raises:
      ValueError: if H is not a multiple of `size`.
    """
    side = x.shape[1]
    factor, rest = divmod(side, size)
    if rest:
        raise ValueError(f"a side of {side} is not a multiple of {size}")
    if factor == 1:
        return x
    matrix = bilinear_matrix(side, size, accum_dtype(x.dtype))
    own_block = matrix.reshape(size, size, factor)[np.arange(size), np.arange(size)]
    return weigh_blocks(x, own_block)


def weigh_blocks(x: jax.Array, weights: np.ndarray) -> jax.Array:
    """Sum (N, size * factor, size * factor, C) within blocks to (N, size, size, C).

    Weights (size, factor) are those of each block's pixels, the same along rows and columns.
    """
    size, factor = weights.shape
    n, channels = x.shape[0], x.shape[-1]
    by_pixel = jnp.asarray(weights, x.dtype)
    if platforms.current() == "tpu":
        # One sum that reads the map as it lies in memory; slices would be copied.
        weighted = x.reshape(n, size, factor, size, factor, channels) * by_pixel[:, :, None, None, None]
        return (weighted * by_pixel[:, :, None]).sum((2, 4))
    # Added slice by slice: XLA's own sum over such an axis takes fifty times as long on CPUs.
    blocks = x.reshape(n, size, factor, size * factor, channels)
    rows = functools.reduce(jnp.add, (blocks[:, :, i] * by_pixel[:, i, None, None] for i in range(factor)))
    blocks = rows.reshape(n, size, size, factor, channels)
    return functools.reduce(jnp.add, (blocks[:, :, :, i] * by_pixel[:, i, None] for i in range(factor)))

"""StyleGAN2's low-pass filter [1, 3, 3, 1] and its upsampling convolution, without multiplications by zero."""

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops import switches
from fgnet_jax.models.ops.conv import conv

LOW_PASS = (0.25, 0.75, 0.75, 0.25)
"""Taps along one axis of the low-pass after upsampling; their sum is 2, since every second sample was a zero."""


def upsample_rgb(x: jax.Array) -> jax.Array:
    """Double the sides of (N, H, W, C): zeros between pixels, then the low-pass of sum 4 with padding (2, 1).

    Half the taps meet a zero, so each output is a quarter of one pixel and three quarters of its neighbour.
    Published as `upfirdn2d(up=2, pad=(2, 1))` in `ToRGB`.
    """
    for axis in (1, 2):
        before, after = _shifted(x, axis, -1), _shifted(x, axis, 1)
        x = _interleave((before + 3 * x) / 4, (3 * x + after) / 4, axis)
    return x


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Apply a stride-2 transposed 3x3 convolution and the low-pass of sum 4: (N, H, W, Cin) to (N, 2H, 2W, Cout).

    Args:
      x: (N, H, W, Cin).
      kernel: (3, 3, Cin, Cout), taps in the order of PyTorch's `conv_transpose2d`.

    The transposed convolution splits into four small ones, one per parity of row and column; the low-pass is applied
    to them before they are interleaved. Published as `conv_transpose2d(stride=2)` and `Blur(pad=(1, 1))`.
    """
    if not switches.is_on("phases"):
        return _published_upsample_conv(x, kernel)
    by_column = []
    for column in (0, 1):
        even, odd = (conv_phase(x, kernel, row, column, rim=True) for row in (0, 1))
        by_column.append(_low_pass(even, odd, axis=1))
    # The rows of either parity, each with its columns of either parity: interleaved once, at the end.
    rows = [jnp.stack(_low_pass(*pair, axis=2), axis=3) for pair in zip(*by_column, strict=True)]
    n, height, width, _ = x.shape
    return jnp.stack(rows, axis=2).reshape(n, 2 * height, 2 * width, -1)


def _published_upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Compute `upsample_conv` as published: a convolution of x with zeros inserted, and a 4x4 filter per channel."""
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=numbers
    )
    channels, taps = x.shape[-1], jnp.asarray(LOW_PASS, x.dtype)
    low_pass = jnp.broadcast_to((taps[:, None] * taps)[:, :, None, None], (4, 4, 1, channels))
    return jax.lax.conv_general_dilated(
        x, low_pass, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers, feature_group_count=channels
    )


def conv_phase(x: jax.Array, kernel: jax.Array, row: int, column: int, rim: bool = False) -> jax.Array:
    """Compute the samples of `upsample_conv`'s transposed convolution whose row and column have this parity (0 or 1).

    An even phase has one sample more than x, since both its ends see the border. With a rim, an odd phase has one more
    zero at either end.
    """
    rows, columns = (1 if rim else 1 - parity for parity in (row, column))
    return conv(x, phase_kernel(kernel, row, column), ((rows, rows), (columns, columns)))


def phase_kernel(kernel: jax.Array, row: int, column: int) -> jax.Array:
    """Return the taps of (3, 3, Cin, Cout) that samples of this parity (0 or 1) see: two if even, one if odd."""
    # Row 2i of the transposed convolution is x[i] k[0] + x[i-1] k[2], row 2i+1 is x[i] k[1].
    kernel = kernel[1:2] if row else kernel[::-2]
    return kernel[:, 1:2] if column else kernel[:, ::-2]


def _low_pass(even: jax.Array, odd: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Filter by [1, 3, 3, 1] / 4 along `axis` the samples even[0], odd[0], even[1], ..., even[H].

    Odd samples come with a rim of zeros, so that slices suffice: shifts with padding take twice as long on CPUs.

    Returns:
      The result's even and odd samples.
    """
    size = even.shape[axis] - 1
    first, last = (jax.lax.slice_in_dim(even, start, start + size, axis=axis) for start in (0, 1))
    before, centre, after = (jax.lax.slice_in_dim(odd, start, start + size, axis=axis) for start in (0, 1, 2))
    return (before + 3 * (first + centre) + last) / 4, (first + 3 * (centre + last) + after) / 4


def _shifted(x: jax.Array, axis: int, by: int) -> jax.Array:
    """Return x[i + by] along `axis`, zero outside."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (-by, by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


def _interleave(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """Join even and odd samples along `axis`."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)

"""StyleGAN2's low-pass filter [1, 3, 3, 1] and its upsampling convolution, without zeros being multiplied."""

import jax
import jax.numpy as jnp

from fgnet_jax.ops import fast
from fgnet_jax.ops.conv import conv

LOW_PASS = (0.25, 0.75, 0.75, 0.25)
"""Taps along one axis of the low-pass after upsampling: of sum 2, since every second sample was a zero."""


def upsample_rgb(x: jax.Array) -> jax.Array:
    """Doubles (N, H, W, C): zeros between pixels, then the low-pass of sum 4 with padding (2, 1).

    Half the taps meet a zero: each output is a quarter of one pixel and three quarters of its neighbour.
    Published as `upfirdn2d(up=2, pad=(2, 1))` in `ToRGB`.
    """
    for axis in (1, 2):
        before, after = _shifted(x, axis, -1), _shifted(x, axis, 1)
        x = _interleave((before + 3 * x) / 4, (3 * x + after) / 4, axis)
    return x


def upsample_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Stride-2 transposed 3x3 convolution and low-pass of sum 4: (N, H, W, Cin) to (N, 2H, 2W, Cout).

    Args:
      x: (N, H, W, Cin).
      kernel: (3, 3, Cin, Cout), taps in the order of PyTorch's `conv_transpose2d`.

    The transposed convolution splits into four small ones, one per parity of row and column; the low-pass is applied
    to them before they are interleaved. Published as `conv_transpose2d(stride=2)` and `Blur(pad=(1, 1))`.
    """
    if not fast.is_on("phases"):
        return _upsample_conv_plainly(x, kernel)
    filtered = []
    for column in (0, 1):
        even, odd = (conv_phase(x, kernel, row, column) for row in (0, 1))
        filtered.append(_low_pass(even, odd, axis=1))
    return _low_pass(filtered[0], filtered[1], axis=2)


def _upsample_conv_plainly(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """As published: the transposed convolution as one over zeros put in, the low-pass as one of 4x4 a channel."""
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=numbers
    )
    channels, taps = x.shape[-1], jnp.asarray(LOW_PASS, x.dtype)
    low_pass = jnp.broadcast_to((taps[:, None] * taps)[:, :, None, None], (4, 4, 1, channels))
    return jax.lax.conv_general_dilated(
        x, low_pass, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers, feature_group_count=channels
    )


def conv_phase(x: jax.Array, kernel: jax.Array, row: int, column: int) -> jax.Array:
    """The samples of `upsample_conv`'s transposed convolution whose row and column have this parity (0 or 1).

    An even phase has one sample more than x: both its ends see the border.
    """
    # Row 2i of the transposed convolution is x[i] k[0] + x[i-1] k[2], row 2i+1 is x[i] k[1].
    kernel = kernel[1:2] if row else kernel[::-2]
    kernel = kernel[:, 1:2] if column else kernel[:, ::-2]
    return conv(x, kernel, ((1 - row, 1 - row), (1 - column, 1 - column)))


def _low_pass(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """[1, 3, 3, 1] / 4 along `axis` over interleaved samples even[0], odd[0], even[1], ..., even[H]: 2H samples."""
    size = odd.shape[axis]
    first, last = (jax.lax.slice_in_dim(even, start, start + size, axis=axis) for start in (0, 1))
    return _interleave(
        (_shifted(odd, axis, -1) + 3 * (first + odd) + last) / 4,
        (first + 3 * (odd + last) + _shifted(odd, axis, 1)) / 4,
        axis,
    )


def _shifted(x: jax.Array, axis: int, by: int) -> jax.Array:
    """x[i + by] along `axis`, zero outside."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (-by, by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


def _interleave(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis=axis + 1).reshape(shape)

"""StyleGAN2's upsampling convolution in two kernels: cuDNN's transposed convolution, and one pass for the low-pass."""

import functools
import itertools

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.filters import LOW_PASS
from fgnet_jax.models.ops.gpu.styling import Filter


@jax.custom_vjp
def transposed_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Apply a transposed 3x3 convolution of stride 2: (N, H, W, Cin) to (N, 2H + 1, 2W + 1, Cout).

    Written as XLA knows the gradient of a convolution of stride 2, so that cuDNN multiplies no zeros.

    Args:
      x: The map.
      kernel: (3, 3, Cin, Cout), taps in the order of PyTorch's `conv_transpose2d`.
    """
    return jax.lax.conv_general_dilated(
        x,
        kernel.transpose(2, 0, 1, 3)[:, ::-1, ::-1],  # in cuDNN's order; XLA looks for the reversal
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "IHWO", "NHWC"),
    )


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return transposed_conv(x, kernel), (x, kernel)


def _backward(residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Use the convolution whose transpose it is: for autodiff's own kernel gradient XLA would transpose both maps."""
    x, kernel = residuals
    of_x, of_kernel = jax.vjp(functools.partial(_strided_conv, gradient), kernel)
    return of_x, of_kernel(x)[0]


def _strided_conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Apply the convolution of stride 2 whose transpose `transposed_conv` is, with the same kernel."""
    return jax.lax.conv_general_dilated(
        x, kernel.transpose(2, 0, 1, 3), (2, 2), ((0, 0), (0, 0)), dimension_numbers=("NHWC", "OHWI", "NHWC")
    )


transposed_conv.defvjp(_forward, _backward)


def low_pass(x: jax.Array) -> jax.Array:
    """Filter a transposed convolution's result by the low-pass of sum 4: (N, H + 1, W + 1, C) to (N, H, W, C).

    Returns:
      float32 at least, for the operations that XLA joins to it in one kernel.
    """
    return filtered(padded(x, 1, 1), axes=(1, 2))


def low_pass_gradient(gradient: jax.Array) -> jax.Array:
    """Compute the gradient of `low_pass`'s argument from that of its result: the same filter, since it is symmetric."""
    return filtered(padded(gradient, 2, 2), axes=(1, 2))


LOW_PASS_FILTER = Filter(low_pass, low_pass_gradient)
"""The low-pass after upsampling, of whole maps."""


def padded(x: jax.Array, before: int, after: int) -> jax.Array:
    """Pad rows and columns of (N, H, W, C) by zeros."""
    sides = (before, after, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), sides, sides, (0, 0, 0)])


def filtered(x: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """Filter by the low-pass along two axes, which shorten by three; in float32 at least.

    All sixteen taps at once: axis by axis, XLA would write the map between the two.
    """
    taps = len(LOW_PASS)
    result = None
    for row, column in itertools.product(range(taps), repeat=2):
        part = x
        for axis, start in zip(axes, (row, column), strict=True):
            part = jax.lax.slice_in_dim(part, start, start + x.shape[axis] - taps + 1, axis=axis)
        part = to_accum_dtype(part) * (LOW_PASS[row] * LOW_PASS[column])
        result = part if result is None else result + part
    assert result is not None
    return result

"""XLA's own convolution of NHWC maps."""

import jax

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after, along rows and along columns."""


def conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve (N, H, W, Cin) with (kh, kw, Cin, Cout) to (N, H', W', Cout)."""
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

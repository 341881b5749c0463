"""XLA's own convolution of NHWC maps."""

import jax
from jax.experimental.layout import Layout, with_layout_constraint

from fgnet_jax.models.ops import platforms

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after, along rows and along columns."""


def conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int, groups: int = 1) -> jax.Array:
    """Convolve (N, H, W, groups * Cin) with (kh, kw, Cin, groups * Cout) to (N, H', W', groups * Cout)."""
    if platforms.current() == "gpu":
        # cuDNN's order. XLA would transpose too, but with every batch, even where kernels are prepared beforehand.
        return conv_features_first(x, features_first(kernel), padding, stride, groups)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def conv_features_first(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int, groups: int = 1) -> jax.Array:
    """Convolve (N, H, W, groups * Cin) with (groups * Cout, kh, kw, Cin) to (N, H', W', groups * Cout)."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "OHWI", "NHWC"),
        feature_group_count=groups,
    )


@jax.custom_vjp
def features_first(kernel: jax.Array) -> jax.Array:
    """Transpose (kh, kw, Cin, Cout) to (Cout, kh, kw, Cin)."""
    return kernel.transpose(3, 0, 1, 2)


def _backward(_: None, gradient: jax.Array) -> tuple[jax.Array]:
    # An array of its own, in the parameter's order: XLA would put the transposition into the optimiser's arithmetic,
    # which could then not be done in place, and would copy parameters and moments.
    gradient = with_layout_constraint(gradient.transpose(1, 2, 3, 0), Layout(major_to_minor=(0, 1, 2, 3)))
    return (jax.lax.optimization_barrier(gradient),)


features_first.defvjp(lambda kernel: (features_first(kernel), None), _backward)

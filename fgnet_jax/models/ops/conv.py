"""Convolution of NHWC maps, by the method that is fast on the platform."""

from collections.abc import Callable
from typing import cast

import jax

from fgnet_jax.models.ops import direct, platforms, switches
from fgnet_jax.models.ops.cpu import taps
from fgnet_jax.models.ops.direct import Padding
from fgnet_jax.models.ops.remat import remat

_MIN_CHANNELS = 32
"""Input channels below which a tap's matrix product is too narrow to be fast."""

Convolution = Callable[[jax.Array, jax.Array, Padding, int], jax.Array]
"""A function of (map, kernel, padding, stride)."""


def conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    """Convolve (N, H, W, Cin) with (kh, kw, Cin, Cout), padded by (before, after) along rows and columns.

    On CPUs, where XLA's gradients are slow, it computes tap by tap (`ops.cpu.taps`).
    """
    return remat(_method(kernel), padding, stride)(x, kernel)


def _method(kernel: jax.Array) -> Convolution:
    """Choose how to convolve with a kernel (kh, kw, Cin, Cout)."""
    if platforms.current() != "cpu":
        return direct.conv
    height, width, features_in, _ = kernel.shape
    is_slow = features_in >= _MIN_CHANNELS or height % 2 == 0 or width % 2 == 0
    return cast(Convolution, taps.conv_by_taps) if is_slow and switches.is_on("taps") else taps.direct_conv


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolve (N, H, W, in) with an odd square kernel (k, k, in, out), padded by k // 2 on every side."""
    side = kernel.shape[0] // 2
    return conv(x, kernel, ((side, side), (side, side)), stride)

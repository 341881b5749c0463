"""Convolution of NHWC maps, by the path that suits the platform."""

from collections.abc import Callable
from typing import cast

import jax

from fgnet_jax.models.ops import direct, switches
from fgnet_jax.models.ops.cpu import taps
from fgnet_jax.models.ops.direct import Padding
from fgnet_jax.models.ops.remat import remat

_FEW_CHANNELS = 32  # below which a tap's product is too narrow to be worth it

Convolution = Callable[[jax.Array, jax.Array, Padding, int], jax.Array]
"""A function of (map, kernel, padding, stride)."""


def conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    """Convolves (N, H, W, Cin) with (kh, kw, Cin, Cout), padded by (before, after) along rows and columns.

    On CPUs, where XLA's gradients are slow, tap by tap (`ops.cpu.taps`).
    """
    return remat(_path(kernel), padding, stride)(x, kernel)


def _path(kernel: jax.Array) -> Convolution:
    """Chooses the way to convolve with a kernel (kh, kw, Cin, Cout)."""
    if jax.default_backend() != "cpu":
        return direct.conv
    height, width, features_in, _ = kernel.shape
    is_slow = features_in >= _FEW_CHANNELS or height % 2 == 0 or width % 2 == 0
    return cast(Convolution, taps.conv_by_taps) if is_slow and switches.is_on("taps") else taps.direct_conv


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolves (N, H, W, in) with an odd square kernel (k, k, in, out), padded by k // 2 on every side."""
    side = kernel.shape[0] // 2
    return conv(x, kernel, ((side, side), (side, side)), stride)

"""Convolution of NHWC maps, with a faster gradient of its kernel where XLA's is slow."""

import functools
import itertools
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

from fgnet_jax.ops import fast
from fgnet_jax.ops.lean import lean

_FEW = 32  # channels, below which a tap's product is too narrow to be worth it
_CHUNK = 4096  # pixels that a product sums over: over more, XLA's take three times as long, and round more

Padding = tuple[tuple[int, int], tuple[int, int]]
Convolution = Callable[[jax.Array, jax.Array, Padding, int], jax.Array]


def conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    """(N, H, W, Cin) convolved with (kh, kw, Cin, Cout), padded by (before, after) along rows and columns.

    On CPUs, XLA's gradient of an even kernel runs at a fiftieth of the pace of its convolution, and of a 3x3 kernel
    at an eighth, or a twentieth on large maps. There it is computed tap by tap instead, as matrix products.
    """
    height, width, features_in, _ = kernel.shape
    is_slow = height <= 3 and features_in >= _FEW or height % 2 == 0 or width % 2 == 0
    by_taps = jax.default_backend() == "cpu" and is_slow and fast.is_on("taps")
    return lean(cast(Convolution, _conv_by_taps) if by_taps else _conv, padding, stride)(x, kernel)


def conv2d(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """(N, H, W, in) convolved with an odd square kernel (k, k, in, out), padded by k // 2 on every side."""
    side = kernel.shape[0] // 2
    return conv(x, kernel, ((side, side), (side, side)), stride)


def _conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_by_taps(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    return _conv(x, kernel, padding, stride)


def _forward(x, kernel, padding, stride):
    return _conv(x, kernel, padding, stride), (x, kernel)


def _backward(padding, stride, residuals, gradient):
    x, kernel = residuals
    of_x = jax.vjp(lambda x: _conv(x, kernel, padding, stride), x)[1](gradient)[0]
    return of_x, _kernel_gradient(x, gradient, kernel.shape[:2], padding, stride).astype(kernel.dtype)


_conv_by_taps.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, taps: tuple[int, int], padding: Padding, stride: int
) -> jax.Array:
    """(kh, kw, Cin, Cout): for each tap, what it saw, times the gradient of what it gave."""
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    height, width = (stride * (size - 1) + 1 for size in gradient.shape[1:3])
    gradient = _chunks(gradient)

    def product(tap: jax.Array) -> jax.Array:
        seen = jax.lax.dynamic_slice(x, (0, tap[0], tap[1], 0), (x.shape[0], height, width, x.shape[-1]))
        return jnp.einsum("bkc,bko->bco", _chunks(seen[:, ::stride, ::stride]), gradient).sum(0)

    # One tap after the other, in a loop: what each saw is a copy of the map.
    products = jax.lax.map(product, jnp.array(list(itertools.product(range(taps[0]), range(taps[1])))))
    return products.reshape(*taps, *products.shape[1:])


def _chunks(x: jax.Array) -> jax.Array:
    """A map's pixels (N, H, W, C) in chunks of about `_CHUNK`, filled up with zeros: (chunks, pixels, C)."""
    pixels = x.reshape(-1, x.shape[-1])
    count = max(round(len(pixels) / _CHUNK), 1)
    return jnp.pad(pixels, ((0, -len(pixels) % count), (0, 0))).reshape(count, -1, x.shape[-1])

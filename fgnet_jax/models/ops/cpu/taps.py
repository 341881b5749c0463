"""Convolutions for CPUs whose gradients, where XLA's are slow, are matrix products, tap by tap.

On CPUs, XLA's gradient of an even kernel runs at a fiftieth of the speed of its convolution, of a 5x5 kernel at a
quarter, and of a 3x3 kernel at an eighth, or a twentieth on large maps. Here it is computed tap by tap instead, as
matrix products. Strided convolutions to small maps are matrix products altogether: up to 10 times as fast, 20 times for
the map's gradient, into which XLA inserts zeros. Where no gradient is needed, wide convolutions of large maps use
Winograd's method.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops import direct
from fgnet_jax.models.ops.cpu import winograd
from fgnet_jax.models.ops.direct import Padding
from fgnet_jax.models.ops.dtypes import accum_dtype

_PRODUCT_SIDE = 32  # rows and columns of a strided convolution's result up to which a matrix product is faster
_PRODUCT_GRADIENT_SIDE = 16  # the same for its gradient
_STRIP = 2048  # pixels that a product sums over: over many more, XLA's take three times as long, and round more
_LOOP_LIMIT = 10_000_000  # multiplications above which XLA's plain loops, its only float64 convolution, are too slow

_WINOGRAD_SIDE = 32  # rows and columns from which on Winograd's method is faster
_WINOGRAD_CHANNELS = 128  # channels, in and out, from which on it is faster on maps that it does not split
_WINOGRAD_CHANNELS_SPLIT = 256  # the same on larger maps

Residuals = tuple[jax.Array, jax.Array]
"""What the backward pass keeps: map and kernel."""


def direct_conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve as `ops.direct.conv`; in float64, large maps tap by tap, since XLA has only plain loops for them."""
    multiplications = math.prod(x.shape[:3]) * kernel.size
    if x.dtype == jnp.float64 and multiplications > _LOOP_LIMIT:
        return _tap_by_tap(x, kernel, padding, stride)
    return direct.conv(x, kernel, padding, stride)


def _tap_by_tap(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve by a sum of matrix products, one tap after the other."""
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    extent = (x.shape[0], *(x.shape[axis + 1] - kernel.shape[axis] + 1 for axis in (0, 1)), x.shape[3])

    def add(total: jax.Array, tap: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        row, column, weights = tap
        pixels = jax.lax.dynamic_slice(x, (0, row, column, 0), extent)[:, ::stride, ::stride]
        return total + pixels @ weights, None

    rows, columns = jnp.indices(kernel.shape[:2]).reshape(2, -1)
    sides = (-(-side // stride) for side in extent[1:3])
    start = jnp.zeros((extent[0], *sides, kernel.shape[-1]), x.dtype)
    return jax.lax.scan(add, start, (rows, columns, kernel.reshape(-1, *kernel.shape[2:])))[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_by_taps(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve as `direct_conv`, with a gradient that is computed tap by tap.

    This body runs where no gradient is needed, and `_forward` where one is: Winograd's method rounds more often, so
    training does not use it.
    """
    is_padded_3x3 = kernel.shape[:2] == (3, 3) and padding == ((1, 1), (1, 1)) and stride == 1
    channels = _WINOGRAD_CHANNELS if winograd.values(x) < winograd.MAX_UNSPLIT else _WINOGRAD_CHANNELS_SPLIT
    is_large = min(x.shape[1:3]) >= _WINOGRAD_SIDE and min(kernel.shape[2:]) >= channels
    is_even = x.shape[1] % 2 == x.shape[2] % 2 == 0
    if is_padded_3x3 and is_large and is_even and x.dtype == jnp.float32:
        return winograd.conv3x3(x, kernel)
    return _value(x, kernel, padding, stride)


def _value(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve without Winograd's method."""
    return _method(x, stride, _PRODUCT_SIDE)(x, kernel, padding, stride)


def _method(x: jax.Array, stride: int, max_side: int) -> Callable[[jax.Array, jax.Array, Padding, int], jax.Array]:
    """Choose the matrix product for strided convolutions to at most `max_side` rows and columns."""
    return _product if stride > 1 and max(x.shape[1:3]) <= stride * max_side else direct_conv


def _product(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolve by one matrix product; several convolutions of the same map share its windows."""
    return _windows(x, (kernel.shape[0], kernel.shape[1]), padding, stride) @ kernel.reshape(-1, kernel.shape[-1])


def _windows(x: jax.Array, taps: tuple[int, int], padding: Padding, stride: int) -> jax.Array:
    """Lay the pixels of all taps side by side: (N, H, W, Cin) to (N, H / stride, W / stride, kh * kw * Cin)."""
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    for axis, count in ((2, taps[1]), (1, taps[0])):
        last = x.shape[axis] - count
        shifted = (jax.lax.slice_in_dim(x, tap, tap + last + 1, stride, axis) for tap in range(count))
        x = jnp.concatenate(list(shifted), axis=3)
    return x


def _forward(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> tuple[jax.Array, Residuals]:
    return _value(x, kernel, padding, stride), (x, kernel)


def _backward(padding: Padding, stride: int, residuals: Residuals, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    method = _method(x, stride, _PRODUCT_GRADIENT_SIDE)
    of_x = jax.vjp(lambda x: method(x, kernel, padding, stride), x)[1](gradient)[0]
    return of_x, _kernel_gradient(x, gradient, (kernel.shape[0], kernel.shape[1]), padding, stride).astype(kernel.dtype)


conv_by_taps.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, taps: tuple[int, int], padding: Padding, stride: int
) -> jax.Array:
    """Compute the kernel's gradient (kh, kw, Cin, Cout): for each tap, its pixels times the result's gradient.

    One strip of an image's rows after the other, and in it one tap after the other, so that the copy of a tap's pixels
    fits into a cache.
    """
    n, height, width, features = gradient.shape
    images = 1 if height * width > _STRIP // 2 else n  # small images all at once
    rows = max(1, min(height, _STRIP // width))
    strips = -(-height // rows)
    fill = strips * rows - height
    x = jnp.pad(x, [(0, 0), (padding[0][0], padding[0][1] + stride * fill), padding[1], (0, 0)])
    gradient = jnp.pad(gradient, [(0, 0), (0, fill), (0, 0), (0, 0)])
    down, across = (stride * (count - 1) + 1 for count in (rows, width))
    places = jnp.array(list(itertools.product(range(taps[0]), range(taps[1]))))

    def add(total: jax.Array, strip: jax.Array) -> tuple[jax.Array, None]:
        image, row = strip // strips * images, strip % strips * rows
        start, extent = (image, stride * row, 0, 0), (images, down + taps[0] - 1, *x.shape[2:])
        pixels = jax.lax.dynamic_slice(x, start, extent)
        of_strip = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (images, rows, width, features))

        def product(tap: jax.Array) -> jax.Array:
            by_tap = jax.lax.dynamic_slice(pixels, (0, tap[0], tap[1], 0), (images, down, across, x.shape[-1]))
            by_tap = by_tap[:, ::stride, ::stride].reshape(-1, x.shape[-1])
            return by_tap.T @ of_strip.reshape(-1, features)

        return total + jax.lax.map(product, places).astype(total.dtype), None

    start = jnp.zeros((len(places), x.shape[-1], features), accum_dtype(x.dtype))
    products, _ = jax.lax.scan(add, start, jnp.arange(n // images * strips))
    return products.reshape(*taps, *products.shape[1:])

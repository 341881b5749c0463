"""Convolutions for CPUs: as matrix products, tap by tap, the gradients too, where XLA's own are slow.

On CPUs, XLA's gradient of an even kernel runs at a fiftieth of the pace of its convolution, of a 5x5 kernel at a
quarter, and of a 3x3 kernel at an eighth, or a twentieth on large maps. Here it is computed tap by tap instead, as
matrix products. Strided convolutions to small maps are products altogether: up to 10 times as fast, 20 for the gradient
of the map, into which XLA puts zeros. Where no gradient is wanted, wide large ones use Winograd's method.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops import direct
from fgnet_jax.models.ops.cpu import winograd
from fgnet_jax.models.ops.direct import Padding
from fgnet_jax.models.ops.dtypes import accum_dtype

_SMALL = 32  # rows and columns of a strided convolution's result, up to which a product is faster
_SMALLER = 16  # the same of its gradient
_STRIP = 2048  # pixels that a product sums over: over many more, XLA's take three times as long, and round more
_MANY = 10_000_000  # multiplications, from which on the plain loops are felt in which XLA convolves float64 on CPUs
# Where Winograd's way is faster: from so many channels on, more of them on maps that it works through in strips or
# nearly so, and from so many rows and columns on.
_WIDE, _WIDER, _LARGE = 128, 256, 32


def direct_conv(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """Convolves as `ops.direct.conv`; large ones in float64 tap by tap, where XLA has nothing but plain loops."""
    multiplications = math.prod(x.shape[:3]) * kernel.size
    if x.dtype == jnp.float64 and multiplications > _MANY:
        return _tap_by_tap(x, kernel, padding, stride)
    return direct.conv(x, kernel, padding, stride)


def _tap_by_tap(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """The convolution as a sum of products, one tap after the other."""
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    extent = (x.shape[0], *(x.shape[axis + 1] - kernel.shape[axis] + 1 for axis in (0, 1)), x.shape[3])

    def add(total: jax.Array, tap: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        row, column, weights = tap
        seen = jax.lax.dynamic_slice(x, (0, row, column, 0), extent)[:, ::stride, ::stride]
        return total + seen @ weights, None

    rows, columns = jnp.indices(kernel.shape[:2]).reshape(2, -1)
    sides = (-(-side // stride) for side in extent[1:3])
    start = jnp.zeros((extent[0], *sides, kernel.shape[-1]), x.dtype)
    return jax.lax.scan(add, start, (rows, columns, kernel.reshape(-1, *kernel.shape[2:])))[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv_by_taps(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """`direct_conv` with a gradient of its own. This body runs where no gradient is wanted, `_forward` where one is.

    Winograd's way rounds more often: training goes without.
    """
    is_padded_3x3 = kernel.shape[:2] == (3, 3) and padding == ((1, 1), (1, 1)) and stride == 1
    least = _WIDE if winograd.values(x) < winograd.WHOLE else _WIDER
    is_large = min(x.shape[1:3]) >= _LARGE and min(kernel.shape[2:]) >= least
    is_even = x.shape[1] % 2 == x.shape[2] % 2 == 0
    if is_padded_3x3 and is_large and is_even and x.dtype == jnp.float32:
        return winograd.conv3x3(x, kernel)
    return _value(x, kernel, padding, stride)


def _value(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    return (_product if _is_small(x, stride, _SMALL) else direct_conv)(x, kernel, padding, stride)


def _is_small(x: jax.Array, stride: int, side: int) -> bool:
    return stride > 1 and max(x.shape[1:3]) <= stride * side


def _product(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int) -> jax.Array:
    """The convolution as one product: several that see the same map share what they see."""
    return _seen(x, (kernel.shape[0], kernel.shape[1]), padding, stride) @ kernel.reshape(-1, kernel.shape[-1])


def _seen(x: jax.Array, taps: tuple[int, int], padding: Padding, stride: int) -> jax.Array:
    """What all taps see, side by side: (N, H, W, Cin) to (N, H / stride, W / stride, kh * kw * Cin)."""
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)])
    for axis, count in ((2, taps[1]), (1, taps[0])):
        last = x.shape[axis] - count
        shifted = (jax.lax.slice_in_dim(x, tap, tap + last + 1, stride, axis) for tap in range(count))
        x = jnp.concatenate(list(shifted), axis=3)
    return x


def _forward(x, kernel, padding, stride):
    return _value(x, kernel, padding, stride), (x, kernel)


def _backward(padding, stride, residuals, gradient):
    x, kernel = residuals
    way = _product if _is_small(x, stride, _SMALLER) else direct_conv
    of_x = jax.vjp(lambda x: way(x, kernel, padding, stride), x)[1](gradient)[0]
    return of_x, _kernel_gradient(x, gradient, kernel.shape[:2], padding, stride).astype(kernel.dtype)


conv_by_taps.defvjp(_forward, _backward)


def _kernel_gradient(
    x: jax.Array, gradient: jax.Array, taps: tuple[int, int], padding: Padding, stride: int
) -> jax.Array:
    """(kh, kw, Cin, Cout): for each tap, what it saw, times the gradient of what it gave.

    One strip of an image's rows after the other, and in it one tap after the other: what each saw is a copy, which
    then fits into a cache.
    """
    n, height, width, features = gradient.shape
    images = 1 if height * width > _STRIP // 2 else n  # small ones all at once
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
        seen = jax.lax.dynamic_slice(x, start, extent)
        wanted = jax.lax.dynamic_slice(gradient, (image, row, 0, 0), (images, rows, width, features))

        def product(tap: jax.Array) -> jax.Array:
            by_tap = jax.lax.dynamic_slice(seen, (0, tap[0], tap[1], 0), (images, down, across, x.shape[-1]))
            by_tap = by_tap[:, ::stride, ::stride].reshape(-1, x.shape[-1])
            return by_tap.T @ wanted.reshape(-1, features)

        return total + jax.lax.map(product, places).astype(total.dtype), None

    start = jnp.zeros((len(places), x.shape[-1], features), accum_dtype(x.dtype))
    products, _ = jax.lax.scan(add, start, jnp.arange(n // images * strips))
    return products.reshape(*taps, *products.shape[1:])

"""Sums over pixels that lose no digits.

On CPUs, XLA adds up an axis one value after the other: over the 130,000 pixels of a batch that loses four digits of a
sum, and all of them where terms cancel, as in gradients of biases, gates and normalisations. PyTorch adds up in blocks;
these functions sum one axis after the other. GPUs and TPUs add up in blocks by themselves: there it is one sum in
float32, which XLA fuses with what is computed of the same map.
"""

import functools
from typing import cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.dtypes import to_accum_dtype


def axis_by_axis(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Sum `x` over `axes` (on CPUs in the order given), in float32 at least; the axes are kept with length one."""
    x = to_accum_dtype(x)
    if platforms.current() != "cpu":
        return x.sum(axes, keepdims=True)
    for axis in axes:
        # Without it, XLA would fuse two successive sums into one.
        x = jax.lax.optimization_barrier(x.sum(axis, keepdims=True))
    return x


def spatial_mean(x: jax.Array) -> jax.Array:
    """Average (N, H, W, C) over rows and columns: (N, 1, 1, C), float32 at least."""
    return axis_by_axis(x, (2, 1)) / (x.shape[1] * x.shape[2])


def batch_mean(x: jax.Array) -> jax.Array:
    """Average (N, H, W, C) over all axes but channels: (C,), float32 at least."""
    if platforms.current() != "cpu":
        return to_accum_dtype(x).mean((0, 1, 2))
    return spatial_mean(x).mean((0, 1, 2))


def broadcast(values: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    """Broadcast (C,) or (N, 1, 1, C) to (N, H, W, C) in `dtype`; its gradient is summed axis by axis."""
    return cast(jax.Array, _broadcast(values, shape, dtype))


def scale(x: jax.Array, factors: jax.Array) -> jax.Array:
    """Multiply (N, H, W, C) by factors (N, C), one per image and channel."""
    return x * broadcast(factors[:, None, None], x.shape, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _broadcast(values: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    return jnp.broadcast_to(values.astype(dtype), shape)


def _forward(values: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[jax.Array, jax.Array]:
    return _broadcast(values, shape, dtype), values


def _backward(shape: tuple[int, ...], dtype: DTypeLike, values: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    del shape, dtype
    axes = (2, 1) if values.ndim == 4 else (2, 1, 0)
    return (axis_by_axis(gradient, axes).reshape(values.shape).astype(values.dtype),)


_broadcast.defvjp(_forward, _backward)

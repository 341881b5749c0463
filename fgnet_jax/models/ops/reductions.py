"""Sums over pixels that keep their digits.

XLA adds up an axis one value after the other on CPUs: over the 130,000 pixels of a batch that loses four digits of
what does not cancel, and all of what does, as gradients of biases, gates and normalisations do. PyTorch adds up in
blocks; here, one axis after the other.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops.dtypes import to_accum_dtype


def axis_by_axis(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Sum of `x` over `axes`, which are kept with length one, in float32 at least and in the order given."""
    x = to_accum_dtype(x)
    for axis in axes:
        # XLA would make one sum of two that follow each other.
        x = jax.lax.optimization_barrier(x.sum(axis, keepdims=True))
    return x


def spatial_mean(x: jax.Array) -> jax.Array:
    """Mean of (N, H, W, C) over rows and columns: (N, 1, 1, C), float32 at least."""
    return axis_by_axis(x, (2, 1)) / (x.shape[1] * x.shape[2])


def batch_mean(x: jax.Array) -> jax.Array:
    """Mean of (N, H, W, C) over everything but channels: (C,), float32 at least."""
    return spatial_mean(x).mean((0, 1, 2))


def broadcast(values: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Broadcasts (C,) or (N, 1, 1, C) to (N, H, W, C) in `dtype`; its gradient is summed axis by axis."""
    return cast(jax.Array, _broadcast(values, shape, dtype))


def scale(x: jax.Array, factors: jax.Array) -> jax.Array:
    """(N, H, W, C) times factors (N, C), one an image and channel."""
    return x * broadcast(factors[:, None, None], x.shape, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _broadcast(values: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return jnp.broadcast_to(values.astype(dtype), shape)


def _forward(values, shape, dtype):
    return _broadcast(values, shape, dtype), values


def _backward(shape, dtype, values, gradient):
    del shape, dtype
    axes = (2, 1) if values.ndim == 4 else (2, 1, 0)
    return (axis_by_axis(gradient, axes).reshape(values.shape).astype(values.dtype),)


_broadcast.defvjp(_forward, _backward)

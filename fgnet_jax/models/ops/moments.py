"""Normalisation on GPUs and TPUs: two passes over a map forwards and two backwards, whatever is done with its moments.

Everything else, such as a batch's statistics, the gate of squeeze-excite and the gradients of both, is arithmetic of
one number per image and channel, which JAX differentiates. The backward pass keeps maps in their own number format.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.dtypes import accum_dtype, to_accum_dtype

_LONG = 64 * 64
"""Pixels of a map from which on a GPU sums row by row."""


@jax.custom_vjp
def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Compute each image's mean and biased variance (N, C) of a map (N, H, W, C), float32 at least, in one pass."""
    # Deviations from a pixel, not the values: the mean square minus the squared mean cancels where the mean is large.
    shift = to_accum_dtype(x[:, 0, 0])
    deviation = to_accum_dtype(x) - shift[:, None, None]
    count = x.shape[1] * x.shape[2]
    mean, square = (total / count for total in _two_sums(deviation, jnp.square(deviation)))
    return shift + mean, jnp.maximum(square - jnp.square(mean), 0)


def _moments_forward(x: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    mean, variance = moments(x)
    return (mean, variance), (x, mean)


def _moments_backward(kept: tuple[jax.Array, jax.Array], gradients: tuple[jax.Array, jax.Array]) -> tuple[jax.Array]:
    (x, mean), (of_mean, of_variance) = kept, gradients
    deviation = to_accum_dtype(x) - mean[:, None, None]
    gradient = of_mean[:, None, None] + 2 * deviation * of_variance[:, None, None]
    return ((gradient / (x.shape[1] * x.shape[2])).astype(x.dtype),)


moments.defvjp(_moments_forward, _moments_backward)


@jax.custom_vjp
def affine(x: jax.Array, centre: jax.Array, gain: jax.Array, offset: jax.Array) -> jax.Array:
    """Compute (x - centre) * gain + offset of a map (N, H, W, C) by vectors (N, C), in x's dtype, rounded once.

    The centre has no gradient: it goes first because x * gain + offset would cancel where the mean is large, and
    a caller whose centre depends on x puts this dependence into the offset.
    """
    deviation = to_accum_dtype(x) - centre[:, None, None]
    return (deviation * gain[:, None, None] + offset[:, None, None]).astype(x.dtype)


def _affine_forward(
    x: jax.Array, centre: jax.Array, gain: jax.Array, offset: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    return affine(x, centre, gain, offset), (x, centre, gain)


def _affine_backward(
    kept: tuple[jax.Array, jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    x, centre, gain = kept
    wide = to_accum_dtype(gradient)
    of_gain, of_offset = _two_sums(wide * (to_accum_dtype(x) - centre[:, None, None]), wide)
    return (wide * gain[:, None, None]).astype(x.dtype), jnp.zeros_like(centre), of_gain, of_offset


affine.defvjp(_affine_forward, _affine_backward)


@jax.custom_vjp
def prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    """Compute max(x, 0) + slope * min(x, 0) of a map (N, H, W, C) with slopes (C,); only its arguments are kept."""
    return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


def _prelu_forward(x: jax.Array, slope: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return prelu(x, slope), (x, slope)


def _prelu_backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, slope = kept
    of_slope = jnp.where(x >= 0, 0, to_accum_dtype(gradient) * to_accum_dtype(x)).sum(range(x.ndim - 1))
    of_x = jnp.where(x >= 0, gradient, slope.astype(x.dtype) * gradient)
    return of_x, of_slope.astype(slope.dtype)


prelu.defvjp(_prelu_forward, _prelu_backward)


def _two_sums(first: jax.Array, second: jax.Array) -> Sequence[jax.Array]:
    """Sum two (N, H, W, C) over rows and columns, in one reduction: of two, XLA might write one's terms to memory."""
    sums = (first, second)
    for axes in ((2,), (1,)) if _is_long(first) else ((1, 2),):
        zero = jnp.zeros((), first.dtype)
        sums = jax.lax.reduce(sums, (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), axes)
    return sums


def _is_long(x: jax.Array) -> bool:
    """Return whether sums over so many pixels are to be computed row by row: GPUs would write the terms to memory."""
    return platforms.current() == "gpu" and x.shape[1] * x.shape[2] >= _LONG


def vectors(values: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcast (C,) to a vector for each image of x: (N, C), float32 at least."""
    return jnp.broadcast_to(values.astype(accum_dtype(x.dtype)), (x.shape[0], x.shape[-1]))

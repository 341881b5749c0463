"""A convolution of an enlarged map, channels first: one matrix product, and one pass per axis.

Enlarged to twice its side with aligned corners, pixel 2i lies between pixels i - 1 and i of the map, and pixel 2i + 1
between i and i + 1, all along it. So what a tap reads is found by a shift, and only the weights differ from row to row.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.bilinear import bilinear_matrix
from fgnet_jax.models.ops.dtypes import accum_dtype, to_accum_dtype


@dataclasses.dataclass(frozen=True, eq=False)
class _Term:
    """What the pixels 2i or 2i + 1 of the result read along one axis through one tap.

    Attributes:
      tap: The tap of the convolution.
      shift: Pixel i + shift of the map is read.
      weights: By which weight, for each i, (size,).
    """

    tap: int
    shift: int
    weights: np.ndarray


@functools.cache
def _terms(size: int, taps: int, dtype: np.dtype) -> tuple[tuple[_Term, ...], tuple[_Term, ...]]:
    """Describe what even and odd pixels of a map enlarged from `size` and then convolved read along one axis."""
    matrix = np.pad(bilinear_matrix(size, 2 * size, dtype), [(taps // 2, taps // 2), (0, 0)])
    by_parity = []
    for parity in (0, 1):
        terms = []
        for tap in range(taps):
            rows = matrix[tap + parity : tap + parity + 2 * size : 2]
            for shift in range(-taps, taps + 1):
                weights = np.zeros(size, dtype)
                inside = np.flatnonzero((np.arange(size) + shift >= 0) & (np.arange(size) + shift < size))
                weights[inside] = rows[inside, inside + shift]
                if weights.any():
                    terms.append(_Term(tap, shift, weights))
        by_parity.append(tuple(terms))
    return by_parity[0], by_parity[1]


def upsample_conv2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Enlarge (N, H, W, Cin) to twice its sides, then convolve with (k, k, Cin, Cout): `ops.resize.upsample_conv2d`."""
    n, height, width, features_in = x.shape
    taps, features = kernel.shape[0], kernel.shape[-1]
    kernels = kernel.transpose(2, 0, 1, 3).reshape(features_in, -1)
    mixed = (x.reshape(-1, features_in) @ kernels).reshape(n, height, width, taps, taps * features)
    rows = cast(jax.Array, _combine(mixed, 1)).reshape(n, 2 * height, width, taps, features)
    return cast(jax.Array, _combine(rows, 2))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _combine(x: jax.Array, axis: int) -> jax.Array:
    """Sum what all taps read along one axis: (N, H, W, taps, C) to (N, H, W, C), of twice the length there."""
    size, taps = x.shape[axis], x.shape[3]
    padded = _padded(x, axis, taps // 2)
    by_parity = []
    for terms in _terms(size, taps, accum_dtype(x.dtype)):
        read = [(_take(padded, axis, taps // 2 + term.shift, term.tap), term.weights) for term in terms]
        by_parity.append(_weighted_sum(read, axis).astype(x.dtype))
    shape = list(by_parity[0].shape)
    shape[axis] *= 2
    return jnp.stack(by_parity, axis=axis + 1).reshape(shape)


def _forward(x: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    # Only the shape of the map is needed later, and XLA removes an array that nobody reads.
    return _combine(x, axis), x


def _backward(axis: int, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Collect for each tap what read it, where autodiff would pad and add up a whole map for every term."""
    size, taps = x.shape[axis], x.shape[3]
    shape = (*gradient.shape[:axis], size, 2, *gradient.shape[axis + 1 :])
    by_parity = [part.squeeze(axis + 1) for part in jnp.split(gradient.reshape(shape), 2, axis + 1)]
    of_taps: list[list[tuple[jax.Array, np.ndarray]]] = [[] for _ in range(taps)]
    for part, terms in zip(by_parity, _terms(size, taps, accum_dtype(gradient.dtype)), strict=True):
        padded = _padded(part, axis, taps // 2)
        for term in terms:
            weights = _shifted(term.weights, -term.shift)
            start = taps // 2 - term.shift
            of_taps[term.tap].append((jax.lax.slice_in_dim(padded, start, start + size, axis=axis), weights))
    return (jnp.stack([_weighted_sum(parts, axis).astype(gradient.dtype) for parts in of_taps], axis=3),)


_combine.defvjp(_forward, _backward)


def _padded(x: jax.Array, axis: int, by: int) -> jax.Array:
    return jnp.pad(x, [(by, by) if i == axis else (0, 0) for i in range(x.ndim)])


def _take(x: jax.Array, axis: int, start: int, tap: int) -> jax.Array:
    """Take a tap's pixels from `start` on, as many as the map has: (N, H, W, C) of padded (N, H, W, taps, C).

    One slice: of two, XLA would write the first, in float32.
    """
    starts, ends = [0] * x.ndim, list(x.shape)
    starts[axis], ends[axis] = start, start + x.shape[axis] - x.shape[3] // 2 * 2
    starts[3], ends[3] = tap, tap + 1
    return jax.lax.slice(x, starts, ends).squeeze(3)


def _weighted_sum(parts: Sequence[tuple[jax.Array, np.ndarray]], axis: int) -> jax.Array:
    """Sum maps by their weights along the axis, in float32 at least."""
    terms = []
    for x, weights in parts:
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        terms.append(to_accum_dtype(x) * jnp.asarray(weights).reshape(shape))
    return functools.reduce(jnp.add, terms)


def _shifted(weights: np.ndarray, by: int) -> np.ndarray:
    """Return weights[i + by], 0 outside."""
    return np.pad(weights, (max(-by, 0), max(by, 0)))[max(by, 0) :][: len(weights)]

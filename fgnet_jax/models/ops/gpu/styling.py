"""All that lies between two convolutions of synthesis in one pass: filter, noise, bias, activation, style and more.

Gradients are written by hand. The activation can be inverted, so that nothing is saved but the map that goes into the
next convolution, which saves it anyway. One pass over it and its gradient gives the gradient of the filtered map.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.ops.dtypes import accum_dtype, to_accum_dtype


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """What happens to a convolution's result first: a linear map.

    Attributes:
      apply: From the argument to the result, in float32 at least.
      transpose: From the result's gradient to the argument's, in float32 at least.
      inside: Which pixels of the result exist, (1, H, W, 1) bool: others become 0 in the end. None if all do.
    """

    apply: Callable[[jax.Array], jax.Array]
    transpose: Callable[[jax.Array], jax.Array]
    inside: np.ndarray | None = None


NO_FILTER = Filter(to_accum_dtype, to_accum_dtype)
"""Leaves a map as it is."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Styling:
    """What happens to a map (N, H, W, C) between two convolutions, float32 at least.

    Attributes:
      demodulation: Factors (N, C).
      noise: Noise (H, W), never trained.
      strength: The noise's factor, a scalar.
      bias: Bias (C,).
      style: Factors (N, C) of the next convolution's input, or None for none.
    """

    demodulation: jax.Array
    noise: jax.Array
    strength: jax.Array
    bias: jax.Array
    style: jax.Array | None


Maps = tuple[jax.Array, jax.Array | None]


def finish(filtering: Filter, x: jax.Array, styling: Styling) -> Maps:
    """Finish a convolution's result and style it for the next one.

    Args:
      filtering: What happens to it first.
      x: The convolution's result.
      styling: Factors and summands.

    Returns:
      The finished map (N, H, W, C) in the dtype of x, and the same times the next style, if there is one.
    """
    return cast(Maps, _finish(filtering, x, styling))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _finish(filtering: Filter, x: jax.Array, styling: Styling) -> Maps:
    shifted = filtering.apply(x) * _each(styling.demodulation) + _summand(styling)
    y = shifted * _slope(shifted)
    if filtering.inside is not None:
        y = jnp.where(filtering.inside, y, 0)
    return y.astype(x.dtype), None if styling.style is None else (y * _each(styling.style)).astype(x.dtype)


def _each(values: jax.Array) -> jax.Array:
    """Lay (N, C) out beside (N, H, W, C)."""
    return values[:, None, None]


def _summand(styling: Styling) -> jax.Array:
    return styling.noise[None, :, :, None] * styling.strength + styling.bias


def _slope(x: jax.Array) -> jax.Array:
    """Return the slope of LeakyReLU at x, times sqrt(2)."""
    return jnp.where(x >= 0, 1, 0.2).astype(x.dtype) * math.sqrt(2)


def _forward(filtering: Filter, x: jax.Array, styling: Styling) -> tuple[Maps, tuple[jax.Array, Styling]]:
    y, styled = finish(filtering, x, styling)
    return (y, styled), (y if styled is None else styled, styling)


def _backward(filtering: Filter, residuals: tuple[jax.Array, Styling], gradients: Maps) -> tuple[jax.Array, Styling]:
    styled, styling = residuals
    of_y, of_styled = (None if each is None else _inside(to_accum_dtype(each), filtering) for each in gradients)
    assert of_y is not None
    style = jnp.ones_like(styling.demodulation) if styling.style is None else styling.style
    # Where a style is 0, the map cannot be told from it; its gradient then is 0 but for the style's own.
    y = to_accum_dtype(styled) * _each(jnp.where(style == 0, 0, 1 / style))
    gradient, summands = of_y, []
    if of_styled is not None:
        gradient = gradient + of_styled * _each(style)
        summands.append(of_styled * y)
    # In the dtype of the map: it is written, and read by the sums that XLA finds no place for in this pass.
    of_filtered = (gradient * _slope(y) * _each(styling.demodulation)).astype(styled.dtype)
    # y is its slope times x * demodulation + noise * strength + bias, of which the parts are told apart by sums.
    times_y, *of_style = _sums(gradient * y, *summands)
    read = to_accum_dtype(of_filtered)
    plain, times_noise = (each / styling.demodulation for each in _sums(read, read * styling.noise[None, :, :, None]))
    of_styling = Styling(
        demodulation=(times_y - times_noise * styling.strength - plain * styling.bias) / styling.demodulation,
        noise=jnp.zeros_like(styling.noise),
        strength=times_noise.sum(),
        bias=plain.sum(0),
        style=of_style[0] if of_style else None,
    )
    return filtering.transpose(of_filtered).astype(styled.dtype), of_styling


def _inside(x: jax.Array, filtering: Filter) -> jax.Array:
    return x if filtering.inside is None else jnp.where(filtering.inside, x, 0)


def _sums(*maps: jax.Array) -> tuple[jax.Array, ...]:
    """Sum maps (N, H, W, C) over pixels in one pass: without the barrier XLA would sum some over more axes, alone."""
    return jax.lax.optimization_barrier(tuple(x.sum((1, 2)) for x in maps))


_finish.defvjp(_forward, _backward)


def products(x: jax.Array, matrices: Sequence[jax.Array]) -> jax.Array:
    """Multiply vectors (K, N, C) by K matrices of C rows at most, in one kernel, where each would need its own.

    Returns:
      (K, N, widest), float32 at least; columns that a matrix does not have are 0.
    """
    height, width = x.shape[-1], max(matrix.shape[1] for matrix in matrices)
    stacked = jnp.stack([jnp.pad(m, [(0, height - m.shape[0]), (0, width - m.shape[1])]) for m in matrices])
    return jnp.einsum("knc,kcd->knd", x, stacked, preferred_element_type=accum_dtype(x.dtype))

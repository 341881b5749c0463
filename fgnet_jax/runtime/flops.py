"""Operations of a JAX function, counted in its program before compilation: two per multiply-add.

XLA's own count includes the body of a loop once, however often it runs; some gradients here are loops.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval

Atom = Any
"""A variable or a literal of a jaxpr; only variables have a public type."""
DimensionNumbers = tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]
"""Contracted and batched axes of `dot_general`, each of the left and of the right operand."""


def count(fn: Callable[..., Any], *arguments: Any) -> float:  # noqa: ANN401 - pytrees
    """Count operations of the convolutions and matrix products in `fn`; arguments may be `jax.ShapeDtypeStruct`."""
    return count_jaxpr(jax.make_jaxpr(fn)(*arguments).jaxpr)


def count_jaxpr(jaxpr: core.Jaxpr) -> float:
    """Count operations of a traced function, as `count` does; what no result needs is left out."""
    return _count_jaxpr(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def _count_jaxpr(jaxpr: core.Jaxpr) -> float:
    return sum(_count_equation(equation) for equation in jaxpr.eqns)


def _count_equation(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        left, right = (_shape(variable) for variable in equation.invars)
        return _product(left, right, params["dimension_numbers"])
    if name == "conv_general_dilated":
        return _convolution(equation)
    times = params["length"] if name == "scan" else 1
    return times * sum(_count_jaxpr(getattr(inner, "jaxpr", inner)) for inner in core.jaxprs_in_params(params))


def _shape(variable: Atom) -> tuple[int, ...]:
    return variable.aval.shape


def _product(left: tuple[int, ...], right: tuple[int, ...], numbers: DimensionNumbers) -> float:
    (_, contracted), (_, batched) = numbers
    free = [size for axis, size in enumerate(right) if axis not in (*contracted, *batched)]
    return 2.0 * math.prod(left) * math.prod(free)


def _convolution(equation: core.JaxprEqn) -> float:
    """Count only taps that meet a sample: neither padding nor the zeros between dilated samples."""
    x, kernel = (_shape(variable) for variable in equation.invars)
    out, params = _shape(equation.outvars[0]), equation.params
    lhs, rhs, result = params["dimension_numbers"]
    pairs = 1.0
    for axis in range(len(lhs) - 2):
        pairs *= _pairs(
            x[lhs[axis + 2]],
            kernel[rhs[axis + 2]],
            out[result[axis + 2]],
            params["window_strides"][axis],
            params["padding"][axis][0],
            params["lhs_dilation"][axis],
            params["rhs_dilation"][axis],
        )
    batch, features = out[result[0]], out[result[1]]
    # With groups of the batch, each output feature reads one group of the images; `kernel`'s width is a group's.
    return 2.0 * batch * features * kernel[rhs[1]] * pairs


def _pairs(size: int, taps: int, new_size: int, stride: int, before: int, dilation: int, between: int) -> float:
    """Count pairs along one axis of an output position and a tap that meets one of `size` samples."""
    places = (position * stride + tap * between - before for position in range(new_size) for tap in range(taps))
    return sum(1 for place in places if place % dilation == 0 and 0 <= place // dilation < size)

"""Operations of a JAX function, counted in its program before any compiler: two per multiply-add.

XLA's own count takes the body of a loop once, however often it runs; some gradients here are loops.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval


def count(fn: Callable[..., Any], *arguments: Any) -> float:
    """Operations of the convolutions and matrix products in `fn`; arguments may be `jax.ShapeDtypeStruct`."""
    jaxpr = jax.make_jaxpr(fn)(*arguments).jaxpr
    return _of(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0])


def _of(jaxpr: core.Jaxpr) -> float:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        left, right = (_shape(variable) for variable in equation.invars)
        return _product(left, right, params["dimension_numbers"])
    if name == "conv_general_dilated":
        return _convolution(equation)
    times = params["length"] if name == "scan" else 1
    return times * sum(_of(getattr(inner, "jaxpr", inner)) for inner in core.jaxprs_in_params(params))


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _product(left: tuple[int, ...], right: tuple[int, ...], numbers: Any) -> float:
    (_, contracted), (_, batched) = numbers
    free = [size for axis, size in enumerate(right) if axis not in (*contracted, *batched)]
    return 2.0 * math.prod(left) * math.prod(free)


def _convolution(equation: core.JaxprEqn) -> float:
    """Only where a tap meets a sample: neither padding nor the zeros between dilated samples count."""
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
    # With groups of the batch, each output feature sees one group of the images; `kernel`'s width is a group's.
    return 2.0 * batch * features * kernel[rhs[1]] * pairs


def _pairs(size: int, taps: int, new_size: int, stride: int, before: int, dilation: int, between: int) -> float:
    """Pairs along one axis of an output position and a tap that meets one of `size` samples."""
    places = (position * stride + tap * between - before for position in range(new_size) for tap in range(taps))
    return sum(1 for place in places if place % dilation == 0 and 0 <= place // dilation < size)

"""Backward passes that keep little."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from fgnet_jax.models.ops import switches


def remat(fn: Callable[..., jax.Array], *static: Any) -> Callable[..., jax.Array]:
    """`fn` of a map and other arrays, of which the backward pass keeps nothing but these arguments.

    For what costs next to nothing to compute again: products and sums of maps, and all of what is linear, such as a
    convolution, which the backward pass need not compute again at all.

    On CPUs the gradient of the map also waits for those of the other arguments. XLA's scheduler there takes what frees
    most memory at once, and no single one of several sums over a map does: it would keep all maps to the end.

    Args:
      fn: A pure function of a map, other arrays, and `static`.
      static: What `fn` takes after the arrays.
    """
    if not switches.is_on("lean"):
        return lambda *arrays: fn(*arrays, *static)
    kept = jax.checkpoint(lambda *arrays: fn(*arrays, *static))
    return (lambda *arrays: kept(*_in_order(*arrays))) if jax.default_backend() == "cpu" else kept


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _GradientMask:
    """Of which arguments somebody wants the gradient: it must not be computed for the order's sake."""

    others: tuple[bool, ...]


@jax.custom_vjp
def _in_order(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return arrays


def _forward(x: Any, *others: Any) -> tuple[tuple[jax.Array, ...], _GradientMask]:
    return (x.value, *(other.value for other in others)), _GradientMask(tuple(other.perturbed for other in others))


def _backward(wanted: _GradientMask, gradients: Sequence[Any]) -> tuple[Any, ...]:
    of_x, *of_others = (None if isinstance(each, SymbolicZero) else each for each in gradients)
    if of_x is not None:
        for each, is_wanted in zip(of_others, wanted.others, strict=True):
            if each is not None and is_wanted:
                of_x = of_x * (1 + 0 * each.sum()).astype(of_x.dtype)  # times one, but not before the sum is known
    return of_x, *of_others


_in_order.defvjp(_forward, _backward, symbolic_zeros=True)

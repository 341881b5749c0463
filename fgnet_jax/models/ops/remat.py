"""Rematerialisation of cheap operations: the backward pass keeps their arguments and recomputes the rest."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero

from fgnet_jax.models.ops import platforms, switches

Perturbed = Any
"""An argument with `value` and `perturbed`, as JAX passes it under `symbolic_zeros`: it has no public type for it."""
Gradient = jax.Array | SymbolicZero
"""A result's gradient, or the mark that it is zero."""


def remat(fn: Callable[..., jax.Array], *static: object) -> Callable[..., jax.Array]:
    """Wrap a function of a map and other arrays, so that the backward pass keeps nothing but these arguments.

    It is meant for operations that cost little to recompute, such as products and sums of maps, and for linear ones,
    such as a convolution, which the backward pass need not recompute at all.

    On CPUs the map's gradient also waits for those of the other arguments. XLA's scheduler there runs first what frees
    most memory at once, and none of several sums over a map does so alone: it would keep all maps to the end.

    Args:
      fn: A pure function of a map, other arrays, and `static`.
      *static: Arguments of `fn` after the arrays.

    Returns:
      A function of the map and the other arrays.
    """
    if not switches.is_on("remat"):
        return lambda *arrays: fn(*arrays, *static)
    checkpointed = jax.checkpoint(lambda *arrays: fn(*arrays, *static))
    if platforms.current() != "cpu":
        return checkpointed
    return lambda *arrays: checkpointed(*_in_order(*arrays))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _GradientMask:
    """Which arguments need a gradient: others' must not be computed just to establish the order.

    Attributes:
      others: For each argument but the map, whether its gradient is used.
    """

    others: tuple[bool, ...]


@jax.custom_vjp
def _in_order(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Return the arrays; in the backward pass, the first one's gradient is computed last."""
    return arrays


def _forward(x: Perturbed, *others: Perturbed) -> tuple[tuple[jax.Array, ...], _GradientMask]:
    return (x.value, *(other.value for other in others)), _GradientMask(tuple(other.perturbed for other in others))


def _backward(mask: _GradientMask, gradients: Sequence[Gradient]) -> tuple[jax.Array | None, ...]:
    of_x, *of_others = (None if isinstance(each, SymbolicZero) else each for each in gradients)
    if of_x is not None:
        for each, is_used in zip(of_others, mask.others, strict=True):
            if each is not None and is_used:
                of_x = of_x * (1 + 0 * each.sum()).astype(of_x.dtype)  # times one, but only once the sum is known
    return of_x, *of_others


_in_order.defvjp(_forward, _backward, symbolic_zeros=True)

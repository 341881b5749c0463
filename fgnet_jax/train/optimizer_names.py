"""Optimisers of optax by their names, with the arguments that they take."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

_RATE, _DECAY = "learning_rate", "weight_decay"

_NOT_OFFERED = {
    "lbfgs",  # evaluates the loss several times a step
    "noisy_sgd",  # carries a key for random numbers, which no checkpoint holds
    "optimistic_adam",  # deprecated: optimistic_adam_v2
    "rprop",  # takes no schedule as its rate
    "sm3",  # nor does this one
}
"""Optimisers that no run can use. Those of `optax.contrib` are experimental, and some evaluate with other weights."""


def _offered() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """Return the functions of optax that make an optimiser of a learning rate and nothing else."""
    found = {}
    for name, make in sorted(vars(optax).items()):
        is_function = inspect.isfunction(make) or isinstance(make, functools.partial)
        if is_function and not name.startswith(("_", "scale_")) and name not in _NOT_OFFERED:
            parameters = list(inspect.signature(make).parameters.values())
            if parameters and parameters[0].name == _RATE and all(p.default is not p.empty for p in parameters[1:]):
                found[name] = make
    return found


OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = _offered()
"""Every optimiser that `optim.name` may name."""


@functools.cache
def _arguments(name: str) -> tuple[str, ...]:
    return tuple(inspect.signature(OPTIMIZERS[name]).parameters)


def check(name: str, options: Sequence[tuple[str, Any]]) -> None:
    """Refuse an optimiser that is not known, or an argument that it does not take, by its name or its value.

    Raises:
      ValueError: naming `optim.name` or `optim.options`, with the nearest name there is.
    """
    if name not in OPTIMIZERS:
        raise ValueError(
            f'optim.name must be "adamw" or another optimiser of optax, got {name!r}{_hint(name, OPTIMIZERS)}; '
            f"there are {', '.join(OPTIMIZERS)}"
        )
    own = [word for word in _arguments(name) if word not in (_RATE, _DECAY)]
    for option, _ in options:
        if option in (_RATE, _DECAY):
            key = {_RATE: "optim.lr", _DECAY: "optim.weight_decay"}[option]
            raise ValueError(f"optim.options: {option} is set by {key}")
        if option not in own:
            taken = f"optax.{name} takes {', '.join(own) or 'none'}"
            raise ValueError(f"optim.options: optax.{name} has no argument {option!r}{_hint(option, own)}; {taken}")
        if [other for other, _ in options].count(option) > 1:
            raise ValueError(f"optim.options: {option!r} is named twice")
    if options:
        _check_values(name, options)


def _check_values(name: str, options: Sequence[tuple[str, Any]]) -> None:
    """Refuse values that the optimiser cannot compute an update with, which it may notice in the first step alone."""
    tx = build(name, 1.0, weight_decay=0.0, options=options)
    try:
        hash(tuple(options))  # programs are kept by what they were compiled for
        jax.eval_shape(
            lambda params: tx.update(params, tx.init(params), params), {"x": jax.ShapeDtypeStruct((2, 2), jnp.float32)}
        )
    except (TypeError, ValueError) as error:
        raise _not_taken(name, options, error) from error


def _hint(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def decays(name: str) -> bool:
    """Return whether an optimiser has weight decay."""
    return _DECAY in _arguments(name)


def build(
    name: str, rate: optax.ScalarOrSchedule, *, weight_decay: float, options: Sequence[tuple[str, Any]]
) -> optax.GradientTransformation:
    """Build an optimiser.

    Args:
      name: One of `OPTIMIZERS`.
      rate: Its learning rate.
      weight_decay: Where it has one.
      options: Further arguments, as (name, value).

    Raises:
      ValueError: An argument has a value that the optimiser does not take.
    """
    decay = {_DECAY: weight_decay} if decays(name) else {}
    try:
        return OPTIMIZERS[name](rate, **decay, **dict(options))
    except (TypeError, ValueError) as error:
        raise _not_taken(name, options, error) from error


def _not_taken(name: str, options: Sequence[tuple[str, Any]], error: Exception) -> ValueError:
    text = str(error).split("\n", 1)[0]
    return ValueError(f"optim.options: optax.{name} does not take {dict(options)}: {text}")

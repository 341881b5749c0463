"""Partial evaluation: what a program computes from its weights alone is computed once, not with every batch.

Layers are written once, for training too: they convert kernels to the number format of computation, transpose and stack
them, fold normalisations into them and add up their squares. At inference, none of it depends on the images. `split`
cuts a program in two, before anything is compiled: one that prepares the weights, and one that does the rest.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

Tree = Any
"""A pytree of arrays, or of `jax.ShapeDtypeStruct`."""

_CALLS = ("jit", "pjit", "closed_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call")
"""Primitives that do what the program in one of their parameters does."""

_OPAQUE = ("shard_map",)
"""Primitives that hold a program for each device, which stays as it is; JAX's versions differ in how they are bound."""

_MAX_GROWTH = 4
"""How many times larger than what it is computed from a prepared array may be."""

_LATE = ("rev",)
"""Primitives that stay where they are: by a reversed kernel, XLA for GPUs knows a transposed convolution, which it has
cuDNN compute without multiplying zeros."""


def split(
    fn: Callable[..., Tree], known: Tree, *rest: Tree
) -> tuple[Callable[[Tree], list[jax.Array]], Callable[..., Tree]]:
    """Split a pure function of (known, *rest) into `prepare` and `finish`: finish(prepare(known), *rest) is its result.

    `prepare` does all that depends on `known` and nothing else, except where that would make arrays much larger, such
    as a bias broadcast to the size of a map: moving such an array takes longer than computing it.

    Args:
      fn: The function, of pytrees of arrays.
      known: Shapes and dtypes of its first argument.
      *rest: Shapes and dtypes of the others.
    """
    program, shape = jax.make_jaxpr(_inlined(fn, (known, *rest)), return_shape=True)(known, *rest)
    jaxpr, count = program.jaxpr, len(jax.tree.leaves(known))
    cut = _cut(jaxpr, frozenset(jaxpr.invars[:count]))

    def prepare(known: Tree) -> list[jax.Array]:
        values = dict(zip(jaxpr.invars, jax.tree.leaves(known), strict=False))
        _run(cut.early, values)
        return [values[var] for var in cut.passed]

    def finish(prepared: list[jax.Array], *rest: Tree) -> Tree:
        values = dict(zip(cut.passed, prepared, strict=True)) | dict(zip(jaxpr.constvars, program.consts, strict=True))
        values |= dict(zip(jaxpr.invars[count:], jax.tree.leaves(rest), strict=True))
        _run(cut.late, values)
        return jax.tree.unflatten(jax.tree.structure(shape), [_read(atom, values) for atom in jaxpr.outvars])

    return prepare, finish


@dataclasses.dataclass(frozen=True)
class _Cut:
    """A program in two parts.

    Attributes:
      early: Equations that depend on what is known alone.
      passed: Variables that the second part reads of the first one's.
      late: The other equations; and those of the first part that are computed again, since their results are larger
        than what they are computed from.
    """

    early: list[JaxprEqn]
    passed: list[Var]
    late: list[JaxprEqn]


def _cut(jaxpr: Jaxpr, known: frozenset[Var]) -> _Cut:
    """Cut a program where its arrays are small."""
    movable = _movable(jaxpr, known)
    late = {id(equation) for equation in jaxpr.eqns} - {id(equation) for equation in movable}
    sources = {var: _bytes([var]) for var in known}
    for equation in movable:
        size = sum(sources.get(var, 0) for var in _variables(equation.invars))
        sources.update({var: min(size, _bytes([var])) for var in equation.outvars})
    needed = _variables(jaxpr.outvars).union(*(_variables(each.invars) for each in jaxpr.eqns if id(each) in late))
    for equation in reversed(movable):
        if any(var in needed and _bytes([var]) > _MAX_GROWTH * sources[var] for var in equation.outvars):
            late.add(id(equation))
            needed |= _variables(equation.invars)
    rest = [equation for equation in jaxpr.eqns if id(equation) in late]
    passed = (needed & sources.keys()).difference(*(equation.outvars for equation in rest))
    return _Cut(movable, sorted(passed, key=_order(jaxpr).__getitem__), rest)


def _movable(jaxpr: Jaxpr, known: frozenset[Var]) -> list[JaxprEqn]:
    """Return the equations that depend on what is known, and on nothing else."""
    known_now, movable = set(known), []
    for equation in jaxpr.eqns:
        inputs, stays = _variables(equation.invars), equation.effects or equation.primitive.name in _LATE
        if inputs and inputs <= known_now and not stays:  # XLA itself computes what has no inputs
            known_now.update(equation.outvars)
            movable.append(equation)
    return movable


def _order(jaxpr: Jaxpr) -> dict[Var, int]:
    """Return the place of each variable among those that a program defines."""
    defined = [*jaxpr.invars, *(var for equation in jaxpr.eqns for var in equation.outvars)]
    return {var: k for k, var in enumerate(defined)}


def _variables(atoms: Sequence[Var | Literal]) -> set[Var]:
    return {atom for atom in atoms if isinstance(atom, Var)}


def _bytes(atoms: Sequence[Var | Literal]) -> int:
    """Return the size of arrays, each counted once."""
    arrays: list[Any] = [var.aval for var in _variables(atoms)]
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)


def _inlined(fn: Callable[..., Tree], shapes: Sequence[Tree]) -> Callable[..., Tree]:
    """Return a function that does what `fn` does without calls of other programs, so that each can be cut too."""
    program, shape = jax.make_jaxpr(fn, return_shape=True)(*shapes)

    def inlined(*args: Tree) -> Tree:
        results = _evaluate(program.jaxpr, program.consts, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return inlined


def _evaluate(jaxpr: Jaxpr, consts: Sequence[jax.Array], args: Sequence[jax.Array]) -> list[jax.Array]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))
    _run(jaxpr.eqns, values)
    return [_read(atom, values) for atom in jaxpr.outvars]


def _run(equations: Sequence[JaxprEqn], values: dict[Var, jax.Array]) -> None:
    """Evaluate equations in order, and add their results to the values."""
    for equation in equations:
        arguments = [_read(atom, values) for atom in equation.invars]
        values.update(zip(equation.outvars, _call(equation, arguments), strict=True))


def _call(equation: JaxprEqn, arguments: list[jax.Array]) -> list[jax.Array]:
    if equation.primitive.name in _CALLS:
        called: Any = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        return _evaluate(getattr(called, "jaxpr", called), getattr(called, "consts", ()), arguments)
    if equation.primitive.name in _OPAQUE:
        return _as_program(equation, arguments)
    results = equation.primitive.bind(*arguments, **equation.params)
    return results if equation.primitive.multiple_results else [results]


def _as_program(equation: JaxprEqn, arguments: Sequence[jax.Array]) -> list[jax.Array]:
    """Evaluate an equation as a program of its own."""
    values = {atom: value for atom, value in zip(equation.invars, arguments, strict=True) if isinstance(atom, Var)}
    program = Jaxpr([], [*values], equation.outvars, [equation])
    return jaxpr_as_fun(ClosedJaxpr(program, []))(*values.values())


def _read(atom: Var | Literal, values: dict[Var, jax.Array]) -> jax.Array:
    return cast(jax.Array, atom.val) if isinstance(atom, Literal) else values[atom]

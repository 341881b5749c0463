"""Gradients computed twice, so that they are never held at once: for chips where they do not fit beside the state.

Clipping scales every gradient by a norm that is known only after the last of them. Here a first backward pass keeps
nothing of them but that norm; a second one computes them again, and each link of the chain is moved as soon as its own
gradients are there. Only then does it go on to the link before.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

Arrays = dict[str, Any]

_LARGE = 1 << 18
"""Numbers in a parameter from which on it is moved strip by strip: a loop, which XLA neither splits nor puts off."""

_STRIPS = 8
"""Most strips of a parameter."""


@dataclasses.dataclass(frozen=True)
class Link:
    """A link of the chain from a batch to its loss.

    Attributes:
      paths: Its trained parameters.
      run: (these parameters, what the link before made, what is carried along) to (what it makes, what is carried
        on). What is carried has no gradient.
    """

    paths: tuple[str, ...]
    run: Callable[[Arrays, Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Moved:
    """What an update gives.

    Attributes:
      loss: Scalar, what the last link made.
      norm: Global norm of all gradients, before clipping.
      carried: What the last link carried on.
      params: The trained parameters, moved.
      opt_state: The optimiser's state, moved.
    """

    loss: jax.Array
    norm: jax.Array
    carried: Any
    params: Arrays
    opt_state: Any


def update(
    chain: Sequence[Link],
    tx: optax.GradientTransformationExtraArgs,
    params: Arrays,
    opt_state: Any,
    x: Any,
    carried: Any,
) -> Moved:
    """One update by the gradients of a chain's loss.

    Args:
      chain: Links; the last one makes the loss.
      tx: A transformation that works number by number but for a global norm, which it takes as `norm`.
      params: All links' parameters by path.
      opt_state: Of `tx`, over `params`.
      x: What the first link takes.
      carried: What the first link takes along.
    """
    while not chain[0].paths:  # nothing is trained so far back
        x, carried = chain[0].run({}, x, carried)
        chain = chain[1:]

    def square(grads: Arrays, one: jax.Array) -> tuple[jax.Array, Any]:
        total = optax.tree.norm(grads, squared=True) * one
        return total, total

    _, _, squares = _backwards(chain, params, x, carried, jnp.ones(()), square)
    norm = jnp.sqrt(functools.reduce(jnp.add, squares))

    def move(grads: Arrays, one: jax.Array) -> tuple[tuple[Arrays, Any], Any]:
        return _moved(
            tx, norm * one, grads, {path: params[path] for path in grads}, _of(opt_state, params, list(grads))
        )

    loss, carried, moved = _backwards(chain, params, x, carried, _one(norm), move)
    found = {path: value for here, _ in moved for path, value in here.items()}
    joined = _joined(params, [state for _, state in moved])
    return Moved(loss, norm, carried, {path: found[path] for path in params}, joined)


def _backwards(
    chain: Sequence[Link],
    params: Arrays,
    x: Any,
    carried: Any,
    begin: jax.Array,
    take: Callable[[Arrays, jax.Array], tuple[Any, Any]],
):
    """Loss, what was carried on, and what `take` made of each link's gradients before the next ones were computed.

    Between forward and backward pass nothing is kept but what the links hand to each other. All begins when `begin`, a
    one, is known. `take` gets gradients and a one that is not known before all of the link's are, and also returns
    what is known only when it is done.
    """
    # XLA would take equal runs of a link for one, and keep what it made: none has the arguments of another.
    taken, made = [], [_after((x, carried), begin)]
    for link in chain:
        made.append(link.run(_after(_own(link, params), begin), *made[-1]))
    loss, moved = made.pop()
    of_x = jnp.ones_like(loss) * begin
    for link, now in zip(reversed(chain), reversed(made), strict=True):
        own, (x, carried) = _after((_own(link, params), now), _one(of_x))
        _, back, _ = jax.vjp(lambda own, x, link=link, carried=carried: link.run(own, x, carried), own, x, has_aux=True)
        grads, of_x = back(of_x)
        result, done = take(grads, _one((grads, of_x)))
        taken.append(result)
        of_x = _after(of_x, _one(done))
    return loss, moved, taken


def _own(link: Link, params: Arrays) -> Arrays:
    return {path: params[path] for path in link.paths}


def _one(arrays: Any) -> jax.Array:
    """1, but not before all of these are known."""
    sums = [leaf.sum().astype(jnp.float32) for leaf in jax.tree.leaves(arrays)]
    return 1 + 0 * functools.reduce(jnp.add, sums)  # not to be simplified: it would be NaN for what is not finite


def _after(arrays: Any, one: jax.Array) -> Any:
    """The same numbers, but not before `one` is known."""
    return jax.tree.map(lambda a: a * one.astype(a.dtype), arrays)


def _moved(tx, norm: jax.Array, grads: Arrays, params: Arrays, opt_state: Any):
    """Parameters and state of one link after the update, and what is known only when the large ones are done."""
    large = [path for path, value in params.items() if value.size >= _LARGE and _strips(value) > 1]
    small = [path for path in params if path not in large]
    moved, states, done = {}, [], [jnp.zeros(())]
    for path in large:
        state = _of(opt_state, params, [path])
        moved[path], state = _moved_in_strips(tx, norm, path, grads[path], params[path], state)
        states.append(state)
        done.append(moved[path].ravel()[0])
    few = {path: params[path] for path in small}
    updates, state = tx.update({path: grads[path] for path in small}, _of(opt_state, params, small), few, norm=norm)
    moved |= cast(Arrays, optax.apply_updates(few, updates))
    return (moved, _joined(params, [*states, state])), done


def _moved_in_strips(tx, norm: jax.Array, path: str, grad: jax.Array, param: jax.Array, opt_state: Any):
    """As `_moved`, of one parameter, strip by strip and in place."""
    count = _strips(param)
    leaves, shape = jax.tree.flatten(opt_state)
    is_own = [leaf.shape == param.shape for leaf in leaves]

    def strip(array: jax.Array, index: Any) -> jax.Array:
        size = array.shape[0] // count
        return jax.lax.dynamic_slice_in_dim(array, index * size, size)

    def body(index: Any, now: tuple[jax.Array, list[jax.Array]]):
        param, leaves = now
        own = [strip(leaf, index) if own else leaf for leaf, own in zip(leaves, is_own, strict=True)]
        here = {path: strip(param, index)}
        updates, state = tx.update({path: strip(grad, index)}, jax.tree.unflatten(shape, own), here, norm=norm)
        moved = cast(Arrays, optax.apply_updates(here, updates))[path]
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=index * moved.shape[0], axis=0)
        kept = zip(leaves, jax.tree.leaves(state), is_own, strict=True)
        return put(param, moved), [put(old, new) if own else old for old, new, own in kept]

    param, leaves = jax.lax.fori_loop(0, count, body, (param, leaves))
    return param, jax.tree.unflatten(shape, leaves)


def _strips(param: jax.Array) -> int:
    """Strips along the first axis that a parameter can be cut into."""
    return max((n for n in range(1, _STRIPS + 1) if param.shape and param.shape[0] % n == 0), default=1)


def _is_by_path(params: Mapping[str, Any]) -> Callable[[Any], bool]:
    return lambda node: isinstance(node, dict) and node.keys() <= params.keys()


def _of(opt_state: Any, params: Mapping[str, Any], paths: Sequence[str]) -> Any:
    """The optimiser's state of these parameters: its dictionaries over `params` without the rest."""
    is_by_path = _is_by_path(params)

    def pick(node: Any) -> Any:
        return {path: node[path] for path in paths} if is_by_path(node) else node

    return jax.tree.map(pick, opt_state, is_leaf=is_by_path)


def _joined(params: Mapping[str, Any], states: Sequence[Any]) -> Any:
    """One state out of those of some of `params` each; what belongs to no parameter, a count, is the last one's."""
    is_by_path = _is_by_path(params)

    def join(*nodes: Any) -> Any:
        if not is_by_path(nodes[0]):
            return nodes[-1]
        found = {path: value for node in nodes for path, value in node.items()}
        return {path: found[path] for path in params if path in found}

    return jax.tree.map(join, *states, is_leaf=is_by_path)

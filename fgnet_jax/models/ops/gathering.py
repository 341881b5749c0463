"""Kernels that are split over devices: a layer gathers its own where it computes, and again in the backward pass.

Kernels go to the images, not images to the kernels: activations stay split by image. Whoever traces a program for
kernels that are split says how they are (`split_as`); without that, nothing here does anything.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, TypeVar

import jax
from jax.sharding import NamedSharding, PartitionSpec

P = ParamSpec("P")
R = TypeVar("R")

Placement = Callable[[tuple[int, ...]], NamedSharding]
"""A function from the shape of a kernel to its placement on the devices."""

_placement: contextvars.ContextVar[Placement | None] = contextvars.ContextVar("placement", default=None)


@contextlib.contextmanager
def split_as(placement: Placement | None) -> Iterator[None]:
    """Name the placement of kernels in programs that are traced in the block; None where every device has all."""
    token = _placement.set(placement)
    try:
        yield
    finally:
        _placement.reset(token)


def traced_as(placement: Placement | None, fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function that does what `fn` does, and is always traced for kernels placed like this."""

    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        with split_as(placement):
            return fn(*args, **kwargs)

    return traced


def is_split() -> bool:
    """Return whether kernels are split over the devices that are traced for."""
    return _placement.get() is not None


def whole(kernel: jax.Array) -> jax.Array:
    """Gather a kernel on every device; in the backward pass, each device gets its share of the summed gradient."""
    split = _split(kernel)
    if split is None:
        return kernel
    replicated = NamedSharding(split.mesh, PartitionSpec())
    # A gradient goes through both constraints, too: it is summed over all devices, of which each keeps its share. With
    # the outer one alone, the partitioner would split the gradient's computation, and exchange activations for it.
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(kernel, split), replicated)


def gathered(fn: Callable[..., jax.Array], *static: object) -> Callable[..., jax.Array]:
    """Wrap a function of a map and kernels, so that it gets whole kernels, of which the backward pass keeps none.

    Each device computes what belongs to its own images, and gets its share of the sum of the kernels' gradients. The
    partitioner has no say in it: it may prefer to split the computation in another way, and exchange activations.

    Args:
      fn: A pure function of a map (N, ...), kernels, and `static`, that maps each image alone.
      *static: Arguments of `fn` after the arrays.

    Returns:
      A function of the map and the kernels.
    """

    def on_kernels(x: jax.Array, *kernels: jax.Array) -> jax.Array:
        placements = [_split(kernel) for kernel in kernels]
        split = next(filter(None, placements), None)
        if split is None:
            return fn(x, *kernels, *static)
        images = PartitionSpec(split.spec[-2])
        specs = [placement.spec if placement else PartitionSpec() for placement in placements]
        # Neither custom gradients nor Pallas say on which devices their results differ, so that it is not checked.
        by_image = jax.shard_map(
            functools.partial(_on_shares, fn, static, specs),
            mesh=split.mesh,
            in_specs=(images, *specs),
            out_specs=images,
            check_vma=False,
        )
        return jax.checkpoint(by_image)(x, *kernels)

    return on_kernels


def _on_shares(
    fn: Callable[..., jax.Array],
    static: Sequence[object],
    specs: Sequence[PartitionSpec],
    x: jax.Array,
    *shares: jax.Array,
) -> jax.Array:
    """Apply `fn` to this device's images and to whole kernels, of which it has shares where `specs` says so."""

    def gather(share: jax.Array, spec: PartitionSpec) -> jax.Array:
        return jax.lax.all_gather(share, spec[-2], axis=share.ndim - 2, tiled=True) if spec else share

    return fn(x, *map(gather, shares, specs), *static)


def _split(kernel: jax.Array) -> NamedSharding | None:
    """Return the placement of a kernel that is split, or None."""
    placement = _placement.get()
    if placement is None:
        return None
    own = placement(kernel.shape)
    return None if own.is_fully_replicated else own

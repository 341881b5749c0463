"""Kernels that are split over devices: a layer gathers its own where it computes, and again in the backward pass.

Kernels go to the images, not images to the kernels: activations stay split by image. Whoever traces a program for
several devices says how kernels and images are split (`split_as`); without that, nothing here does anything.
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
_images: contextvars.ContextVar[NamedSharding | None] = contextvars.ContextVar("images", default=None)


@contextlib.contextmanager
def split_as(kernels: Placement | None, images: NamedSharding | None = None) -> Iterator[None]:
    """Name placements in programs that are traced in the block.

    Args:
      kernels: The placement of kernels, or None where every device has all of them.
      images: The placement of images, or None where one device has all of them.
    """
    of_kernels, of_images = _placement.set(kernels), _images.set(images)
    try:
        yield
    finally:
        _placement.reset(of_kernels)
        _images.reset(of_images)


def traced_as(kernels: Placement | None, images: NamedSharding | None, fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function that does what `fn` does, and is always traced for kernels and images placed like this."""

    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        with split_as(kernels, images):
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
        specs = [placement.spec if placement else PartitionSpec() for placement in placements]
        images = NamedSharding(split.mesh, PartitionSpec(split.spec[-2]))
        return jax.checkpoint(_mapped(functools.partial(_on_shares, fn, static, specs), images, specs))(x, *kernels)

    return on_kernels


def by_image(fn: Callable[..., jax.Array], *static: object) -> Callable[..., jax.Array]:
    """Wrap a function that the partitioner cannot split by image: a convolution in groups, a layout's constraint.

    It does what `gathered` does, and each device computes its own images where kernels are whole, too: the partitioner
    would gather all images on every device.
    """

    def on_images(x: jax.Array, *kernels: jax.Array) -> jax.Array:
        images = _images.get()
        if images is None or any(map(_split, kernels)):
            return gathered(fn, *static)(x, *kernels)
        return _mapped(lambda *arrays: fn(*arrays, *static), images, [PartitionSpec()] * len(kernels))(x, *kernels)

    return on_images


def _mapped(
    fn: Callable[..., jax.Array], images: NamedSharding, specs: Sequence[PartitionSpec]
) -> Callable[..., jax.Array]:
    """Return a function of a map and kernels that are split like this, each device's shares of which `fn` gets."""
    # Neither custom gradients nor Pallas say on which devices their results differ, so that it is not checked.
    return jax.shard_map(fn, mesh=images.mesh, in_specs=(images.spec, *specs), out_specs=images.spec, check_vma=False)


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

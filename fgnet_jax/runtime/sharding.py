"""Placement of arrays on devices: one mesh axis, the batch split over it, parameters replicated or split too."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"
"""Name of the mesh axis."""

SMALLEST_SPLIT = 2**13
"""Values of the smallest kernel that is split: gathering a smaller one takes longer than its memory is worth."""

Tree = Any
"""A pytree of arrays, of their shapes or of their placements: JAX has no type for it."""
Device = Any
"""A device of JAX: type checkers do not accept its class."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Placement of batches and states.

    Attributes:
      mesh: All devices of all processes, in one axis.
      shard_params: Whether kernels and their optimiser state are split over the devices (each holds a share, and
        gathers a layer's where it computes), for chips of little memory; otherwise each device holds all of them.
    """

    mesh: Mesh
    shard_params: bool = False

    @property
    def platform(self) -> str:
        """The kind of its devices: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    @property
    def batch(self) -> NamedSharding:
        """Placement that splits the batch axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def images(self) -> NamedSharding | None:
        """The same, or None if one device has all of it."""
        return self.batch if self.mesh.size > 1 else None

    @property
    def replicated(self) -> NamedSharding:
        """Placement of a whole copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def of(self, tree: Tree) -> Tree:
        """Return the placement of every array (or `jax.ShapeDtypeStruct`) of a state; paths tell kernels."""
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: self.of_kernel(leaf.shape) if _is_kernel(path) else self.replicated, tree
        )

    @property
    def kernels(self) -> Callable[[tuple[int, ...]], NamedSharding] | None:
        """The placement of kernels by their shape (`of_kernel`), or None if every device has all of them."""
        return self.of_kernel if self.shard_params else None

    def of_kernel(self, shape: tuple[int, ...]) -> NamedSharding:
        """Return the placement of a kernel (..., in, out): split by input channels, if they divide.

        Kernels side by side, as one of more output channels, are split alike. TPUs would fill up a share of the output
        channels to 128. What an optimiser carries instead of a whole kernel, such as its rows' means, is not split.
        """
        if not self.shard_params or len(shape) < 2 or shape[-2] % self.mesh.size or math.prod(shape) < SMALLEST_SPLIT:
            return self.replicated
        return NamedSharding(self.mesh, PartitionSpec(*[None] * (len(shape) - 2), AXIS, None))


def _is_kernel(path: tuple[Any, ...]) -> bool:
    """Return whether this is the path of a kernel, or of the optimiser's state of one."""
    return str(getattr(path[-1], "key", "")).endswith("/kernel") if path else False


def create(shard_params: bool = False, devices: Sequence[Device] | None = None) -> Sharding:
    """Return a placement over all devices, or over these."""
    devices = jax.devices() if devices is None else devices
    # Explicit axes (the default since jax 0.9) would need shardings spelled out inside the model.
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    return Sharding(mesh, shard_params)


def place(tree: Tree, shardings: Tree) -> Tree:
    """Put host arrays, the same in every process, on the devices of all processes.

    Args:
      tree: A pytree of NumPy arrays.
      shardings: One placement for all, or a pytree of them.
    """

    def put(sharding: NamedSharding, x: np.ndarray) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda x: put(shardings, x), tree)
    return jax.tree.map(put, shardings, tree)


def global_batch(batch: Mapping[str, np.ndarray], sharding: Sharding) -> dict[str, jax.Array]:
    """Assemble a batch, of which every process has its share, into arrays over all devices."""
    return {name: jax.make_array_from_process_local_data(sharding.batch, x) for name, x in batch.items()}

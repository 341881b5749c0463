"""Placement of arrays on devices: one mesh axis, the batch split over it, parameters replicated or split too."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"
"""Name of the mesh axis."""

Tree = Any
"""A pytree of arrays, of their shapes or of their placements: JAX has no type for it."""
Device = Any
"""A device of JAX: type checkers do not accept its class."""


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Placement of batches and states.

    Attributes:
      mesh: All devices of all processes, in one axis.
      shard_params: Whether parameters and optimiser state are split over the devices (each holds a share and gathers
        what a layer needs), for chips of little memory; otherwise each device holds all of them.
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
    def replicated(self) -> NamedSharding:
        """Placement of a whole copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def of(self, tree: Tree) -> Tree:
        """Return the placement of every array (or `jax.ShapeDtypeStruct`) of a state."""
        return jax.tree.map(lambda leaf: self._of_array(leaf.shape), tree)

    def _of_array(self, shape: tuple[int, ...]) -> NamedSharding:
        count = self.mesh.size
        axes = [axis for axis, size in enumerate(shape) if size % count == 0]
        if not self.shard_params or not axes or np.prod(shape) < 2**12:
            return self.replicated
        # Of the axes that divide, the longest: it splits into the largest pieces.
        longest = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(
            self.mesh, PartitionSpec(*[AXIS if axis == longest else None for axis in range(len(shape))])
        )


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

"""How arrays lie on devices: one mesh axis, the batch split over it, parameters whole or split too."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


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
    def batch(self) -> NamedSharding:
        """The batch axis split over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def whole(self) -> NamedSharding:
        """On every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    def of(self, tree: Any) -> Any:
        """Placement of every array (or `jax.ShapeDtypeStruct`) of a state."""
        return jax.tree.map(lambda leaf: self._of_array(leaf.shape), tree)

    def _of_array(self, shape: tuple[int, ...]) -> NamedSharding:
        count = self.mesh.size
        axes = [axis for axis, size in enumerate(shape) if size % count == 0]
        if not self.shard_params or not axes or np.prod(shape) < 2**12:
            return self.whole
        # Of the axes that divide, the longest: it splits into the largest pieces.
        longest = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(
            self.mesh, PartitionSpec(*[AXIS if axis == longest else None for axis in range(len(shape))])
        )


def create(shard_params: bool = False, devices: Sequence[Any] | None = None) -> Sharding:
    """Placement over all devices, or these."""
    devices = jax.devices() if devices is None else devices
    # Explicit axes (the default since jax 0.9) would want shardings spelled out inside the model.
    mesh = jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    return Sharding(mesh, shard_params)


def place(tree: Any, shardings: Any) -> Any:
    """Host arrays, the same in every process, onto the devices of all processes.

    Args:
      tree: A pytree of NumPy arrays.
      shardings: One placement for all, or a pytree of them.
    """

    def put(sharding, x):
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    if isinstance(shardings, NamedSharding):
        return jax.tree.map(lambda x: put(shardings, x), tree)
    return jax.tree.map(put, shardings, tree)


def global_batch(batch: Mapping[str, np.ndarray], sharding: Sharding) -> dict[str, jax.Array]:
    """A batch of which every process brings its share, as arrays over all devices."""
    return {name: jax.make_array_from_process_local_data(sharding.batch, x) for name, x in batch.items()}

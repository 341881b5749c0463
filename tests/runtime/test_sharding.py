"""Placement of arrays; programs on several devices are tested under multiprocess/."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fgnet_jax.runtime import sharding


def _split(shape, shard_params=True):
    """Return the axis that is split over eight devices, or None."""
    mesh = jax.sharding.AbstractMesh((8,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    placed = sharding.Sharding(mesh, shard_params)  # pyright: ignore[reportArgumentType]
    spec = placed.of({"x": jax.ShapeDtypeStruct(shape, np.float32)})["x"].spec
    return spec.index(sharding.AXIS) if sharding.AXIS in spec else None


def test_large_parameters_are_split_along_their_longest_axis_that_divides():
    """For instance of a kernel (3, 3, in, out)."""
    assert _split((3, 3, 64, 512)) == 3
    assert _split((3, 3, 512, 36)) == 2
    assert _split((512, 512)) == 0


def test_what_is_small_or_does_not_divide_is_replicated():
    """Biases and the step counter, a kernel of odd sizes, and everything if parameters are not to be sharded."""
    assert _split(()) is None
    assert _split((512,)) is None
    assert _split((5, 5, 36, 36)) is None
    assert _split((512, 512), shard_params=False) is None


def test_arrays_are_placed_as_they_are():
    """Trees of host arrays, by one placement for all or by one each; scalars too."""
    layout = sharding.create()
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": {"c": np.int32(4)}}
    for placed in (sharding.place(tree, layout.replicated), sharding.place(tree, layout.of(tree))):
        jax.tree.map(np.testing.assert_array_equal, placed, tree)
        assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(placed))


def test_the_batch_axis_is_split():
    """Every process has its share."""
    layout = sharding.create()
    batch = sharding.global_batch({"image": np.zeros((4, 2, 2, 3), np.uint8), "valid": np.ones(4, bool)}, layout)
    assert batch["image"].shape == (4, 2, 2, 3) and batch["valid"].dtype == bool
    assert batch["image"].sharding == NamedSharding(layout.mesh, PartitionSpec(sharding.AXIS))

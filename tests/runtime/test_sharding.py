"""Placement of arrays; programs on several devices are tested under multiprocess/."""

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from fgnet_jax.runtime import sharding
from fgnet_jax.train.optimizer import OptimConfig, optimizer


def _layout(devices=8, shard_params=True):
    mesh = jax.sharding.AbstractMesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    return sharding.Sharding(mesh, shard_params)  # pyright: ignore[reportArgumentType]


def _split(shape, *, path="encoder/kernel", devices=8, shard_params=True):
    """Return the axis of an array of this shape at this path that is split over the devices, or None."""
    spec = _layout(devices, shard_params).of({path: jax.ShapeDtypeStruct(shape, np.float32)})[path].spec
    return spec.index(sharding.AXIS) if sharding.AXIS in spec else None


def test_kernels_are_split_by_input_channels():
    """Kernels (3, 3, in, out) and (in, out), also where they have more output channels."""
    assert _split((3, 3, 64, 512)) == 2
    assert _split((3, 3, 512, 36)) == 2
    assert _split((512, 512)) == 0


def test_what_is_small_or_does_not_divide_is_replicated():
    """Kernels of few values or odd sizes, and everything if parameters are not to be sharded."""
    assert _split((64, 64)) is None
    assert _split((5, 5, 36, 36)) is None
    assert _split((3, 3, 512, 512), devices=6) is None
    assert _split((512, 512), shard_params=False) is None


def test_what_is_no_kernel_is_replicated():
    """The step counter, noise maps, statistics, and the constant that synthesis begins with."""
    assert _split((), path="count") is None
    assert _split((1024, 1024), path="generator/convs/15/noise") is None
    assert _split((4, 4, 512), path="generator/constant") is None
    assert _layout().of(jax.ShapeDtypeStruct((512, 512), np.float32)).is_fully_replicated


def test_the_state_of_a_kernel_in_the_optimiser_is_split_like_the_kernel():
    """Whatever the optimiser's rule is; its step counter is not."""
    params = {
        "encoder/conv/kernel": np.zeros((3, 3, 64, 64), np.float32),
        "encoder/conv/bias": np.zeros(64, np.float32),
    }
    state = jax.eval_shape(optimizer(OptimConfig(), 1).init, params)
    split = [place for place in jax.tree.leaves(_layout().of(state)) if not place.is_fully_replicated]
    assert [place.spec.index(sharding.AXIS) for place in split] == [2, 2]  # two moments


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

"""Checkpoints of runs: restored to the bit, and readable on any devices."""

import errno

import jax
import jax.numpy as jnp
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError
from fgnet_jax.runtime import sharding
from fgnet_jax.train import checkpoints, state
from fgnet_jax.train.optimizer import OptimConfig, optimizer


def _state():
    optim = OptimConfig()
    variables = jax.tree.map(jnp.asarray, fgnet.init(TINY))
    return state.create(variables, optim, optimizer(optim, 10))


def test_a_state_is_restored_to_the_bit(tmp_path):
    """Parameters, statistics, moments and counters, with its JSON; the latest two steps are kept."""
    current, layout = _state(), sharding.create()
    with checkpoints.open_manager(tmp_path) as manager:
        for step in (1, 2, 3):
            checkpoints.save_step(manager, step, current, {"best": {"mean_f1": 0.25}})
    with checkpoints.open_manager(tmp_path) as manager:
        assert list(manager.all_steps()) == [2, 3] and manager.latest_step() == 3
        shapes = jax.eval_shape(lambda: current)
        restored, metadata = checkpoints.restore_step(manager, 3, like=shapes, shardings=layout.of(shapes))
    assert metadata == {"best": {"mean_f1": 0.25}}
    assert jax.tree.structure(restored) == jax.tree.structure(current)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), restored, current))


def test_a_damaged_checkpoint_is_named(tmp_path):
    """With the hint to resume from the step before, if there is one."""
    current, layout = _state(), sharding.create()
    shapes = jax.eval_shape(lambda: current)
    with checkpoints.open_manager(tmp_path) as manager:
        for step in (1, 2):
            checkpoints.save_step(manager, step, current, {})
        manager.wait_until_finished()
        for file in (tmp_path / "2/state").rglob("d/*"):
            file.write_bytes(file.read_bytes()[:10])
        with pytest.raises(WeightsError, match="2: damaged checkpoint; delete it to resume from the step before"):
            checkpoints.restore_step(manager, 2, like=shapes, shardings=layout.of(shapes))
        manager.delete(2)
        checkpoints.restore_step(manager, 1, like=shapes, shardings=layout.of(shapes))


def test_a_diverged_state_is_discarded_if_there_is_an_older_one(tmp_path):
    """Otherwise the run would be resumed from it."""
    tree = {"x": jnp.ones(3)}
    with checkpoints.open_manager(tmp_path) as manager:
        assert checkpoints.discard_step(manager, 1) is None
        checkpoints.save_step(manager, 1, tree, {})
        assert checkpoints.discard_step(manager, 1) == 1
        checkpoints.save_step(manager, 2, tree, {})
        assert checkpoints.discard_step(manager, 2) == 1
        assert checkpoints.discard_step(manager, 7) == 1
        assert list(manager.all_steps()) == [1]


def test_a_full_disk_is_distinguished_from_other_errors():
    """By the system's error number, or by Orbax' message."""
    assert checkpoints.is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert checkpoints.is_full_disk(ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os"))
    assert not checkpoints.is_full_disk(OSError(errno.ENOENT, "No such file"))
    assert not checkpoints.is_full_disk(ValueError("shapes differ"))

"""Weights directories and checkpoints of runs: whole or not at all, and readable on any devices."""

import errno

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError, WeightsMeta
from fgnet_jax.runtime import sharding
from fgnet_jax.train import checkpoints, state
from fgnet_jax.train.optimizer import OptimConfig, optimizer

META = WeightsMeta(aus=(1, 2), corpus="disfa", sources=({"file": "a.pt", "sha256": "00"},), extra={"step": 3})
GROUPS = {
    "params": {"a/b": np.arange(6.0).reshape(2, 3)},
    "batch_stats": {"m": np.ones(2)},
    "buffers": {"n": np.ones(1)},
}


def _expected(groups):
    return {g: {k: jax.ShapeDtypeStruct(x.shape, x.dtype) for k, x in group.items()} for g, group in groups.items()}


def test_weights_survive(tmp_path):
    """Arrays by group and path, and what is said of them."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    assert weights.load_meta(tmp_path / "w") == META
    loaded = weights.load_weights(tmp_path / "w", _expected(GROUPS))
    jax.tree.map(np.testing.assert_array_equal, {g: loaded[g] for g in GROUPS}, GROUPS)


def test_weights_are_replaced_and_nothing_else_stays(tmp_path):
    """Also what a run left that was killed in the midst of replacing them."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    for left in ("w.new", "w.old", "w.new.orbax-checkpoint-tmp"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "part").write_bytes(b"1")
    more = GROUPS | {"params": {"a/b": np.zeros((2, 3))}}
    weights.save_weights(tmp_path / "w", more, META)
    assert not weights.load_weights(tmp_path / "w", _expected(GROUPS))["params"]["a/b"].any()
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_an_unfinished_save_is_begun_anew(tmp_path):
    """Of the very first weights."""
    (tmp_path / "w.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "w.orbax-checkpoint-tmp/part").write_bytes(b"1")
    weights.save_weights(tmp_path / "w", GROUPS, META)
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_weights_of_another_network_are_refused(tmp_path):
    """All that differs is listed."""
    weights.save_weights(tmp_path / "w", GROUPS, META)
    other = _expected(GROUPS) | {
        "params": {"a/b": jax.ShapeDtypeStruct((3, 2), float), "c": jax.ShapeDtypeStruct((), float)}
    }
    with pytest.raises(WeightsError, match="(?s)c is missing.*a/b has shape .2, 3., the network wants .3, 2."):
        weights.load_weights(tmp_path / "w", other)


def test_what_is_no_weights_directory_is_refused(tmp_path):
    """Absent, of something else, with a damaged description, with a damaged array."""
    with pytest.raises(WeightsError, match="no such weights directory"):
        weights.load_meta(tmp_path / "none")
    with pytest.raises(WeightsError, match="not a weights directory"):
        weights.load_meta(tmp_path)
    weights.save(tmp_path / "w", TINY, fgnet.init(TINY), META)
    for file in (tmp_path / "w/params").rglob("d/*"):
        file.write_bytes(b"")
    with pytest.raises(WeightsError, match="damaged"):
        weights.load(tmp_path / "w")
    (tmp_path / "w/meta/model.json").write_text('{"aus": ')
    with pytest.raises(WeightsError, match="not the JSON"):
        weights.load(tmp_path / "w")


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
        restored, meta = checkpoints.restore_step(manager, 3, shapes, layout.of(shapes))
    assert meta == {"best": {"mean_f1": 0.25}}
    assert jax.tree.structure(restored) == jax.tree.structure(current)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), restored, current))


def test_a_damaged_checkpoint_is_named(tmp_path):
    """With the way to go on, where there is one."""
    current, layout = _state(), sharding.create()
    shapes = jax.eval_shape(lambda: current)
    with checkpoints.open_manager(tmp_path) as manager:
        for step in (1, 2):
            checkpoints.save_step(manager, step, current, {})
        manager.wait_until_finished()
        for file in (tmp_path / "2/state").rglob("d/*"):
            file.write_bytes(file.read_bytes()[:10])
        with pytest.raises(WeightsError, match="2: damaged checkpoint; delete it to go on from the step before"):
            checkpoints.restore_step(manager, 2, shapes, layout.of(shapes))
        manager.delete(2)
        checkpoints.restore_step(manager, 1, shapes, layout.of(shapes))


def test_a_diverged_state_is_discarded_where_an_older_one_is_there(tmp_path):
    """Otherwise it would be gone on with."""
    tree = {"x": jnp.ones(3)}
    with checkpoints.open_manager(tmp_path) as manager:
        assert checkpoints.discard_step(manager, 1) is None
        checkpoints.save_step(manager, 1, tree, {})
        assert checkpoints.discard_step(manager, 1) == 1
        checkpoints.save_step(manager, 2, tree, {})
        assert checkpoints.discard_step(manager, 2) == 1
        assert checkpoints.discard_step(manager, 7) == 1
        assert list(manager.all_steps()) == [1]


def test_a_full_disk_is_told_from_other_errors():
    """By the system's number, or by Orbax' words."""
    assert checkpoints.is_full_disk(OSError(errno.ENOSPC, "No space left on device"))
    assert checkpoints.is_full_disk(ValueError("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os"))
    assert not checkpoints.is_full_disk(OSError(errno.ENOENT, "No such file"))
    assert not checkpoints.is_full_disk(ValueError("shapes differ"))

"""Checkpoints of runs: restored to the bit, readable on any devices, and passed over where they are damaged."""

import errno
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError
from fgnet_jax.runtime import sharding, sums
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


@pytest.fixture
def two_checkpoints(tmp_path: Path) -> Path:
    """A run's checkpoints of steps 1 and 2: an array of its step, and JSON."""
    with checkpoints.open_manager(tmp_path) as manager:
        for step in (1, 2):
            checkpoints.save_step(manager, step, {"x": jnp.full(1000, step)}, {"best": {"step": step}})
    return tmp_path


def restore(directory: Path) -> checkpoints.Restored | None:
    """Restore the latest intact checkpoint of `two_checkpoints`, as a resumed run does."""
    like = {"x": jax.ShapeDtypeStruct((1000,), jnp.int32)}
    with checkpoints.open_manager(directory) as manager:
        restored = checkpoints.restore_latest(manager, like=like, shardings=sharding.create().of(like))
        assert restored is None or manager.latest_step() == restored.step
        return restored


def largest(directory: Path) -> Path:
    """The file of a checkpoint that holds its values."""
    return max((directory / "state").rglob("d/*"), key=lambda file: file.stat().st_size)


def flip(file: Path) -> None:
    """Change a bit in a file's middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_every_checkpoint_has_sums_of_all_that_is_restored(two_checkpoints):
    """From the moment on at which it has its name."""
    for step in ("1", "2"):
        assert sums.verify(two_checkpoints / step) == []
        names = json.loads((two_checkpoints / step / "sums.json").read_text())["files"]
        files = {str(p.relative_to(two_checkpoints / step)) for p in (two_checkpoints / step).rglob("*") if p.is_file()}
        notes = set(checkpoints.ORBAX_NOTES)  # which of them there are depends on Orbax' version
        assert files - set(names) - notes == {"sums.json"} and not notes & set(names)
    restored = restore(two_checkpoints)
    assert restored and restored.step == 2 and restored.damaged == () and restored.metadata == {"best": {"step": 2}}


@pytest.mark.parametrize("name", ["values", "state/_METADATA", "meta/metadata", "sums.json", "_CHECKPOINT_METADATA"])
def test_a_run_falls_back_to_the_save_before_a_damaged_one(two_checkpoints, name):
    """It says which file is damaged, and puts the checkpoint aside; formerly, a changed value was restored."""
    latest = two_checkpoints / "2"
    file = largest(latest) if name == "values" else latest / name
    flip(file) if name != "_CHECKPOINT_METADATA" else file.write_text("{")
    restored = restore(two_checkpoints)
    assert restored and restored.step == 1 and set(restored.state["x"].tolist()) == {1}
    (line,) = restored.damaged
    assert f"{latest}: damaged checkpoint: {file.relative_to(latest)} is damaged" in line and "\n" not in line
    assert line.endswith("; resuming from step 1, it is 2.damaged now")
    assert (two_checkpoints / "2.damaged/state").is_dir() and not latest.exists()
    again = restore(two_checkpoints)
    assert again and again.step == 1 and again.damaged == ()


def test_damage_of_all_checkpoints_is_one_error(two_checkpoints):
    """They stay where they are."""
    largest(two_checkpoints / "1").unlink()
    flip(largest(two_checkpoints / "2"))
    with pytest.raises(
        WeightsError, match=r"2: damaged checkpoint: state/.*no checkpoint of this run is intact"
    ) as raised:
        restore(two_checkpoints)
    assert "\n" not in str(raised.value) and (two_checkpoints / "1").is_dir() and (two_checkpoints / "2").is_dir()


def test_a_lost_chunk_of_a_checkpoint_without_sums_is_an_error_of_ours(two_checkpoints):
    """Those of before there were sums are restored if TensorStore can read them; Orbax raises a bare Exception."""
    for step in ("1", "2"):
        (two_checkpoints / step / "sums.json").unlink()
    restored = restore(two_checkpoints)
    assert restored and restored.step == 2
    largest(two_checkpoints / "2").unlink()
    restored = restore(two_checkpoints)
    assert restored and restored.step == 1 and "2: damaged checkpoint: without sums" in restored.damaged[0]


def test_a_folder_without_checkpoints_has_none_to_restore(tmp_path):
    """A run starts then."""
    assert restore(tmp_path) is None


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

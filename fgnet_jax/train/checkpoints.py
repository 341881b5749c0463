"""Checkpoints of a run: written asynchronously, restored on any number of devices, with a small JSON beside each.

    WORKDIR/checkpoints/STEP/state    Orbax: every array of the training state
    WORKDIR/checkpoints/STEP/meta     JSON

The best epoch's weights are kept apart, as a weights directory (`fgnet_jax.models.weights`).
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from fgnet_jax.models.weights import WeightsError, absolute, check_readable
from fgnet_jax.runtime.sharding import Tree


def open_manager(directory: str | Path) -> ocp.CheckpointManager:
    """Open the checkpoints of a run, by step: written while training continues, the latest two kept.

    Two, so that one is complete whatever happens to the file system while the other is written.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2), enable_async_checkpointing=True
    )
    return ocp.CheckpointManager(absolute(directory), options=options)


def save_step(manager: ocp.CheckpointManager, step: int, state: Tree, metadata: Mapping[str, Any]) -> None:
    """Start writing a state with its metadata, after the write before it has finished.

    Args:
      manager: The run's checkpoints.
      step: The step that the state belongs to.
      state: Any pytree of arrays.
      metadata: What JSON can hold.
    """
    args = ocp.args.Composite(state=ocp.args.PyTreeSave(_by_name(state)), meta=ocp.args.JsonSave(dict(metadata)))
    manager.save(step, args=args)


def discard_step(manager: ocp.CheckpointManager, step: int) -> int | None:
    """Delete the checkpoint of a diverged state, if there is an older one; return the latest step that is left."""
    manager.wait_until_finished()
    steps = manager.all_steps()
    if step in steps and min(steps) < step:
        manager.delete(step)
    return manager.latest_step()


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error, raised by any kind of writing, says that the disk or the quota on it is used up."""
    # Orbax raises a ValueError, whose message alone says so.
    phrases = ("No space left on device", "Disk quota exceeded")
    message = str(error)
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in message for text in phrases)


def restore_step(
    manager: ocp.CheckpointManager, step: int, *, like: Tree, shardings: Tree
) -> tuple[Tree, dict[str, Any]]:
    """Restore the state and metadata of a step.

    Args:
      manager: The run's checkpoints.
      step: One of its steps.
      like: The state's pytree, of `jax.ShapeDtypeStruct`.
      shardings: The placement of each array, on any number of devices.

    Raises:
      WeightsError: A file of the checkpoint is damaged.
    """
    try:
        check_readable(absolute(str(manager.directory)) / str(step) / "state")
    except (ValueError, OSError) as error:
        hint = "; delete it to resume from the step before" if min(manager.all_steps()) < step else ""
        raise WeightsError(f"{manager.directory}/{step}: damaged checkpoint{hint}: {error}") from error
    shapes, placements = _by_name(like), _by_name(shardings)
    restore_args = {
        name: ocp.ArrayRestoreArgs(sharding=placements[name], global_shape=leaf.shape, dtype=leaf.dtype)
        for name, leaf in shapes.items()
    }
    restore = ocp.args.PyTreeRestore(item=shapes, restore_args=restore_args)
    restored = manager.restore(step, args=ocp.args.Composite(state=restore, meta=ocp.args.JsonRestore()))
    leaves = [restored["state"][name] for name in shapes]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), restored["meta"]


def _by_name(tree: Tree) -> dict[str, Any]:
    # One flat dictionary: optimiser states are tuples of optax' own classes, on whose names no file should depend.
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

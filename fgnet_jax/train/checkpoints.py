"""Weights on disk: one Orbax directory of flat dictionaries with a small JSON beside them.

    DIR/params  DIR/batch_stats  DIR/buffers    Orbax
    DIR/meta/model.json                         what network it is, for which AUs, and where it came from

`convert_weights` writes such a directory, training writes its best state as one, and everything else reads them.
"""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from fgnet_jax.models.weights import WeightsError, _absolute, _check_readable


def open_manager(directory: str | Path) -> ocp.CheckpointManager:
    """The checkpoints of a run, by step: written while training goes on, the latest two kept.

    Two, so that one is whole whatever becomes of the file system while the other is written. The best state is kept
    apart, as a weights directory.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2), enable_async_checkpointing=True
    )
    return ocp.CheckpointManager(_absolute(directory), options=options)


def save_step(manager: ocp.CheckpointManager, step: int, state: Any, meta: Mapping[str, Any]) -> None:
    """Begins to write a state (any pytree of arrays) and a JSON; what was begun before is finished first."""
    args = ocp.args.Composite(state=ocp.args.PyTreeSave(_by_name(state)), meta=ocp.args.JsonSave(dict(meta)))
    manager.save(step, args=args)


def discard_step(manager: ocp.CheckpointManager, step: int) -> int | None:
    """Deletes the checkpoint of a diverged state, if an older one is there; returns the latest that is left."""
    manager.wait_until_finished()
    steps = manager.all_steps()
    if step in steps and min(steps) < step:
        manager.delete(step)
    return manager.latest_step()


def is_full_disk(error: BaseException) -> bool:
    """Whether an error of any writing says that the disk, or the quota on it, is used up."""
    # Orbax' errors are a ValueError that says so in words alone.
    words = ("No space left on device", "Disk quota exceeded")
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(text in str(error) for text in words)


def restore_step(manager: ocp.CheckpointManager, step: int, like: Any, shardings: Any) -> tuple[Any, dict[str, Any]]:
    """The state and JSON of a step.

    Args:
      manager: Of the run.
      step: One of its steps.
      like: The state's pytree, of `jax.ShapeDtypeStruct`.
      shardings: Where its arrays go, on any number of devices.

    Raises:
      WeightsError: where a file of it is damaged.
    """
    try:
        _check_readable(_absolute(str(manager.directory)) / str(step) / "state")
    except (ValueError, OSError) as error:
        older = "; delete it to go on from the step before" if min(manager.all_steps()) < step else ""
        raise WeightsError(f"{manager.directory}/{step}: damaged checkpoint{older}: {error}") from error
    names, leaves = _by_name(like), _by_name(shardings)
    targets = {
        name: ocp.ArrayRestoreArgs(sharding=leaves[name], global_shape=leaf.shape, dtype=leaf.dtype)
        for name, leaf in names.items()
    }
    restore = ocp.args.PyTreeRestore(item=names, restore_args=targets)
    restored = manager.restore(step, args=ocp.args.Composite(state=restore, meta=ocp.args.JsonRestore()))
    leaves = [restored["state"][name] for name in names]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), restored["meta"]


def _by_name(tree: Any) -> dict[str, Any]:
    # One flat dictionary: optimiser states are tuples of optax' own classes, whose names no file should depend on.
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

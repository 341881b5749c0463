"""Checkpoints of a run: written asynchronously, restored on any number of devices, with a small JSON beside each.

    WORKDIR/checkpoints/STEP/state    Orbax: every array of the training state
    WORKDIR/checkpoints/STEP/meta     JSON
    WORKDIR/checkpoints/STEP/sums.json    size and SHA-256 of these files (`fgnet_jax.runtime.sums`)
    WORKDIR/checkpoints/STEP.damaged  one that was found damaged; a run resumes from the one before

The best epoch's weights are kept apart, as a weights directory (`fgnet_jax.models.weights`).
"""

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from fgnet_jax.models.weights import DATA_FILE_BYTES, WeightsError, absolute, check_readable, reading
from fgnet_jax.runtime import sums
from fgnet_jax.runtime.sharding import Tree

ORBAX_NOTES = ("_CHECKPOINT_METADATA", "commit_success.txt")
"""Files of a checkpoint that Orbax still writes to when the others have their sums."""

_MESSAGE_BYTES = 1000


def open_manager(directory: str | Path) -> ocp.CheckpointManager:
    """Open the checkpoints of a run, by step: written while training continues, the latest two kept.

    Two, so that one is complete whatever happens to the file system while the other is written. Every checkpoint gets
    its sums while it still has its temporary name: there is none without.
    """
    path = absolute(directory)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(2),
        enable_async_checkpointing=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=lambda: _write_sums(path)),
    )
    return ocp.CheckpointManager(path, options=options)


def _write_sums(directory: epath.Path) -> None:
    """Write the sums of the checkpoint that is being finished; process 0 calls this."""
    for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
        sums.write(unfinished, leave_out=ORBAX_NOTES)


def save_step(manager: ocp.CheckpointManager, step: int, state: Tree, metadata: Mapping[str, Any]) -> None:
    """Start writing a state with its metadata, after the write before it has finished.

    Args:
      manager: The run's checkpoints.
      step: The step that the state belongs to.
      state: Any pytree of arrays.
      metadata: What JSON can hold.
    """
    tree = ocp.args.PyTreeSave(_by_name(state), ocdbt_target_data_file_size=DATA_FILE_BYTES)
    args = ocp.args.Composite(state=tree, meta=ocp.args.JsonSave(dict(metadata)))
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


class Restored(NamedTuple):
    """A checkpoint that was restored.

    Attributes:
      step: Its step.
      state: The state's pytree.
      metadata: Its JSON.
      damaged: What is to be reported of later checkpoints that are damaged, a line each.
    """

    step: int
    state: Tree
    metadata: dict[str, Any]
    damaged: tuple[str, ...]


def restore_latest(manager: ocp.CheckpointManager, *, like: Tree, shardings: Tree) -> Restored | None:
    """Restore the latest checkpoint that is intact; later ones are renamed to `STEP.damaged`, and nothing reads them.

    Args:
      manager: The run's checkpoints.
      like: The state's pytree, of `jax.ShapeDtypeStruct`.
      shardings: The placement of each array, on any number of devices.

    Returns:
      The checkpoint; None where there is none.

    Raises:
      WeightsError: All are damaged. They stay as they are.
    """
    errors: dict[int, WeightsError] = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            state, metadata = restore_step(manager, step, like=like, shardings=shardings)
        except WeightsError as error:
            errors[step] = error
            continue
        damaged = tuple(f"{error}; resuming from step {step}, it is {k}.damaged now" for k, error in errors.items())
        _put_aside(manager, list(errors))
        return Restored(step, state, metadata, damaged)
    if not errors:
        return None
    steps = ", ".join(map(str, errors))
    first = next(iter(errors.values()))
    raise WeightsError(
        f"{first}; no checkpoint of this run is intact (steps {steps}): copy them again from where they are intact, or "
        "start the run anew in another folder"
    )


def _put_aside(manager: ocp.CheckpointManager, steps: Sequence[int]) -> None:
    """Rename damaged checkpoints: no step of theirs exists any more, and none of their bytes is lost."""
    if not steps:
        return
    folder = absolute(str(manager.directory))
    if jax.process_index() == 0:
        for step in steps:
            aside = folder / f"{step}.damaged"
            if aside.exists():
                aside.rmtree()
            (folder / str(step)).rename(aside)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("damaged checkpoints")
    manager.reload()


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
      WeightsError: A file of the checkpoint is damaged; the message names it. On several hosts, each raises it.
    """
    folder = absolute(str(manager.directory)) / str(step)
    if damage := _everywhere(_damage(folder) if jax.process_index() == 0 else ""):
        raise WeightsError(f"{folder}: damaged checkpoint: {damage}")
    shapes, placements = _by_name(like), _by_name(shardings)
    restore_args = {
        name: ocp.ArrayRestoreArgs(sharding=placements[name], global_shape=leaf.shape, dtype=leaf.dtype)
        for name, leaf in shapes.items()
    }
    restore = ocp.args.PyTreeRestore(item=shapes, restore_args=restore_args)
    args = ocp.args.Composite(state=restore, meta=ocp.args.JsonRestore())
    if sums.has_sums(folder):
        restored = manager.restore(step, args=args)
    else:
        with reading(f"{folder}: damaged checkpoint"):
            restored = manager.restore(step, args=args)
    leaves = [restored["state"][name] for name in shapes]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), restored["meta"]


def _damage(folder: epath.Path) -> str:
    """Return which file of a checkpoint is damaged, empty if none is.

    A checkpoint of before there were sums is read once: what TensorStore notices is found.
    """
    if sums.has_sums(folder):
        found = sums.verify(folder) or _orbax_damage(folder)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        return f"{found[0].file.relative_to(folder)} {found[0].reason}{more}" if found else ""
    try:
        with reading("without sums"):
            check_readable(folder / "state")
    except WeightsError as error:
        return str(error)
    return ""


def _orbax_damage(folder: epath.Path) -> list[sums.Damage]:
    """Return whether Orbax' own notes are damaged, which it writes after the sums; no value depends on them."""
    file = Path(folder) / ORBAX_NOTES[0]
    try:
        handlers = json.loads(file.read_text())["item_handlers"]
        is_whole = all(isinstance(handlers[name], str) for name in ("state", "meta"))
    except FileNotFoundError:
        return []  # Orbax does without
    except (OSError, ValueError, KeyError, TypeError):
        is_whole = False
    return [] if is_whole else [sums.Damage(file, "is damaged")]


def _everywhere(text: str) -> str:
    """Return process 0's text in every process."""
    if jax.process_count() == 1:
        return text
    encoded = text.encode()[:_MESSAGE_BYTES].ljust(_MESSAGE_BYTES)
    everywhere = multihost_utils.broadcast_one_to_all(np.frombuffer(encoded, np.uint8))
    return np.asarray(everywhere).astype(np.uint8).tobytes().decode(errors="replace").rstrip()


def _by_name(tree: Tree) -> dict[str, Any]:
    # One flat dictionary: optimiser states are tuples of optax' own classes, on whose names no file should depend.
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

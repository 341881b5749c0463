"""Weights directories: a network's arrays with their metadata, written by Orbax, whole or not at all."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from jax.experimental import multihost_utils

from fgnet_jax.models.config import REMOVED_REMAT, ModelConfig
from fgnet_jax.models.fgnet import Arrays, Variables, abstract
from fgnet_jax.runtime.version import __version__

GROUPS = ("params", "batch_stats", "buffers")
"""The three dictionaries of a `Variables`, each an item of the directory."""

_META_FILE = "model.json"


class WeightsError(ValueError):
    """A weights directory is absent, unfinished or not of this network; the message names it and the reason."""


@dataclasses.dataclass(frozen=True)
class WeightsMeta:
    """Metadata of a weights directory.

    Attributes:
      model: `ModelConfig.to_dict()` of the network (filled in by `save`).
      aus: AU of each heatmap channel, in order; empty if the interpreter is not trained.
      corpus: Name of the corpus that the AUs belong to, or None.
      sources: Files that the weights were converted from: {"file": name, "sha256": hex digest}.
      version: Version of fgnet_jax that wrote the directory (filled in by `save`).
      extra: Further metadata (training writes its step and selection rule).
    """

    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    aus: tuple[int, ...] = ()
    corpus: str | None = None
    sources: tuple[dict[str, str], ...] = ()
    version: str = ""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WeightsMeta":
        """Create the metadata from what `to_dict` returned; keys that a later version may have added are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        fields: dict[str, Any] = {key: value for key, value in values.items() if key in names}
        fields |= {"aus": tuple(fields["aus"]), "sources": tuple(fields["sources"])}
        return cls(**fields)


def save(directory: str | Path, config: ModelConfig, variables: Variables, meta: WeightsMeta) -> None:
    """Write a network as a weights directory; `meta.model` and `meta.version` are filled in."""
    meta = dataclasses.replace(meta, model=config.to_dict(), version=__version__)
    save_weights(directory, groups(variables), meta)


def save_weights(directory: str | Path, groups: Mapping[str, Arrays], meta: WeightsMeta) -> None:
    """Write `params`, `batch_stats` and `buffers` (flat dictionaries of arrays) with their metadata.

    Nothing of this name exists before all of it is written (Orbax writes to a temporary name beside it and renames at
    the end), and the directory that it replaces stays until then. On several hosts, every process calls this.
    """
    items: dict[str, Any] = {name: ocp.args.PyTreeSave(dict(groups[name])) for name in GROUPS}
    items["meta"] = ocp.args.JsonSave(meta.to_dict())
    path = absolute(directory)
    new, old = (path.with_name(f"{path.name}.{word}") for word in ("new", "old"))
    target = new if path.exists() else path
    with ocp.Checkpointer(_handler()) as checkpointer:
        checkpointer.save(target, args=ocp.args.Composite(**items), force=True)
    if jax.process_index() == 0:
        if target != path:
            _remove(old)
            path.rename(old)
            target.rename(path)
        # Also the leftovers of a run that was killed while it replaced the directory.
        _remove(new, old, *path.parent.glob(f"{new.name}.orbax-checkpoint-tmp*"))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"save_weights {path}")


def _remove(*directories: epath.Path) -> None:
    for directory in directories:
        if directory.exists():
            directory.rmtree()


def load(directory: str | Path) -> tuple[ModelConfig, Variables, WeightsMeta]:
    """Load a network from a weights directory.

    Returns:
      Its configuration, its variables as NumPy arrays, and its metadata.

    Raises:
      WeightsError: if the directory is absent or damaged, or its arrays do not fit its configuration.
    """
    meta = load_meta(directory)
    try:
        config = ModelConfig.from_dict(meta.model)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{directory}: not a network that this version knows: {error}") from error
    return config, Variables(**load_weights(directory, groups(abstract(config)))), meta


def _without_removed_remat(model: dict[str, Any]) -> dict[str, Any]:
    # Weights outlive the policy that saved memory in their training; "blocks" has the same forward pass, bit for bit.
    return model | {"remat": "blocks"} if model.get("remat") == REMOVED_REMAT else model


def load_meta(directory: str | Path) -> WeightsMeta:
    """Load the metadata of a weights directory, without its arrays.

    Raises:
      WeightsError: if there is no such directory, or it is not a weights directory.
    """
    path = absolute(directory)
    file = path / "meta" / _META_FILE
    if not path.is_dir():
        raise WeightsError(f"{directory}: no such weights directory; make one with `python -m convert_weights`")
    if not file.exists():
        raise WeightsError(f"{directory}: not a weights directory (it has no meta/{_META_FILE})")
    try:
        meta = WeightsMeta.from_dict(json.loads(file.read_text()))
        return dataclasses.replace(meta, model=_without_removed_remat(meta.model))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file}: not the JSON of a weights directory: {error!r}") from error


def load_weights(
    directory: str | Path, expected: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]
) -> dict[str, dict[str, np.ndarray]]:
    """Load the arrays of a weights directory: flat dictionaries of NumPy arrays, by their names in `GROUPS`.

    Args:
      directory: A directory that `save_weights` wrote.
      expected: Path and shape of every array of the network, by group.

    Raises:
      WeightsError: if arrays are missing, unknown or of another shape (all are listed), or a file is damaged.
    """
    path = absolute(directory)
    with ocp.Checkpointer(_handler()) as checkpointer:
        try:
            for name in GROUPS:
                check_readable(path / name)
            items = checkpointer.metadata(path).item_metadata
            stored = {name: {key: leaf.shape for key, leaf in items[name].items()} for name in GROUPS}
            _check_shapes(directory, stored, expected)
            restore = {name: _restore_numpy(expected[name]) for name in GROUPS}
            return dict(checkpointer.restore(path, args=ocp.args.Composite(**restore)).items())
        except WeightsError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise WeightsError(f"{directory}: damaged weights directory: {error}") from error


def _check_shapes(directory: str | Path, stored: Mapping[str, Mapping], expected: Mapping[str, Mapping]) -> None:
    problems = []
    for name in GROUPS:
        problems += [f"{name}: {key} is missing" for key in sorted(set(expected[name]) - set(stored[name]))]
        problems += [
            f"{name}: {key} is not part of the network" for key in sorted(set(stored[name]) - set(expected[name]))
        ]
        for key in sorted(set(stored[name]) & set(expected[name])):
            have, want = tuple(stored[name][key]), tuple(expected[name][key].shape)
            if have != want:
                problems.append(f"{name}: {key} has shape {have}, the network wants {want}")
    if problems:
        raise WeightsError(f"{directory} does not fit its network:\n  " + "\n  ".join(problems))


def _restore_numpy(group: Mapping[str, Any]) -> ocp.args.PyTreeRestore:
    args = {key: ocp.RestoreArgs(restore_type=np.ndarray, dtype=value.dtype) for key, value in group.items()}
    return ocp.args.PyTreeRestore(item=dict(group), restore_args=args)


def _handler() -> ocp.CompositeCheckpointHandler:
    # Random numbers do not compress, and compressing them took three times the memory.
    handlers: dict[str, Any] = {
        name: ocp.PyTreeCheckpointHandler(use_compression=False, save_concurrent_gb=1) for name in GROUPS
    }
    return ocp.CompositeCheckpointHandler(**handlers, meta=ocp.JsonCheckpointHandler(filename=_META_FILE))


def absolute(directory: str | Path) -> epath.Path:
    """Return an absolute path, as Orbax requires; gs:// and other remote paths stay as they are."""
    path = epath.Path(directory)
    return path if "://" in str(directory) else epath.Path(str(Path(str(path)).absolute()))


def check_readable(directory: epath.Path) -> None:
    """Read every value of a TensorStore directory once, and raise TensorStore's error if one is damaged.

    Orbax reads all arrays at once and leaves at the first failure, while TensorStore's other threads go on calling into
    the loop that it closed: tracebacks after the error, and now and then a process that hangs or dies. Reading one
    value after the other leaves nothing running. It costs 0.6 s per GB.
    """
    local = str(directory) if "://" in str(directory) else f"file://{directory}"
    stored = tensorstore.KvStore.open({"driver": "ocdbt", "base": local}).result()
    for key in stored.list().result():
        stored.read(key).result()


def groups(variables: Variables) -> dict[str, Arrays]:
    """Return the three flat dictionaries by name, as `save_weights` takes them."""
    return {name: getattr(variables, name) for name in GROUPS}


def checksum(variables: Variables) -> str:
    """Compute the SHA-256 of a network's values: equal for equal values, however and wherever they are stored.

    It covers path, dtype, shape and bytes of every array, in order of group and path.
    """
    digest = hashlib.sha256()
    for group, arrays in groups(variables).items():
        for path in sorted(arrays):
            array = np.ascontiguousarray(arrays[path])
            digest.update(f"{group}/{path} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()

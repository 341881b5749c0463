"""A network and its weights directory: where models and checkpoint files meet."""

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

from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables, abstract
from fgnet_jax.runtime.version import __version__

GROUPS = ("params", "batch_stats", "buffers")

_META_FILE = "model.json"


class WeightsError(ValueError):
    """A weights directory that is absent, unfinished or not for this network; the message names it and why."""


@dataclasses.dataclass(frozen=True)
class WeightsMeta:
    """What a weights directory holds.

    Attributes:
      model: `ModelConfig.to_dict()` of the network (filled in by `fgnet_jax.models.weights.save`).
      aus: AU of each heatmap channel, in order; empty where the interpreter is not trained.
      corpus: Name of the corpus that the AUs belong to, or None.
      sources: The files that it was made from: {"file": name, "sha256": hex digest}.
      version: Version of fgnet_jax that wrote it.
      extra: Anything else worth keeping (training writes its step and selection rule).
    """

    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    aus: tuple[int, ...] = ()
    corpus: str | None = None
    sources: tuple[dict[str, str], ...] = ()
    version: str = ""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WeightsMeta":
        """The meta whose `to_dict` gave `values`; keys that a later version may have added are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        kept: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        kept |= {"aus": tuple(kept["aus"]), "sources": tuple(kept["sources"])}
        return cls(**kept)


def save_weights(directory: str | Path, groups: Mapping[str, Mapping[str, Any]], meta: WeightsMeta) -> None:
    """Writes `params`, `batch_stats` and `buffers` (flat dictionaries of arrays) with their meta.

    Nothing of this name exists before all of it is written (Orbax writes to a temporary name beside it and renames at
    the end), and what it replaces stays until then. On several hosts, every process calls this.
    """
    items: dict[str, Any] = {name: ocp.args.PyTreeSave(dict(groups[name])) for name in GROUPS}
    items["meta"] = ocp.args.JsonSave(meta.to_dict())
    path = _absolute(directory)
    new, old = (path.with_name(f"{path.name}.{word}") for word in ("new", "old"))
    place = new if path.exists() else path
    with ocp.Checkpointer(_handler()) as checkpointer:
        checkpointer.save(place, args=ocp.args.Composite(**items), force=True)
    if jax.process_index() == 0:
        if place != path:
            _remove(old)
            path.rename(old)
            place.rename(path)
        # Also what a run that was killed in the midst of this left.
        _remove(new, old, *path.parent.glob(f"{new.name}.orbax-checkpoint-tmp*"))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"save_weights {path}")


def _remove(*directories: epath.Path) -> None:
    for directory in directories:
        if directory.exists():
            directory.rmtree()


def load_meta(directory: str | Path) -> WeightsMeta:
    """The meta of a weights directory, without its arrays.

    Raises:
      WeightsError: where there is no such directory, or it is none of ours.
    """
    path = _absolute(directory)
    file = path / "meta" / _META_FILE
    if not path.is_dir():
        raise WeightsError(f"{directory}: no such weights directory; make one with `python -m convert_weights`")
    if not file.exists():
        raise WeightsError(f"{directory}: not a weights directory (it has no meta/{_META_FILE})")
    try:
        return WeightsMeta.from_dict(json.loads(file.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file}: not the JSON of a weights directory: {error!r}") from error


def load_weights(
    directory: str | Path, expected: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]
) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a weights directory, as NumPy arrays in flat dictionaries named `params`, `batch_stats`, `buffers`.

    Args:
      directory: What `save_weights` wrote.
      expected: Path and shape of every array of the network, by group.

    Raises:
      WeightsError: where an array is missing, unknown or of another shape, all of them listed; or a file is damaged.
    """
    path = _absolute(directory)
    with ocp.Checkpointer(_handler()) as checkpointer:
        try:
            for name in GROUPS:
                _check_readable(path / name)
            items = checkpointer.metadata(path).item_metadata
            stored = {name: {key: leaf.shape for key, leaf in items[name].items()} for name in GROUPS}
            _check_shapes(directory, stored, expected)
            restore = {name: _restore_numpy(expected[name]) for name in GROUPS}
            return dict(checkpointer.restore(path, args=ocp.args.Composite(**restore)).items())
        except WeightsError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise WeightsError(f"{directory}: damaged weights directory: {error}") from error


def _check_readable(directory: epath.Path) -> None:
    # Orbax reads all arrays at once and leaves at the first failure, while TensorStore's other threads go on calling
    # into the loop that it closed: tracebacks after the error, and now and then a process that hangs or dies. One
    # value after the other, nothing is left running. It costs 0.6 s a GB.
    local = str(directory) if "://" in str(directory) else f"file://{directory}"
    stored = tensorstore.KvStore.open({"driver": "ocdbt", "base": local}).result()
    for key in stored.list().result():
        stored.read(key).result()


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


def _absolute(directory: str | Path) -> epath.Path:
    # Orbax wants absolute paths; gs:// and other remote ones stay what they are.
    path = epath.Path(directory)
    return path if "://" in str(directory) else epath.Path(str(Path(str(path)).absolute()))


def load(directory: str | Path) -> tuple[ModelConfig, Variables, WeightsMeta]:
    """The network in a weights directory: its configuration, its variables as NumPy arrays, and what is said of it.

    Raises:
      WeightsError: where the directory is absent, damaged, or not of the network that it says it is.
    """
    meta = load_meta(directory)
    try:
        # How a run saved memory says nothing of its weights, and a policy of a former version may be gone.
        config = ModelConfig.from_dict(meta.model | {"remat": "none"})
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{directory}: not a network that this version knows: {error}") from error
    return config, Variables(**load_weights(directory, groups(abstract(config)))), meta


def save(directory: str | Path, config: ModelConfig, variables: Variables, meta: WeightsMeta) -> None:
    """Writes a network as a weights directory; `meta.model` and `meta.version` are filled in here."""
    meta = dataclasses.replace(meta, model=config.to_dict(), version=__version__)
    save_weights(directory, groups(variables), meta)


def groups(variables: Variables) -> dict[str, dict]:
    """The three flat dictionaries by name, as `save_weights` takes them."""
    return {name: getattr(variables, name) for name in GROUPS}


def checksum(variables: Variables) -> str:
    """SHA-256 of a network's values: equal for equal values, however and wherever they are stored.

    Over the arrays in order of their group and path: path, number format, shape and bytes of each.
    """
    digest = hashlib.sha256()
    for group, arrays in groups(variables).items():
        for path in sorted(arrays):
            array = np.ascontiguousarray(arrays[path])
            digest.update(f"{group}/{path} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()

"""Weights directories: a network's arrays with their metadata, written by Orbax, whole or not at all.

    DIRECTORY/{params,batch_stats,buffers}    Orbax: the arrays
    DIRECTORY/meta/model.json                 `WeightsMeta`, and the SHA-256 of every array
    DIRECTORY/sums.json                       size and SHA-256 of every file (`fgnet_jax.runtime.sums`)

Loading compares both: whatever happened to a file, or on the way from it into memory, no other values are loaded.
Directories that were written before there were sums load as they are.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore
from etils import epath
from jax.experimental import multihost_utils

from fgnet_jax.models.config import NetworkConfig, network_config, without_removed_remat
from fgnet_jax.models.fgnet import Arrays, Variables, abstract
from fgnet_jax.runtime import sums
from fgnet_jax.runtime.version import __version__

GROUPS = ("params", "batch_stats", "buffers")
"""The three dictionaries of a `Variables`, each an item of the directory."""

_META_FILE = "model.json"
_ARRAYS = "arrays"  # key of the arrays' SHA-256 in it; absent in directories that have no sums
_VALUES_BYTES = 2**20  # larger files hold values alone: TensorStore writes its tree to files of their own
_THREADS = min(8, os.cpu_count() or 1)

DATA_FILE_BYTES = 2**27
"""Size at which another file is begun: the sums of several are computed in parallel, and saving takes half the time."""


class WeightsError(ValueError):
    """A weights directory is absent, unfinished or not of this network; the message names it and the reason."""


@dataclasses.dataclass(frozen=True)
class WeightsMeta:
    """Metadata of a weights directory.

    Attributes:
      model: `NetworkConfig.to_dict()` of the network (filled in by `save`).
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


def save(directory: str | Path, config: NetworkConfig, variables: Variables, meta: WeightsMeta) -> None:
    """Write a network as a weights directory; `meta.model` and `meta.version` are filled in."""
    meta = dataclasses.replace(meta, model=config.to_dict(), version=__version__)
    save_weights(directory, groups(variables), meta)


def save_weights(directory: str | Path, groups: Mapping[str, Arrays], meta: WeightsMeta) -> None:
    """Write `params`, `batch_stats` and `buffers` (flat dictionaries of arrays) with their metadata.

    Nothing of this name exists before all of it is written, with its sums, to a temporary name beside it, and the
    directory that it replaces stays until then. On several hosts, every process calls this.
    """
    path = absolute(directory)
    new, old = (path.with_name(f"{path.name}.{word}") for word in ("new", "old"))
    with ocp.Checkpointer(_handler()) as checkpointer:
        checkpointer.save(new, args=_save_args(groups, meta), force=True)
    if jax.process_index() == 0:
        sums.write(new)
        if path.exists():
            _remove(old)
            path.rename(old)
        new.rename(path)
        # Also the leftovers of a run that was killed while it wrote or replaced the directory.
        _remove(old, *(left for name in (new, path) for left in path.parent.glob(f"{name.name}.orbax-checkpoint-tmp*")))
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"save_weights {path}")


def _save_args(groups: Mapping[str, Arrays], meta: WeightsMeta) -> ocp.args.Composite:
    items: dict[str, Any] = {
        name: ocp.args.PyTreeSave(dict(groups[name]), ocdbt_target_data_file_size=DATA_FILE_BYTES)
        for name in GROUPS
        if groups[name]  # a student has no buffers, and Orbax saves nothing that is empty
    }
    return ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta.to_dict() | {_ARRAYS: array_sums(groups)}))


def array_sums(groups: Mapping[str, Arrays]) -> dict[str, str]:
    """Compute the SHA-256 of every array over its dtype, shape and bytes, by `GROUP/PATH`, in threads.

    Arrays of which other hosts hold parts are left out.
    """
    arrays = {f"{group}/{path}": array for group in groups for path, array in groups[group].items()}
    whole = {name: local for name, array in arrays.items() if (local := _local(array)) is not None}
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(whole, pool.map(_digest, whole.values()), strict=True))


def _local(array: Any) -> Any:  # noqa: ANN401 - NumPy's or JAX'
    if not isinstance(array, jax.Array):
        return array
    if array.is_fully_replicated:
        return array.addressable_data(0)  # a new object: the array itself keeps no copy of its values on the host
    return array if array.is_fully_addressable else None


def _digest(array: Any) -> str:  # noqa: ANN401
    values = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{values.dtype.name} {np.shape(array)}\n".encode())
    digest.update(values.view(np.uint8).data if values.size else b"")
    return digest.hexdigest()


def _remove(*directories: epath.Path) -> None:
    for directory in directories:
        if directory.exists():
            directory.rmtree()


def load(directory: str | Path) -> tuple[NetworkConfig, Variables, WeightsMeta]:
    """Load a network from a weights directory.

    Returns:
      Its configuration, its variables as NumPy arrays, and its metadata.

    Raises:
      WeightsError: if the directory is absent or damaged, or its arrays do not fit its configuration.
    """
    meta = load_meta(directory)
    config = load_config(directory, meta)
    return config, Variables(**load_weights(directory, groups(abstract(config)))), meta


def load_config(directory: str | Path, meta: WeightsMeta) -> NetworkConfig:
    """Return the configuration that a weights directory's metadata have.

    Raises:
      WeightsError: It is of no network that this version knows.
    """
    try:
        return network_config(meta.model)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{directory}: not a network that this version knows: {error}") from error


def load_meta(directory: str | Path) -> WeightsMeta:
    """Load the metadata of a weights directory, without its arrays.

    Raises:
      WeightsError: if there is no such directory, it is not a weights directory, or the metadata are damaged.
    """
    values = _stored_meta(directory)
    try:
        meta = WeightsMeta.from_dict(values)
        return dataclasses.replace(meta, model=without_removed_remat(meta.model))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_json(directory, error) from error


def is_directory(path: Path) -> bool:
    """Return whether a path is a weights directory itself, intact or not; a run's folder is none, but has some."""
    return (path / "meta" / _META_FILE).is_file()


def _stored_meta(directory: str | Path) -> dict[str, Any]:
    """Read and verify what `meta/model.json` holds."""
    path, name = absolute(directory), f"meta/{_META_FILE}"
    if not path.is_dir():
        raise WeightsError(f"{directory}: no such weights directory; make one with `fgnet-jax convert`")
    has_sums = sums.has_sums(path)
    if has_sums:
        _refuse(directory, sums.verify(path, only=[name]))
    elif not (path / name).exists():
        hint = f"; did you mean {directory}/best?" if (path / "best" / name).exists() else ""
        raise WeightsError(f"{directory}: not a weights directory (it has no {name}){hint}")
    try:
        values = dict(json.loads((path / name).read_text()))
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_json(directory, error) from error
    if _ARRAYS in values and not has_sums:
        _refuse(directory, [f"{sums.SUMS_FILE} is missing"])
    return values


def _not_json(directory: str | Path, error: Exception) -> WeightsError:
    return WeightsError(f"{directory}/meta/{_META_FILE}: not the JSON of a weights directory: {error!r}")


def _refuse(directory: str | Path, damaged: Sequence[sums.Damage | str]) -> None:
    """Raise an error that names what is damaged, if anything is."""
    if not damaged:
        return
    first = f"{_relative(directory, damaged[0])}{f' (and {len(damaged) - 1} more)' * (len(damaged) > 1)}"
    advice = "copy them again from where they are intact, or convert or train them again"
    raise WeightsError(f"{directory}: damaged weights: {first}; {advice}")


def _relative(directory: str | Path, damage: sums.Damage | str) -> str:
    if isinstance(damage, str):
        return damage
    return f"{damage.file.relative_to(absolute(directory))} {damage.reason}"


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
    path, recorded = absolute(directory), _stored_meta(directory).get(_ARRAYS)
    if recorded is None:
        with reading(f"{directory}: damaged weights directory"):
            return _cast(_read_arrays(directory, expected)[0], expected)
    # Large files hold nothing but values, which are compared once they are read; only if these differ, files are read
    # again, to name the one that is damaged. What values are found by is compared before.
    has_all = all(f"{name}/{key}" in recorded for name in GROUPS for key in expected[name])
    _refuse(directory, sums.verify(path, content_up_to=_VALUES_BYTES if has_all else None))
    try:
        loaded, found = _read_arrays(directory, expected)
    except Exception:
        _refuse(directory, sums.verify(path))
        raise
    if differing := [f"{name} has another SHA-256" for name in recorded if recorded[name] != found.get(name)]:
        _refuse(directory, sums.verify(path) or differing)
    return _cast(loaded, expected)


def _read_arrays(
    directory: str | Path, expected: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    """Read the arrays as they are stored, and compute their sums, as `array_sums` does, while they are in the caches.

    By TensorStore alone, in half of Orbax' time. Where Orbax meets a damaged file, threads of TensorStore go on calling
    into its closed loop: tracebacks after the error, and now and then a process that hangs.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        folders = {name: absolute(directory) / name for name in GROUPS}
        has_none = {name for name, path in folders.items() if not expected[name] and not path.exists()}
        opened = {name: {} if name in has_none else _open_group(path) for name, path in folders.items()}
        stored = {name: {key: store.shape for key, store in group.items()} for name, group in opened.items()}
        _check_shapes(directory, stored, expected)
        stores = {(name, key): store for name, group in opened.items() for key, store in group.items()}
        read = dict(zip(stores, pool.map(_read_array, stores.values()), strict=True))
    arrays = {name: {key: read[name, key][0] for key in opened[name]} for name in GROUPS}
    return arrays, {f"{name}/{key}": digest for (name, key), (_, digest) in read.items()}


def _open_group(directory: epath.Path) -> dict[str, tensorstore.TensorStore]:
    """Open the arrays of a group by path, as Orbax stores them: Zarr arrays in an OCDBT database."""
    database = {"driver": "ocdbt", "base": _url(directory)}
    suffix = b"/.zarray"
    names = [key for key in tensorstore.KvStore.open(database).result().list().result() if key.endswith(suffix)]
    paths = [name.removesuffix(suffix).decode() for name in names]
    specs = [
        {"driver": "zarr", "kvstore": database | {"path": path}, "fill_missing_data_reads": False} for path in paths
    ]
    # All at once: each takes a moment, and none is waited for alone.
    opening = [tensorstore.open(spec, open=True, read=True) for spec in specs]
    return {path: future.result() for path, future in zip(paths, opening, strict=True)}


def _read_array(store: tensorstore.TensorStore) -> tuple[np.ndarray, str]:
    array = store.read().result()
    return array, _digest(array)


def _cast(
    loaded: Mapping[str, Mapping[str, np.ndarray]], expected: Mapping[str, Mapping[str, jax.ShapeDtypeStruct]]
) -> dict[str, dict[str, np.ndarray]]:
    return {
        name: {key: array.astype(expected[name][key].dtype, copy=False) for key, array in group.items()}
        for name, group in loaded.items()
    }


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Convert what Orbax and TensorStore raise at damaged files to a `WeightsError`, which begins with `what`.

    For files without sums alone: with them, damage is found before anything else reads them.
    """
    try:
        yield
    except WeightsError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise WeightsError(f"{what}: {_first_line(error)}") from error
    except Exception as error:
        if type(error) is not Exception:  # which Orbax raises at a lost chunk
            raise
        raise WeightsError(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    text = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
    return (text.splitlines() or [type(error).__name__])[0]


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


def _handler() -> ocp.CompositeCheckpointHandler:
    # Random numbers do not compress, and compressing them took three times the memory.
    handlers: dict[str, Any] = {
        name: ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=False, use_compression=False, save_concurrent_gb=1)
        for name in GROUPS
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
    stored = tensorstore.KvStore.open({"driver": "ocdbt", "base": _url(directory)}).result()
    for key in stored.list().result():
        stored.read(key).result()


def _url(directory: epath.Path) -> str:
    return str(directory) if "://" in str(directory) else f"file://{directory}"


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

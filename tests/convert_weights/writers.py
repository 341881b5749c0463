"""Writers of weights files, valid or hostile, without PyTorch, TensorFlow or NVIDIA's sources.

A small assembler of pickles: unlike the real picklers, it emits anything.
"""

import dataclasses
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from convert_weights.torch_file import LEGACY_MAGIC
from fgnet_jax.models.config import ModelConfig

SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
SOURCE = "raise SystemExit('the embedded source was run')"
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


@dataclasses.dataclass(frozen=True)
class Name:
    """A global, "module.name" in a pickle."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """The call of a global, and the state that BUILD then sets."""

    function: Any
    args: tuple
    state: Any = None
    opcode: bytes = b"R"


@dataclasses.dataclass(frozen=True)
class Persistent:
    """A persistent id."""

    identity: Any


@dataclasses.dataclass(frozen=True)
class Raw:
    """Opcodes, emitted unchanged."""

    code: bytes


def dump(value: Any) -> bytes:
    """Return a pickle of `value`, of protocol 3."""
    return b"\x80\x03" + _emit(value) + b"."


EVIL = Call(Name("os", "system"), ("echo run > evidence",))
"""The call of a hostile pickle."""


def _emit(value: Any) -> bytes:
    if isinstance(value, dict):
        return b"}(" + b"".join(_emit(part) for pair in value.items() for part in pair) + b"u"
    if isinstance(value, tuple | list):
        body = b"".join(map(_emit, value))
        return b"(" + body + b"t" if isinstance(value, tuple) else b"](" + body + b"e"
    if isinstance(value, Call):
        built = b"" if value.state is None else _emit(value.state) + b"b"
        return _emit(value.function) + _emit(value.args) + value.opcode + built
    return _emit_plain(value)


def _emit_plain(value: Any) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Persistent():
            return _emit(value.identity) + b"Q"
        case Raw():
            return value.code
    raise TypeError(f"no opcode for {value!r}")


def torch_tensor(storage: Any, array: np.ndarray) -> Call:
    """Return PyTorch's tensor of a storage that has this array's values in C order."""
    strides = tuple(step // array.itemsize for step in np.empty(array.shape, array.dtype).strides)
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (storage, 0, array.shape, strides, False, None))


def storage_id(key: str, array: np.ndarray, *view: None) -> Persistent:
    """Return the persistent id of a storage."""
    return Persistent(("storage", Name("torch", STORAGES[array.dtype.name]), key, "cpu", array.size, *view))


def save_zip(path: Path, tree: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write nested dictionaries of arrays as PyTorch 1.6 and later do."""
    arrays: list[np.ndarray] = []
    pickled = dump(_with_storages(tree, arrays))
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for i, array in enumerate(arrays):
            archive.writestr(f"archive/data/{i}", array.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def save_legacy(path: Path, tree: Any) -> Path:
    """Write nested dictionaries of arrays as PyTorch before 1.6 did."""
    arrays: list[np.ndarray] = []
    pickled = dump(_with_storages(tree, arrays, None))
    path.write_bytes(legacy(pickled, dict(zip(map(str, range(len(arrays))), arrays, strict=True))))
    return path


def legacy(pickled: bytes, storages: dict[str, np.ndarray], system: Any = SYSTEM) -> bytes:
    """Return the layout from before PyTorch 1.6 around a pickle."""
    start = b"\x80\x02\x8a\n" + LEGACY_MAGIC.to_bytes(10, "little") + b"." + dump(1001) + dump(system) + pickled
    data = [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    return start + dump(list(storages)) + b"".join(data)


def _with_storages(tree: Any, arrays: list[np.ndarray], *view: None) -> Any:
    if isinstance(tree, dict):
        return {name: _with_storages(value, arrays, *view) for name, value in tree.items()}
    if not isinstance(tree, np.ndarray):
        return tree
    arrays.append(tree)
    return torch_tensor(storage_id(str(len(arrays) - 1), tree, *view), tree)


def numpy_array(array: np.ndarray, core: str = "numpy.core") -> Call:
    """Return NumPy's pickled array."""
    start = (Name("numpy", "ndarray"), (0,), b"b")
    state = (1, array.shape, numpy_dtype(array.dtype), False, array.tobytes())
    return Call(Name(f"{core}.multiarray", "_reconstruct"), start, state)


def numpy_dtype(dtype: np.dtype) -> Call:
    """Return NumPy's pickled dtype."""
    return Call(Name("numpy", "dtype"), (dtype.str[1:], False, True), (3, "<", None, None, None, -1, -1, 0))


def tf_network(name: str, variables: dict[str, np.ndarray], components: dict[str, Any] | None = None, **kwargs) -> Call:
    """Return a network of the TensorFlow era."""
    state = {"version": 4, "name": name, "static_kwargs": kwargs, "components": components or {}}
    state |= {"build_module_src": SOURCE, "build_func_name": name}
    state |= {"variables": [(key, numpy_array(value)) for key, value in variables.items()]}
    return Call(Name("dnnlib.tflib.network", "Network"), (), state, opcode=b"\x81")


def tf_pickle(tensors: dict[str, np.ndarray], **kwargs) -> tuple:
    """Return the three networks of a TensorFlow-era pickle, from the full names of Gs' variables."""
    parts = {}
    for part in ("G_mapping", "G_synthesis"):
        own = {name.removeprefix(f"{part}/"): x for name, x in tensors.items() if name.startswith(part)}
        parts[part.removeprefix("G_")] = tf_network(part, own, **kwargs)
    own = {name: value for name, value in tensors.items() if "/" not in name}
    return tf_network("G", {}), tf_network("D", {}), tf_network("Gs", own, parts, **kwargs)


def ada_module(tensors: dict[str, Any], attributes: dict[str, dict] | None = None, prefix: str = "") -> Call:
    """Return a persistent module of NVIDIA's PyTorch code, from the full names of its tensors (arrays or pickled)."""
    children = dict.fromkeys(name.split(".")[0] for name in tensors if "." in name)
    own = {name: _ada_tensor(value) for name, value in tensors.items() if "." not in name}
    modules = {}
    for child in children:
        below = {name.removeprefix(f"{child}."): x for name, x in tensors.items() if name.startswith(f"{child}.")}
        modules[child] = ada_module(below, attributes, f"{prefix}{child}.")
    state = {"training": False, "_parameters": own, "_buffers": {}, "_modules": modules}
    state |= (attributes or {}).get(prefix.removesuffix("."), {})
    meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": "Generator", "state": state}
    return Call(Name("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def _ada_tensor(value: Any) -> Any:
    return torch_tensor(load_from_bytes(value), value) if isinstance(value, np.ndarray) else value


def load_from_bytes(array: np.ndarray) -> Call:
    """Return a storage inside a plain pickle."""
    blob = legacy(dump(storage_id("7", array, None)), {"7": array})
    return Call(Name("torch.storage", "_load_from_bytes"), (blob,))


def arrays_for(table: tuple, shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Return random float32 tensors under a table's names."""
    from convert_weights.layouts import source_shape

    rng = np.random.default_rng(seed)
    shaped = {rule.source: source_shape(rule.layout, shapes[rule.path]) for rule in table}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shaped.items()}


def shapes_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape by path of every variable of a network."""
    from fgnet_jax.models import fgnet, weights

    groups = weights.groups(fgnet.abstract(config)).values()
    return {path: tuple(struct.shape) for group in groups for path, struct in group.items()}

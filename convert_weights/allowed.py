"""The names that a pickle of weights may mention, and what each becomes. Everything else is refused by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from convert_weights.errors import ConversionError
from convert_weights.records import Global, Record
from convert_weights.tensors import NUMPY_FORMATS, TORCH_FORMATS, Storage, Tensor, contiguous, view
from convert_weights.unpickle import Handler

NETWORK = "dnnlib.tflib.network.Network"
MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
NAMESPACE = "argparse.Namespace"
_ARRAY = "numpy.ndarray"
_DTYPE = "numpy.dtype"
_SCALAR = "numpy.core.multiarray.scalar"
_TORCH_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def plain() -> dict[str, Handler | None]:
    """Names that carry no tensors: containers, and settings that are read and left alone."""
    return {
        "collections.OrderedDict": _dictionary,
        "builtins.dict": _dictionary,
        "builtins.bytes": lambda: b"",  # how protocols up to 2 spell no bytes
        "builtins.set": _set,
        "builtins.object": None,
        "copyreg._reconstructor": _reconstruct,
        NAMESPACE: lambda *args: Record(NAMESPACE, args),
        "torch.Size": lambda sizes=(): tuple(sizes),
        "torch.device": lambda *args: Record("torch.device", args),
    } | {f"torch.{name}": None for name in _TORCH_DTYPES}


def tensors() -> dict[str, Handler | None]:
    """Names that PyTorch's own files make tensors with."""
    rebuild = {
        "torch._utils._rebuild_tensor": view,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
    }
    return rebuild | {f"torch.{name}Storage": None for name in TORCH_FORMATS}


def arrays() -> dict[str, Handler | None]:
    """Names that NumPy pickles arrays and scalars with, in versions 1 and 2."""
    names = {
        _ARRAY: None,
        _DTYPE: lambda *args: Record(_DTYPE, args),
        "numpy.core.multiarray._reconstruct": lambda *args: Record(_ARRAY),
        _SCALAR: lambda *args: Record(_SCALAR, args),
        "numpy.core.numeric._frombuffer": lambda data, *args: Record(_ARRAY, (data, *args)),
        "_codecs.encode": _encode,
    }
    return names | {name.replace("numpy.core.", "numpy._core."): handler for name, handler in names.items()}


def networks() -> dict[str, Handler | None]:
    """Names of NVIDIA's network objects, of either kind; their embedded source is dropped unread."""
    return {
        NETWORK: lambda *args: Record(NETWORK, args),
        MODULE: _module,
        "dnnlib.util.EasyDict": _dictionary,
        "dnnlib.EasyDict": _dictionary,
    }


def number_format(storage_class: Any) -> np.dtype:
    """The number format of `torch.FloatStorage` and its like.

    Raises:
      ConversionError: if it is none of them.
    """
    if isinstance(storage_class, Global) and storage_class.name.endswith("Storage"):
        return TORCH_FORMATS[storage_class.name.removeprefix("torch.").removesuffix("Storage")]
    raise ConversionError("the pickle has a storage of an unknown class")


def as_tensor(value: Any) -> Tensor | None:
    """The tensor that a pickled value is: PyTorch's, or a NumPy array or scalar; None where it is none.

    Raises:
      ConversionError: for an array that is broken or of another format than plain numbers.
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, Record) or value.name not in (_ARRAY, _SCALAR):
        return None
    if value.name == _SCALAR:
        kind, data = _expect(value.args, 2)
        return contiguous(_from_bytes(_dtype(kind), data), ())
    if value.args:
        data, kind, shape, order = _expect(value.args, 4)
        return contiguous(_from_bytes(_dtype(kind), data), shape, order == "F")
    _, shape, kind, is_fortran, data = _expect(value.state, 5)
    return contiguous(_from_bytes(_dtype(kind), data), shape, bool(is_fortran))


def _dtype(value: Any) -> np.dtype:
    if not isinstance(value, Record) or value.name != _DTYPE or not value.args:
        raise ConversionError("the pickle has an array without a number format")
    code = value.args[0]
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    if not isinstance(code, str) or code.lstrip("<|") not in NUMPY_FORMATS or order not in ("<", "|", "="):
        raise ConversionError(f"the pickle has an array of format {str(code)[:20]!r} (byte order {str(order)[:20]!r})")
    return NUMPY_FORMATS[code.lstrip("<|")]


def _from_bytes(kind: np.dtype, data: Any) -> Storage:
    if isinstance(data, str):  # Python 2's byte strings
        data = data.encode("latin-1")
    if not isinstance(data, bytes | memoryview) or len(data) % kind.itemsize:
        raise ConversionError("the pickle has an array whose data are no bytes, or not a whole number of values")
    return Storage(kind, len(data) // kind.itemsize, lambda: data)


def _expect(value: Any, count: int) -> tuple:
    if not isinstance(value, tuple) or len(value) != count:
        raise ConversionError(f"the pickle has an array that is not made of {count} parts")
    return value


def _rebuild_tensor(storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None) -> Tensor:
    return view(storage, offset, size, stride)


def _rebuild_parameter(data, requires_grad=True, hooks=None) -> Tensor:
    if not isinstance(data, Tensor):
        raise ConversionError("the pickle makes a parameter of something that is no tensor")
    return data


def _dictionary(items: Any = ()) -> dict:
    pairs = items.items() if isinstance(items, Mapping) else items
    result = {}
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise ConversionError(f"the pickle has a {type(key).__name__} for a key")
        result[key] = value
    return result


def _set(items: Any = ()) -> set:
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | int) for item in items):
        raise ConversionError("the pickle has a set of something else than names")
    return set(items)


def _reconstruct(kind: Any, base: Any = None, state: Any = None) -> Any:
    if not isinstance(kind, Global) or kind.name not in (NETWORK, NAMESPACE, "dnnlib.util.EasyDict", "dnnlib.EasyDict"):
        raise ConversionError(f"the pickle makes an object of {getattr(kind, 'name', 'something that is no class')}")
    return Record(kind.name) if kind.name in (NETWORK, NAMESPACE) else _dictionary(state or ())


def _module(meta: Any) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise ConversionError("the pickle has a persistent object without a state")
    return Record(MODULE, (meta.get("class_name"),), meta["state"])


def _encode(text: Any, coding: Any = "") -> bytes:
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise ConversionError("the pickle encodes something else than bytes")
    return text.encode("latin-1")

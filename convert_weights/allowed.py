"""The names that a pickle of weights may have, and their constructors. Every other name is refused."""

from collections.abc import Mapping

import numpy as np

from convert_weights.errors import ConversionError
from convert_weights.records import Global, Pickled, Record
from convert_weights.tensors import NUMPY_DTYPES, TORCH_DTYPES, Storage, Tensor, contiguous, view
from convert_weights.unpickle import Constructor

NETWORK = "dnnlib.tflib.network.Network"
MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
NAMESPACE = "argparse.Namespace"
_ARRAY = "numpy.ndarray"
_DTYPE = "numpy.dtype"
_SCALAR = "numpy.core.multiarray.scalar"
_TORCH_DTYPE_NAMES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def plain() -> dict[str, Constructor | None]:
    """Return the names without tensors: containers, and settings that are read and not used."""
    return {
        "collections.OrderedDict": _dictionary,
        "builtins.dict": _dictionary,
        "builtins.bytes": lambda: b"",  # how protocols up to 2 write empty bytes
        "builtins.set": _set,
        "builtins.object": None,
        "copyreg._reconstructor": _reconstruct,
        NAMESPACE: lambda *args: Record(NAMESPACE, args),
        "torch.Size": lambda sizes=(): tuple(sizes),
        "torch.device": lambda *args: Record("torch.device", args),
    } | {f"torch.{name}": None for name in _TORCH_DTYPE_NAMES}


def tensors() -> dict[str, Constructor | None]:
    """Return the names that PyTorch's own files construct tensors with."""
    rebuild = {
        "torch._utils._rebuild_tensor": view,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
    }
    return rebuild | {f"torch.{name}Storage": None for name in TORCH_DTYPES}


def arrays() -> dict[str, Constructor | None]:
    """Return the names that NumPy's versions 1 and 2 pickle arrays and scalars with."""
    names = {
        _ARRAY: None,
        _DTYPE: lambda *args: Record(_DTYPE, args),
        "numpy.core.multiarray._reconstruct": lambda *args: Record(_ARRAY),
        _SCALAR: lambda *args: Record(_SCALAR, args),
        "numpy.core.numeric._frombuffer": lambda data, *args: Record(_ARRAY, (data, *args)),
        "_codecs.encode": _encode,
    }
    return names | {name.replace("numpy.core.", "numpy._core."): constructor for name, constructor in names.items()}


def networks() -> dict[str, Constructor | None]:
    """Return the names of NVIDIA's network objects, of either kind; their embedded source code is not read."""
    return {
        NETWORK: lambda *args: Record(NETWORK, args),
        MODULE: _module,
        "dnnlib.util.EasyDict": _dictionary,
        "dnnlib.EasyDict": _dictionary,
    }


def storage_dtype(storage_class: Pickled) -> np.dtype:
    """Return the dtype of `torch.FloatStorage` and the other storage classes.

    Raises:
      ConversionError: if it is none of them.
    """
    if isinstance(storage_class, Global) and storage_class.name.endswith("Storage"):
        return TORCH_DTYPES[storage_class.name.removeprefix("torch.").removesuffix("Storage")]
    raise ConversionError("the pickle has a storage of an unknown class")


def as_tensor(value: Pickled) -> Tensor | None:
    """Convert a pickled value to a tensor: PyTorch's, a NumPy array or scalar; None for any other value.

    Raises:
      ConversionError: for an array that is broken or of another dtype than plain numbers.
    """
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, Record) or value.name not in (_ARRAY, _SCALAR):
        return None
    if value.name == _SCALAR:
        dtype, data = _expect(value.args, 2)
        return contiguous(_from_bytes(_dtype(dtype), data), ())
    if value.args:
        data, dtype, shape, order = _expect(value.args, 4)
        return contiguous(_from_bytes(_dtype(dtype), data), shape, order == "F")
    _, shape, dtype, is_fortran, data = _expect(value.state, 5)
    return contiguous(_from_bytes(_dtype(dtype), data), shape, bool(is_fortran))


def _dtype(value: Pickled) -> np.dtype:
    if not isinstance(value, Record) or value.name != _DTYPE or not value.args:
        raise ConversionError("the pickle has an array without a dtype")
    code = value.args[0]
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    if not isinstance(code, str) or code.lstrip("<|") not in NUMPY_DTYPES or order not in ("<", "|", "="):
        raise ConversionError(f"the pickle has an array of dtype {str(code)[:20]!r} (byte order {str(order)[:20]!r})")
    return NUMPY_DTYPES[code.lstrip("<|")]


def _from_bytes(dtype: np.dtype, data: Pickled) -> Storage:
    if isinstance(data, str):  # Python 2's byte strings
        data = data.encode("latin-1")
    if not isinstance(data, bytes | memoryview) or len(data) % dtype.itemsize:
        raise ConversionError("the pickle has an array whose data are not bytes, or not a whole number of values")
    return Storage(dtype=dtype, count=len(data) // dtype.itemsize, read=lambda: data)


def _expect(value: Pickled, count: int) -> tuple:
    if not isinstance(value, tuple) or len(value) != count:
        raise ConversionError(f"the pickle has an array that does not have {count} parts")
    return value


def _rebuild_tensor(
    storage: Pickled,
    offset: Pickled,
    size: Pickled,
    stride: Pickled,
    requires_grad: Pickled = False,
    hooks: Pickled = None,
    metadata: Pickled = None,
) -> Tensor:
    """Return the tensor; the parameters are those of PyTorch's function, three of them without a use here."""
    return view(storage, offset, size, stride)


def _rebuild_parameter(data: Pickled, requires_grad: Pickled = True, hooks: Pickled = None) -> Tensor:
    if not isinstance(data, Tensor):
        raise ConversionError("the pickle makes a parameter of something that is not a tensor")
    return data


def _dictionary(items: Pickled = ()) -> dict:
    pairs = items.items() if isinstance(items, Mapping) else items
    result = {}
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise ConversionError(f"the pickle has a {type(key).__name__} for a key")
        result[key] = value
    return result


def _set(items: Pickled = ()) -> set:
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | int) for item in items):
        raise ConversionError("the pickle has a set of something other than names")
    return set(items)


def _reconstruct(cls: Pickled, base: Pickled = None, state: Pickled = None) -> Pickled:
    if not isinstance(cls, Global) or cls.name not in (NETWORK, NAMESPACE, "dnnlib.util.EasyDict", "dnnlib.EasyDict"):
        raise ConversionError(f"the pickle makes an object of {getattr(cls, 'name', 'something that is not a class')}")
    return Record(cls.name) if cls.name in (NETWORK, NAMESPACE) else _dictionary(state or ())


def _module(meta: Pickled) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise ConversionError("the pickle has a persistent object without a state")
    return Record(MODULE, (meta.get("class_name"),), meta["state"])


def _encode(text: Pickled, coding: Pickled = "") -> bytes:
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise ConversionError("the pickle encodes something other than bytes")
    return text.encode("latin-1")

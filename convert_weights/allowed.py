"""The names that a pickle of weights may have, and their constructors. Every other name is refused."""

from collections.abc import Mapping

import numpy as np

from convert_weights.errors import ConversionError
from convert_weights.literals import latin_bytes
from convert_weights.records import Global, Pickled, Record, Skipped, Text
from convert_weights.tensors import NUMPY_DTYPES, TORCH_DTYPES, Storage, Tensor, contiguous, view
from convert_weights.unpickle import Constructor
from convert_weights.untrusted import is_scalar_key, refuse_key, shown

NETWORK = "dnnlib.tflib.network.Network"
MODULE = "torch_utils.persistence._reconstruct_persistent_obj"
NAMESPACE = "argparse.Namespace"
_ARRAY = "numpy.ndarray"
_DTYPE = "numpy.dtype"
_SCALAR = "numpy.core.multiarray.scalar"
_RUNS_CODE = frozenset(
    "_pickle _posixsubprocess builtins cloudpickle code codeop commands ctypes dill functools imp importlib inspect "
    "marshal multiprocessing nt operator os pdb pickle pip pkgutil posix profile pty pydoc runpy shelve shutil socket "
    "subprocess sys timeit trace urllib webbrowser zipimport".split()
)
_BUILT_IN_DATA = ("bytearray", "complex", "frozenset", "range", "slice")
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


def is_setting(name: str) -> bool:
    """Return whether a class that is not known may be a setting: whether a good file could name it.

    Nothing is made of it in either case; but a file that names what starts programs or loads code is not trusted.
    """
    module, _, attribute = name.partition(".")
    return module not in _RUNS_CODE or (module == "builtins" and attribute in _BUILT_IN_DATA)


def storage_dtype(storage_class: Pickled) -> np.dtype:
    """Return the dtype of `torch.FloatStorage` and the other storage classes.

    Raises:
      ConversionError: if it is none of them.
    """
    if isinstance(storage_class, Global) and storage_class.name.endswith("Storage"):
        return TORCH_DTYPES[storage_class.name.removeprefix("torch.").removesuffix("Storage")]
    name = f"{shown(storage_class.name)}, " if isinstance(storage_class, Global | Skipped) else ""
    raise ConversionError(f"the pickle has a storage of {name}an unknown class")


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
        raise ConversionError(f"the pickle has an array of dtype '{shown(code)}' (byte order '{shown(order)}')")
    return NUMPY_DTYPES[code.lstrip("<|")]


def _from_bytes(dtype: np.dtype, data: Pickled) -> Storage:
    if isinstance(data, str):  # Python 2's byte strings
        data = latin_bytes(data)
    if isinstance(data, Text):
        return _from_text(dtype, data)
    if not isinstance(data, bytes | memoryview) or len(data) % dtype.itemsize:
        raise ConversionError("the pickle has an array whose data are not bytes, or not a whole number of values")
    return Storage(dtype=dtype, count=len(data) // dtype.itemsize, read=lambda: data)


def _from_text(dtype: np.dtype, text: Text) -> Storage:
    if text.count % dtype.itemsize:
        raise ConversionError("the pickle has an array whose text is not a whole number of values")
    return Storage(dtype=dtype, count=text.count // dtype.itemsize, read=text.read)


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
        if not isinstance(key, str | int) or not is_scalar_key(key):
            raise refuse_key(key)
        result[key] = value
    return result


def _set(items: Pickled = ()) -> set:
    if not isinstance(items, list | tuple) or not all(map(is_scalar_key, items)):
        raise ConversionError("the pickle has a set of something other than names")
    return set(items)


def _reconstruct(cls: Pickled, base: Pickled = None, state: Pickled = None) -> Pickled:
    if isinstance(cls, Skipped):
        return Skipped(cls.name)
    if not isinstance(cls, Global) or cls.name not in (NETWORK, NAMESPACE, "dnnlib.util.EasyDict", "dnnlib.EasyDict"):
        raise ConversionError(
            f"the pickle makes an object of {cls.name if isinstance(cls, Global) else 'something that is not a class'}"
        )
    return Record(cls.name) if cls.name in (NETWORK, NAMESPACE) else _dictionary(state or ())


def _module(meta: Pickled) -> Record:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise ConversionError("the pickle has a persistent object without a state")
    return Record(MODULE, (meta.get("class_name"),), meta["state"])


def _encode(text: Pickled, coding: Pickled = "") -> bytes | Text:
    if not isinstance(text, str | Text) or not isinstance(coding, str) or coding not in ("latin1", "latin-1"):
        raise ConversionError("the pickle encodes something other than bytes")
    return text if isinstance(text, Text) else latin_bytes(text)

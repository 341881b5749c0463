"""Tensors of a file before they are read: shape, dtype and position are checked, the values are read later."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import ml_dtypes
import numpy as np

from convert_weights.errors import ConversionError
from convert_weights.records import Pickled

MAX_RANK = 8
_MAX_INDEX = 1 << 48

TORCH_DTYPES: dict[str, np.dtype] = {
    "Double": np.dtype("<f8"),
    "Float": np.dtype("<f4"),
    "Half": np.dtype("<f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("<i8"),
    "Int": np.dtype("<i4"),
    "Short": np.dtype("<i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
}
"""Dtypes by the first part of PyTorch's storage classes (`FloatStorage`)."""

NUMPY_DTYPES: dict[str, np.dtype] = {
    code: np.dtype(code) for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
}
"""Dtypes by NumPy's codes, little-endian: the only ones that a pickled array may have."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """A sequence of numbers in a file.

    Attributes:
      dtype: Their dtype.
      count: Their number; the file was checked to have them.
      read: Returns their bytes, as a view of the file where they are stored uncompressed.
    """

    dtype: np.dtype
    count: int
    read: Callable[[], bytes | memoryview | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view into a storage, not read yet.

    Attributes:
      storage: Its numbers.
      offset: Index of the first one in the storage.
      shape: Its shape.
      strides: Steps from one index to the next, in numbers, per dimension.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Return the dtype that it is stored in."""
        return self.storage.dtype

    @property
    def nbytes(self) -> int:
        """Return the bytes that its values alone take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def array(self) -> np.ndarray:
        """Return its values: a read-only view of the file, or of memory where the file has them compressed."""
        size = self.dtype.itemsize
        strides = [step * size for step in self.strides]
        return np.ndarray(self.shape, self.dtype, self.storage.read(), self.offset * size, strides)


def view(storage: Pickled, offset: Pickled, shape: Pickled, strides: Pickled) -> Tensor:
    """Return the tensor that a file claims, checked to lie inside its storage.

    Raises:
      ConversionError: if it does not, or repeats the storage's numbers (so that few bytes could claim to be many).
    """
    if not isinstance(storage, Storage):
        raise ConversionError("the pickle makes a tensor of something that is not a storage")
    offset, *shape_and_strides = _indices((offset, *_sequence(shape), *_sequence(strides)))
    rank = len(_sequence(shape))
    if rank > MAX_RANK or len(shape_and_strides) != 2 * rank:
        raise ConversionError(f"the pickle makes a tensor of {rank} sizes and {len(shape_and_strides) - rank} strides")
    sizes, steps = tuple(shape_and_strides[:rank]), tuple(shape_and_strides[rank:])
    _check_inside(storage, offset, sizes, steps)
    return Tensor(storage=storage, offset=offset, shape=sizes, strides=steps)


def contiguous(storage: Storage, shape: Pickled, is_fortran: bool = False) -> Tensor:
    """Return the tensor of a complete storage, in C order or in Fortran's.

    Raises:
      ConversionError: if the storage has another number of values than the shape.
    """
    sizes = tuple(_indices(_sequence(shape)))
    if len(sizes) > MAX_RANK or math.prod(sizes) != storage.count:
        raise ConversionError(f"the pickle makes an array of shape {sizes} out of {storage.count:,} numbers")
    order = sizes if is_fortran else sizes[::-1]
    steps = [math.prod(order[:i]) for i in range(len(order))]
    return Tensor(storage=storage, offset=0, shape=sizes, strides=tuple(steps if is_fortran else steps[::-1]))


def from_array(array: np.ndarray) -> Tensor:
    """Return a tensor of an array in memory (little-endian, C order)."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return contiguous(Storage(array.dtype, array.size, lambda: array.reshape(-1).view(np.uint8)), array.shape)


def _check_inside(storage: Storage, offset: int, sizes: Sequence[int], steps: Sequence[int]) -> None:
    count = math.prod(sizes)
    last = offset + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if count and last >= storage.count:
        raise ConversionError(f"the pickle makes a tensor of shape {tuple(sizes)} that ends outside its storage")
    if count > storage.count:
        raise ConversionError(f"the pickle makes a tensor of shape {tuple(sizes)} out of {storage.count:,} numbers")
    if offset > storage.count:
        raise ConversionError("the pickle makes a tensor that starts outside its storage")


def _sequence(value: Pickled) -> tuple:
    if not isinstance(value, tuple | list):
        raise ConversionError("the pickle makes a tensor whose shape is not a tuple")
    return tuple(value)


def _indices(values: Sequence[Pickled]) -> list[int]:
    for value in values:
        if type(value) is not int or not 0 <= value <= _MAX_INDEX:
            raise ConversionError("the pickle makes a tensor with a size, stride or offset that is not an index")
    return list(values)

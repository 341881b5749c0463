"""Reading of PyTorch's files without PyTorch: the zip layout, and the one from before version 1.6."""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO, Protocol

import numpy as np

from convert_weights import allowed, settings
from convert_weights.errors import ConversionError
from convert_weights.records import Budget, Pickled, budget_for
from convert_weights.tensors import Storage
from convert_weights.unpickle import Constructor, Machine
from convert_weights.untrusted import same, shown

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_START = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled magic number in the first bytes of a file in the layout from before PyTorch 1.6."""

MAX_PICKLE_BYTES = 64 << 20
MAX_COMPRESSION = 50
"""Largest ratio of a member's size to its compressed size; weights hardly compress at all."""

MAX_DIRECTORY_BYTES = 2 << 20
MAX_UNPACKED, UNPACKED_START = 4, 64 << 20
"""How many times its own size a file's tensors may have unpacked, and bytes that every file may."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class FindStorage(Protocol):
    """Returns the storage of a key, checked to have `count` numbers of a dtype."""

    def __call__(self, key: str, count: int, dtype: np.dtype) -> Storage:
        """Find the storage."""
        ...


def read_zip(data: memoryview, stream: BinaryIO) -> Pickled:
    """Read a file that `torch.save` of PyTorch 1.6 or later wrote, with tensors that view the file.

    Args:
      data: The file's bytes.
      stream: The same file, for the zip directory.

    Raises:
      ConversionError: if it is broken, claims more data than it has, or holds anything but tensors and containers.
    """
    members = _members(stream)
    prefix = _prefix(members)
    _check_byte_order(data, members.get(f"{prefix}byteorder"))
    info = members[f"{prefix}data.pkl"]
    if info.file_size > MAX_PICKLE_BYTES:
        raise ConversionError(f"its data.pkl has {info.file_size:,} bytes, which no weights need")
    unpacked = _Unpacked(data)

    def storage(key: str, count: int, dtype: np.dtype) -> Storage:
        member = members.get(f"{prefix}data/{key}")
        if member is None or member.file_size < count * dtype.itemsize:
            raise ConversionError(f"storage '{shown(key)}' of {shown(count)} numbers is missing or too short")
        _check_size(data, member)
        return Storage(dtype=dtype, count=count, read=lambda: unpacked.read(member))

    names = allowed.plain() | allowed.tensors() | allowed.arrays()
    persistent, pickled = _persistent(storage), _member(data, info)
    machine = Machine(
        pickled, allowed=names, budget=budget_for(len(data)), persistent=persistent, skips=allowed.is_setting
    )
    return settings.run(machine)


def read_legacy(data: memoryview, budget: Budget | None = None) -> Pickled:
    """Read a file that `torch.save` of PyTorch before 1.6 wrote: five pickles, then the storages.

    Args:
      data: The file's bytes; or those of a storage inside a plain pickle, which have this layout in every version.
      budget: The work and memory that reading may still take, if the data are a part of a larger file.

    Raises:
      ConversionError: as `read_zip`.
    """
    budget = budget or budget_for(len(data))
    storages: dict[str, memoryview] = {}
    counts: dict[str, tuple[int, int]] = {}

    def storage(key: str, count: int, dtype: np.dtype) -> Storage:
        if count * dtype.itemsize > len(data):
            raise ConversionError(f"storage '{shown(key)}' claims {shown(count)} numbers, more than the file has")
        if counts.setdefault(key, (count, dtype.itemsize)) != (count, dtype.itemsize):
            raise ConversionError(f"storage '{shown(key)}' has two sizes")
        return Storage(dtype=dtype, count=count, read=lambda: storages[key])

    position = _legacy_header(data, budget)
    names = allowed.plain() | allowed.tensors() | allowed.arrays()
    persistent = _persistent(storage)
    main = Machine(
        data, allowed=names, budget=budget, persistent=persistent, skips=allowed.is_setting, position=position
    )
    value = settings.run(main)
    keys = Machine(data, allowed={}, budget=budget, position=main.position)
    storages.update(_storages(data, keys.run(), counts=counts, position=keys.position))
    return value


def _legacy_header(data: memoryview, budget: Budget) -> int:
    position, values = 0, []
    for _ in range(3):
        machine = Machine(data, allowed={}, budget=budget, position=position)
        values.append(machine.run())
        position = machine.position
    magic, version, system = values
    if not same(magic, LEGACY_MAGIC) or not same(version, 1001) or not isinstance(system, dict):
        raise ConversionError(
            "it is not a PyTorch file of the layout from before version 1.6, though it starts like one"
        )
    if system.get("little_endian") is not True:
        raise ConversionError("the file was written on a big-endian machine")
    return position


def _storages(
    data: memoryview, keys: Pickled, *, counts: Mapping[str, tuple[int, int]], position: int
) -> dict[str, memoryview]:
    """Return the storages' bytes by key, from `position` on; `counts` are their numbers of values and item sizes."""
    is_names = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not is_names or set(keys) != set(counts) or len(keys) != len(counts):
        raise ConversionError("its list of storages differs from those that its tensors use")
    storages = {}
    for key in keys:
        count, size = counts[key]
        start, end = position + 8, position + 8 + count * size
        if end > len(data) or struct.unpack("<q", data[position:start])[0] != count:
            raise ConversionError(f"storage '{shown(key)}' of {count:,} numbers is missing or too short")
        storages[key] = data[start:end]
        position = end
    return storages


def _persistent(storage: FindStorage) -> Constructor:
    """Return the constructor for persistent ids: `("storage", class, key, device, count)`, in old files then None."""

    def find(identity: Pickled) -> Storage:
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or not same(identity[0], "storage"):
            raise ConversionError("the pickle has a persistent id that is not a storage")
        _, storage_class, key, _, count, *old_view = identity
        if not isinstance(key, str) or type(count) is not int or count < 0:
            raise ConversionError("the pickle has a storage without a name or a size")
        if len(old_view) == 1 and old_view[0] is not None:
            raise ConversionError("the pickle has a storage inside another one, as PyTorch before 0.4 wrote them")
        return storage(key, count, allowed.storage_dtype(storage_class))

    return find


def _check_byte_order(data: memoryview, info: zipfile.ZipInfo | None) -> None:
    if info is not None and (info.file_size > MAX_COMPRESSION or bytes(_member(data, info)) != b"little"):
        raise ConversionError("the file was written on a big-endian machine")


class _Directory:
    """A file for `zipfile`, which reads its directory in one piece, however large the file claims it to be."""

    def __init__(self, stream: BinaryIO):
        self.seek, self.tell, self._read = stream.seek, stream.tell, stream.read

    def read(self, size: int = -1, /) -> bytes:
        """Read `size` bytes."""
        if size > MAX_DIRECTORY_BYTES:
            raise ConversionError(f"its zip directory has {size:,} bytes, which no weights need")
        return self._read(size)


class _Unpacked:
    """Members of a file, of which the last compressed one stays unpacked: many tensors may be views of it."""

    def __init__(self, data: memoryview):
        self._data, self._left = data, MAX_UNPACKED * len(data) + UNPACKED_START
        self._last: tuple[str, memoryview] = ("", memoryview(b""))

    def read(self, info: zipfile.ZipInfo) -> memoryview:
        """Return a member's bytes.

        Raises:
          ConversionError: if it is broken, or all of them together have too many.
        """
        if info.compress_type == zipfile.ZIP_STORED:
            return _member(self._data, info)
        if self._last[0] != info.filename:
            self._left -= info.file_size
            if self._left < 0:
                raise ConversionError(
                    "its compressed storages have far more bytes than the file, which no weights need"
                )
            self._last = ("", memoryview(b""))
            self._last = (info.filename, _member(self._data, info))
        return self._last[1]


def _members(stream: BinaryIO) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_Directory(stream)) as archive:
            infos = archive.infolist()
    except ConversionError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, struct.error) as error:
        raise ConversionError(f"it is a broken zip file, perhaps cut off: {shown(str(error))}") from None
    members = {info.filename: info for info in infos}
    if len(members) != len(infos):
        raise ConversionError("its zip directory has one name twice")
    return members


def _prefix(members: Mapping[str, zipfile.ZipInfo]) -> str:
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ConversionError(f"it is a zip file, but not PyTorch's: it has {len(pickles)} members named data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in members:
        raise ConversionError("it is a TorchScript program, not weights")
    return prefix


def _check_size(data: memoryview, info: zipfile.ZipInfo) -> None:
    """Raise on a member that claims more bytes than its part of the file can hold."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ConversionError(
            f"zip member '{shown(info.filename)}' is encrypted, or compressed by something other than deflate"
        )
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise ConversionError(f"zip member '{shown(info.filename)}' has two sizes")
    if info.file_size > MAX_COMPRESSION * info.compress_size + 1024 or info.compress_size > len(data):
        raise ConversionError(
            f"zip member '{shown(info.filename)}' claims {info.file_size:,} bytes, more than it can hold"
        )


def _member(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """Return a member's bytes: a view of the file where it is stored uncompressed."""
    _check_size(data, info)
    start = info.header_offset
    if not 0 <= start <= len(data) - _LOCAL_HEADER.size or bytes(data[start : start + 4]) != b"PK\x03\x04":
        raise ConversionError(f"zip member '{shown(info.filename)}' is not where the directory says")
    *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(data, start)
    start += _LOCAL_HEADER.size + name_length + extra_length
    packed = data[start : start + info.compress_size]
    if len(packed) != info.compress_size:
        raise ConversionError(f"zip member '{shown(info.filename)}' is cut off")
    return packed if info.compress_type == zipfile.ZIP_STORED else _inflate(packed, info)


def _inflate(packed: memoryview, info: zipfile.ZipInfo) -> memoryview:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = inflater.decompress(packed, info.file_size + 1)
    except zlib.error as error:
        raise ConversionError(f"zip member '{shown(info.filename)}' is broken: {shown(str(error))}") from None
    if len(unpacked) != info.file_size:
        raise ConversionError(f"zip member '{shown(info.filename)}' has another size than the directory says")
    return memoryview(unpacked)

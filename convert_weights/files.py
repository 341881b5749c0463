"""Reading of a file of weights of any kind, recognised by its content, as tensors and containers."""

import contextlib
import dataclasses
import gc
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from convert_weights import allowed, settings, torch_file
from convert_weights.errors import ConversionError
from convert_weights.records import Budget, Pickled, budget_for
from convert_weights.tensors import Storage
from convert_weights.unpickle import Constructor, Machine

TORCH_ZIP = "PyTorch file"
TORCH_LEGACY = "PyTorch file from before version 1.6"
PICKLE = "pickle"

_LOOKS_LIKE = {
    b"<": "a web page: the download returned a page instead of the file",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file itself with `git lfs pull`",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
}


@dataclasses.dataclass(frozen=True)
class Contents:
    """The contents of a file.

    Attributes:
      path: The file.
      kind: One of the kinds above.
      value: Its tensors, in the file's own containers.
      size: Its size in bytes.
    """

    path: Path
    kind: str
    value: Pickled
    size: int


def read(path: str | Path) -> Contents:
    """Read a file of weights; tensors are views of it, so nothing large is loaded yet.

    Raises:
      ConversionError: if it is of no known kind, broken, or holds anything but tensors and plain containers.
      OSError: if it cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as stream:
        if path.stat().st_size == 0:
            raise ConversionError(f"{path} is empty")
        data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        kind = _kind(path, bytes(data[:32]))
        try:
            with _collector_paused():
                value = _read(kind, data, stream)
        except ConversionError as error:
            raise ConversionError(f"{path}: {error}") from None
    return Contents(path=path, kind=kind, value=value, size=len(data))


def _read(kind: str, data: memoryview, stream: BinaryIO) -> Pickled:
    if kind == TORCH_ZIP:
        return torch_file.read_zip(data, stream)
    return torch_file.read_legacy(data) if kind == TORCH_LEGACY else _read_pickle(data)


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause Python's search for cycles, which takes longer than the reading of many small objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _kind(path: Path, start: bytes) -> str:
    if start.startswith(b"PK"):
        return TORCH_ZIP
    if start[:1] == b"\x80" and torch_file.LEGACY_START in start:
        return TORCH_LEGACY
    if start[:1] == b"\x80" or start[:1] in (b"(", b"c", b"]", b"}"):
        return PICKLE
    likely = next((kind for prefix, kind in _LOOKS_LIKE.items() if start.startswith(prefix)), "of no known kind")
    raise ConversionError(
        f"{path} is {likely} (it starts with {start[:8]!r}); expected a PyTorch file or NVIDIA's pickle"
    )


def _read_pickle(data: memoryview) -> Pickled:
    """Read NVIDIA's pickles, where every tensor of PyTorch is a file of the old layout in itself."""
    budget = budget_for(len(data))
    names: dict[str, Constructor | None] = allowed.plain() | allowed.tensors() | allowed.arrays() | allowed.networks()
    names["torch.storage._load_from_bytes"] = lambda blob: _read_storage(blob, budget)
    return settings.run(Machine(data, allowed=names, budget=budget, skips=allowed.is_setting))


def _read_storage(blob: Pickled, budget: Budget) -> Storage:
    if not isinstance(blob, bytes | memoryview):
        raise ConversionError("the pickle has a storage that is not bytes")
    value = torch_file.read_legacy(memoryview(blob), budget)
    if not isinstance(value, Storage):
        raise ConversionError("the pickle has something other than a storage where one is expected")
    return value

"""Archives of heatmaps: npz, written at the end, or Zarr (the extra `zarr`), which grows and can be resumed.

Row i of an archive is row i of the table. Heatmaps are those of the aligned face, all in one array, or warped back to
the image, one array per row, since images differ in size. No more than one row is held in memory.
"""

import array
import contextlib
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.runtime.files import replacing

if TYPE_CHECKING:
    import zarr

_BLOCK = 256  # rows by which Zarr arrays grow


class ArchiveError(ValueError):
    """An archive that cannot be written or resumed; the message names the reason."""


class Archive(Protocol):
    """An open archive, to which results are added row by row."""

    def add(self, row: ResultRow, heatmaps: np.ndarray | None) -> None:
        """Append a row of the table with its heatmaps (height, width, K); None where there are none."""
        ...


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Return whether an archive of this name is Zarr."""
    return os.fspath(path).rstrip("/").lower().endswith(".zarr")


@contextlib.contextmanager
def open_archive(
    path: str | os.PathLike[str], aus: Sequence[int], size: int, *, on_image: bool = False, keep: int = 0
) -> Iterator[Archive]:
    """Open an archive.

    An npz file appears at `path` when the block ends, whether or not the block raised. Until then the heatmaps are in
    an unnamed temporary file in the same folder (524 KB per row for eight AUs at 128), which the system removes if the
    program is killed. Zarr exists from the beginning.

    Args:
      path: Zarr where it ends with `.zarr`, else npz.
      aus: The K AUs.
      size: Side of the aligned face's heatmaps in pixels.
      on_image: Whether heatmaps are warped back to the image: as float16, in arrays `heatmaps_0000000`, ... of
        (height, width, K), none for a row without a result. Else `heatmaps` is float32 (N, size, size, K), NaN there.
      keep: Rows of an existing Zarr archive to keep and append to.

    Raises:
      OSError: The folder cannot be written.
      ArchiveError: Zarr is not installed, or there is no such archive to resume.
    """
    if is_zarr(path):
        archive = _open_zarr(path, aus, size, on_image=on_image, keep=keep)
        try:
            yield archive
        finally:
            archive.close()
        return
    if keep:
        raise ArchiveError(f"{path}: an npz archive is written at the end and cannot be resumed; .zarr can")
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryFile(dir=folder) as spool, tempfile.TemporaryFile(dir=folder) as scores:
        archive = NpzArchive(spool, scores, aus, size=size, on_image=on_image)
        try:
            yield archive
        finally:
            with replacing(path) as temporary, open(temporary, "w+b") as stream:
                archive.write(stream)


def join(path: str | os.PathLike[str], parts: Sequence[str], *, on_image: bool = False) -> None:
    """Write an archive that has the rows of several, one after the other, as if they had been added to it.

    Args:
      path: The archive.
      parts: Complete archives of the same kind, Zarr or npz.
      on_image: As in `open_archive`.

    Raises:
      OSError: The folder cannot be written.
      ArchiveError: One is no archive, or of other AUs; or Zarr is not installed.
    """
    aus, size = _shape(parts, on_image)
    with open_archive(path, aus, size, on_image=on_image) as archive:
        for part in parts:
            for row, heatmaps in _rows(part, on_image):
                archive.add(row, heatmaps)


class NpzArchive:
    """Collects results and writes them as an npz archive at the end.

    The archive has the heatmaps, `scores` float32 (N, K), `aus` int32 (K,), `input` (N,) of strings, `frame` and
    `face_id` int32 (N,), -1 for no face; `numpy.load` reads it without pickles.
    """

    def __init__(self, spool: BinaryIO, scores: BinaryIO, aus: Sequence[int], *, size: int, on_image: bool = False):
        """Begin an empty archive.

        Args:
          spool: An open temporary file for the heatmaps.
          scores: Another for the scores.
          aus: The K AUs.
          size: Side of the aligned face's heatmaps in pixels.
          on_image: Whether heatmaps are those of the whole image.
        """
        self._spool, self._scores = spool, scores
        self._aus = np.asarray(aus, np.int32)
        self._shape = (size, size, len(aus))
        self._zip = zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) if on_image else None
        self._inputs: list[str] = []
        self._frames, self._faces = array.array("i"), array.array("i")

    def add(self, row: ResultRow, heatmaps: np.ndarray | None) -> None:
        """Append a row: its scores, and heatmaps where there are any."""
        if self._zip is not None:
            if heatmaps is not None:
                _add_entry(self._zip, _array_name(len(self._inputs)), heatmaps.astype(np.float16))
        else:
            self._spool.write(np.ascontiguousarray(_checked(row, heatmaps, self._shape), "<f4").data)
        self._scores.write(np.ascontiguousarray(_scores(row, len(self._aus)), "<f4").data)
        self._inputs.append(row.input)
        self._frames.append(row.frame)
        self._faces.append(-1 if row.face_id is None else row.face_id)

    def write(self, stream: BinaryIO) -> None:
        """Write the archive of all rows added so far to an open binary stream; no row can be added afterwards."""
        if self._zip is not None:
            self._zip.close()
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, stream, 1 << 20)
        with zipfile.ZipFile(stream, "a" if self._zip else "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            if self._zip is None:
                self._copy_heatmaps(archive)
            for name, values in self._arrays().items():
                _add_entry(archive, name, values)

    def _copy_heatmaps(self, archive: zipfile.ZipFile) -> None:
        with archive.open("heatmaps.npy", "w", force_zip64=True) as entry:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(self._inputs), *self._shape)}
            np.lib.format.write_array_header_1_0(entry, header)
            self._spool.seek(0)
            shutil.copyfileobj(self._spool, entry, 1 << 20)

    def _arrays(self) -> dict[str, np.ndarray]:
        self._scores.seek(0)
        scores = np.frombuffer(self._scores.read(), np.float32).reshape(-1, len(self._aus))
        return {
            "scores": scores,
            "aus": self._aus,
            "input": np.array(self._inputs, str),
            "frame": np.array(self._frames, np.int32),
            "face_id": np.array(self._faces, np.int32),
        }


class ZarrArchive:
    """A Zarr group that grows: the arrays of `NpzArchive`, except for `aus`, which is an attribute.

    After a killed run its arrays may be longer than the table; `keep` of `open_archive` cuts them.
    """

    def __init__(self, group: "zarr.Group", aus: Sequence[int], size: int, *, on_image: bool, count: int):
        """Continue an open group that has `count` rows; the other arguments are those of `open_archive`."""
        self._group, self._count = group, count
        self._shape, self._on_image = (size, size, len(aus)), on_image

    def add(self, row: ResultRow, heatmaps: np.ndarray | None) -> None:
        """Append a row: its scores, and heatmaps where there are any."""
        at = self._count
        if at == _array(self._group, "scores").shape[0]:
            _resize(self._group, at + _BLOCK)
        if not self._on_image:
            _array(self._group, "heatmaps")[at] = _checked(row, heatmaps, self._shape)
        elif heatmaps is not None:
            self._group.create_array(_array_name(at), data=heatmaps.astype(np.float16), overwrite=True)
        _array(self._group, "scores")[at] = _scores(row, self._shape[-1])
        _array(self._group, "frame")[at] = row.frame
        _array(self._group, "face_id")[at] = -1 if row.face_id is None else row.face_id
        _array(self._group, "input")[at] = row.input
        self._count += 1

    def close(self) -> None:
        """Cut the arrays to the rows that were added."""
        _resize(self._group, self._count)


def _open_zarr(
    path: str | os.PathLike[str], aus: Sequence[int], size: int, *, on_image: bool, keep: int
) -> ZarrArchive:
    """Create a Zarr group, or open one and cut it to the rows to keep."""
    try:
        import zarr
    except ImportError as error:
        raise ArchiveError("Zarr is not installed: pip install 'fgnet_jax[zarr]', or write .npz") from error
    if keep:
        group = _open_existing(path, aus, on_image=on_image, keep=keep)
        return ZarrArchive(group, aus, size, on_image=on_image, count=keep)
    count = len(aus)
    group = zarr.open_group(os.fspath(path), mode="w", attributes={"aus": [int(au) for au in aus]})
    shapes = {"scores": ((count,), "float32", np.nan), "frame": ((), "int32", 0), "face_id": ((), "int32", -1)}
    for name, (shape, dtype, empty) in shapes.items():
        group.create_array(name, shape=(0, *shape), chunks=(_BLOCK, *shape), dtype=dtype, fill_value=empty)
    group.create_array("input", shape=(0,), chunks=(_BLOCK,), dtype=str)
    if not on_image:
        maps = (size, size, count)
        group.create_array("heatmaps", shape=(0, *maps), chunks=(1, *maps), dtype="float32", fill_value=np.nan)
    return ZarrArchive(group, aus, size, on_image=on_image, count=0)


def _open_existing(path: str | os.PathLike[str], aus: Sequence[int], *, on_image: bool, keep: int) -> "zarr.Group":
    """Open an existing archive, and cut it to its first rows.

    Raises:
      ArchiveError: There is none, or it is of other AUs or shorter.
    """
    import zarr

    try:
        group = zarr.open_group(os.fspath(path), mode="r+")
        fits = group.attrs["aus"] == [int(au) for au in aus] and _array(group, "scores").shape[0] >= keep
        fits = fits and ("heatmaps" in group) != on_image
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise ArchiveError(f"{path}: no archive to resume: {error!r}") from error
    if not fits:
        raise ArchiveError(f"{path}: cannot be resumed: other AUs, other heatmaps, or fewer than {keep} rows")
    _resize(group, keep)
    return group


def _open(path: str) -> Mapping[str, Any]:
    """Open an archive to be read, its arrays by name; those of npz are read whenever they are looked up.

    Raises:
      ArchiveError: It is none.
    """
    try:
        if not is_zarr(path):
            return np.load(path, allow_pickle=False)
        import zarr

        group = zarr.open_group(path, mode="r")
        return {"aus": np.asarray(group.attrs["aus"], np.int32), **dict(group.arrays())}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{path}: no archive of heatmaps: {error}") from error


def _shape(parts: Sequence[str], on_image: bool) -> tuple[list[int], int]:
    """Return the AUs of archives, and the side of their heatmaps, 0 for those on the image.

    Raises:
      ArchiveError: They differ.
    """
    found = []
    for part in parts:
        arrays = _open(part)
        if ("heatmaps" in arrays) == on_image:
            raise ArchiveError(f"{part}: heatmaps are {'not ' if on_image else ''}those of the image")
        found.append((np.asarray(arrays["aus"]).tolist(), 0 if on_image else _side(part, arrays)))
        if found[-1] != found[0]:
            raise ArchiveError(f"{part}: other AUs or sizes than in {parts[0]}")
    return found[0]


def _side(path: str, arrays: Mapping[str, Any]) -> int:
    """Return the side of an archive's heatmaps."""
    if is_zarr(path):
        return arrays["heatmaps"].shape[1]
    with zipfile.ZipFile(path) as archive, archive.open("heatmaps.npy") as entry:
        return _header(entry)[1]


def _header(entry: IO[bytes]) -> tuple[int, ...]:
    """Read the beginning of an array in an npz archive, up to its values; return its shape."""
    np.lib.format.read_magic(entry)
    return np.lib.format.read_array_header_1_0(entry)[0]


def _rows(path: str, on_image: bool) -> Iterator[tuple[ResultRow, np.ndarray | None]]:
    """Read the rows of an archive, each with its heatmaps; None for a row without a result."""
    arrays = _open(path)
    scores, frames, faces, inputs = (np.asarray(arrays[name]) for name in ("scores", "frame", "face_id", "input"))
    has_result = np.asarray(np.isfinite(scores).all(1))
    for k, maps in enumerate(_heatmaps(path, arrays, has_result, on_image)):
        face = None if faces[k] < 0 else int(faces[k])
        row = ResultRow(str(inputs[k]), int(frames[k]), None, face_id=face, scores=scores[k] if has_result[k] else None)
        yield row, maps if has_result[k] else None


def _heatmaps(
    path: str, arrays: Mapping[str, Any], has_result: np.ndarray, on_image: bool
) -> Iterator[np.ndarray | None]:
    """Read the heatmaps of an archive row by row, in constant memory."""
    if on_image:
        yield from (np.asarray(arrays[_array_name(k)]) if known else None for k, known in enumerate(has_result))
    elif is_zarr(path):
        yield from (np.asarray(arrays["heatmaps"][k]) for k in range(len(has_result)))
    else:
        with zipfile.ZipFile(path) as archive, archive.open("heatmaps.npy") as entry:
            shape = _header(entry)[1:]
            for _ in has_result:
                yield np.frombuffer(entry.read(4 * math.prod(shape)), "<f4").reshape(shape)


def _array(group: "zarr.Group", name: str) -> "zarr.Array":
    return group[name]  # pyright: ignore[reportReturnType]  # no groups in it


def _resize(group: "zarr.Group", rows: int) -> None:
    for name in ("scores", "frame", "face_id", "input", "heatmaps"):
        if name in group:
            _array(group, name).resize((rows, *_array(group, name).shape[1:]))


def _array_name(row: int) -> str:
    return f"heatmaps_{row:07d}"


def _scores(row: ResultRow, count: int) -> np.ndarray:
    return np.full(count, np.nan, np.float32) if row.scores is None else np.asarray(row.scores, np.float32)


def _checked(row: ResultRow, heatmaps: np.ndarray | None, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a row's heatmaps as float32, NaN for none.

    Raises:
      ValueError: They have another shape.
    """
    if heatmaps is None:
        return np.full(shape, np.nan, np.float32)
    if heatmaps.shape != shape:
        raise ValueError(f"{row.input}: heatmaps have shape {heatmaps.shape}, expected {shape}")
    return np.asarray(heatmaps, np.float32)


def _add_entry(archive: zipfile.ZipFile, name: str, values: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, values, allow_pickle=False)

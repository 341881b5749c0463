"""The cache: aligned faces and their teachers' heatmaps, on disk in shards that are whole or do not exist.

FOLDER/index.json            what the cache is of: teachers, faces, options; and, once all is there, how much it is
FOLDER/shard_00000.npz, …    some hundred faces each, which end with a frame

A shard has, of n faces, their JPEGs one after the other (`images`, with `ends` of each), `heatmaps` (n, M, M, K)
float16 and `scores` (n, K) float32 of the teachers, `source`, `frame` and `face_id` (n,) int32, `labels` (n, K) int8
and `landmarks` (n, 68, 2) float32 (-1 and NaN where not known), and `left_out`: faces whose heatmaps were not finite,
since the shard before it.
"""

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data import jpeg
from fgnet_jax.data.corpus import decode
from fgnet_jax.data.pipeline import HostBatch
from fgnet_jax.distill.faces import FaceToLabel
from fgnet_jax.runtime import files
from fgnet_jax.train.config import differences
from fgnet_jax.train.defaults import ConfigError

INDEX = "index.json"
FORMAT = 1
LOCK = ".lock"

_LINES = 10  # of what differs
_COMPLETE = "complete"  # key of the index: the counts of a cache that is whole
_SIZES = "sizes"  # key of the index: bytes of each file, until all of them have been read
_PARTS = ("images", "ends", "heatmaps", "scores", "source", "frame", "face_id", "labels", "landmarks", "left_out")


class CacheError(ConfigError):
    """A cache that is damaged, or of other teachers, faces or options; the message names file and difference."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFace:
    """A face with its teachers' heatmaps.

    Attributes:
      face: The face.
      image: (S, S, 3) uint8, as the student takes it.
      source: Index of its source.
      frame: Number of its frame there.
      heatmaps: (M, M, K) float16.
      scores: (K,) float32.
    """

    face: FaceToLabel
    image: np.ndarray
    source: int
    frame: int
    heatmaps: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a cache is.

    Attributes:
      shards: Number of shards.
      faces: Faces in them.
      left_out: Faces that have no finite heatmaps.
      after: Source and frame of the last face; (0, 0) for none.
    """

    shards: int = 0
    faces: int = 0
    left_out: int = 0
    after: tuple[int, int] = (0, 0)


def face_bytes(image_size: int, map_size: int, aus: int) -> int:
    """Estimate the size of a face in the cache, in bytes: a byte a pixel as JPEG, and its heatmaps."""
    return image_size**2 + 2 * map_size**2 * aus + 4 * 68 * 2


def begin(folder: Path, settings: Mapping[str, Any], sizes: Mapping[str, int] | None = None) -> bool:
    """Begin a cache, or go on with one that was begun with the same settings; return whether it is complete.

    Args:
      folder: Its folder, which exists, and which this process holds.
      settings: What decides its content, as JSON has it.
      sizes: Bytes of the files that faces are found in, by name.

    Raises:
      CacheError: It is damaged, or was begun with other settings or files; the message says what differs.
    """
    for leftover in folder.glob(".shard_*.tmp"):  # of a run that was killed: nobody else writes here
        leftover.unlink()
    stored = read_index(folder)
    if stored is None:
        if any(folder.glob("shard_*.npz")):
            raise CacheError(f"{folder}: has shards, but no {INDEX}; remove the folder, and start again")
        _write_index(folder, settings, sizes=dict(sizes or {}))
        return False
    lines = settings_differences(stored["settings"], settings)
    if stored.get(_COMPLETE) is None:  # afterwards, the files are not needed any more
        then, now = stored.get(_SIZES) or {}, sizes or {}
        lines += [
            f"{name}: {then[name]:,} bytes there, {now[name]:,} here"
            for name in then
            if now.get(name, then[name]) != then[name]
        ]
    if lines:
        text = "\n  ".join(lines)
        raise CacheError(
            f"{folder} was begun with other teachers, faces or options; go on with those, or give another --output:"
            f"\n  {text}"
        )
    return stored.get(_COMPLETE) is not None


def settings_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List what differs between settings that were stored as JSON and new ones, of long lists by entry."""
    lines = differences(*_by_place(dict(old), json.loads(json.dumps(new))))
    return [*lines[:_LINES], *([f"and {len(lines) - _LINES:,} more"] if len(lines) > _LINES else [])]


def _by_place(old: Any, new: Any) -> tuple[Any, Any]:  # noqa: ANN401 - whatever JSON can hold
    """Return two settings; a list that is long in one of them is a dictionary in both, by the number of each entry."""
    if isinstance(old, list) and isinstance(new, list):
        entries = [*old, *new]
        if max(len(old), len(new)) > 8 or any(isinstance(entry, Mapping) for entry in entries):
            old, new = ({str(k): entry for k, entry in enumerate(values)} for values in (old, new))
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return old, new
    pairs = {key: _by_place(old.get(key), new.get(key)) for key in (*old, *new)}
    first, second = ({key: pair[k] for key, pair in pairs.items()} for k in (0, 1))
    return first, second


def read_index(folder: Path) -> dict[str, Any] | None:
    """Read the index of a cache; None where there is none.

    Raises:
      CacheError: It is damaged, or of a later version.
    """
    path = folder / INDEX
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise CacheError(f"{path}: format {stored['format']}, this version of fgnet_jax knows {FORMAT}")
        if not isinstance(stored["settings"], dict):
            raise TypeError("no settings")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, CacheError):
            raise
        raise CacheError(f"{path}: damaged ({error}); remove {folder}, and start again") from error
    return stored


def _write_index(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    complete: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> None:
    content = {"format": FORMAT, "settings": dict(settings), _SIZES: sizes, _COMPLETE: complete}
    files.write_text(folder / INDEX, json.dumps(content, indent=1) + "\n")


def finish(folder: Path, settings: Mapping[str, Any], counts: Mapping[str, Any]) -> None:
    """Record that a cache is complete, and how much it has seen."""
    _write_index(folder, settings, complete=counts)


def discard_empty(folder: Path) -> None:
    """Remove a cache without a shard, so that other faces can be given for it."""
    if not any(folder.glob("shard_*.npz")):
        (folder / INDEX).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def shard_files(folder: Path) -> list[Path]:
    """Return the shards of a cache in order.

    Raises:
      CacheError: One is missing.
    """
    found = sorted(folder.glob("shard_[0-9]*.npz"))
    for number, path in enumerate(found):
        if path != _shard(folder, number):
            raise CacheError(f"{_shard(folder, number)} is missing: remove {folder}, and start again")
    return found


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard_{number:05d}.npz"


def position(folder: Path) -> Position:
    """Return how far a cache is, by its shards.

    Raises:
      CacheError: A shard is missing or damaged.
    """
    paths = shard_files(folder)
    if not paths:
        return Position()
    counts = [_read(path, ("frame", "left_out")) for path in paths]
    last = _read(paths[-1], ("source", "frame"))
    return Position(
        shards=len(paths),
        faces=sum(len(count["frame"]) for count in counts),
        left_out=sum(int(count["left_out"]) for count in counts),
        after=(int(last["source"][-1]), int(last["frame"][-1])),
    )


def _read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error


def damaged(path: Path, reason: object) -> CacheError:
    """Return the error of a damaged shard."""
    return CacheError(f"{path}: damaged ({reason}); remove {path.parent}, and start again: its faces are found anew")


def write_shard(folder: Path, number: int, faces: Sequence[LabelledFace], left_out: int) -> None:
    """Write a shard of one face at least, whole or not at all.

    Args:
      folder: The cache's folder.
      number: Its number, from 0.
      faces: Its faces, all of their last frame among them.
      left_out: Faces without finite heatmaps since the shard before it.

    Raises:
      OSError: It cannot be written.
    """
    encoded = [jpeg.encode(face.image, full_colour=True) for face in faces]
    labels = np.full(faces[0].scores.shape, -1, np.int8)
    landmarks = np.full((68, 2), np.nan, np.float32)
    arrays = {
        "images": np.frombuffer(b"".join(encoded), np.uint8),
        "ends": np.cumsum([len(image) for image in encoded], dtype=np.int64),
        "heatmaps": np.stack([face.heatmaps for face in faces]),
        "scores": np.stack([face.scores for face in faces]),
        "source": np.array([face.source for face in faces], np.int32),
        "frame": np.array([face.frame for face in faces], np.int32),
        "face_id": np.array([face.face.face_id for face in faces], np.int32),
        "labels": np.stack([_or(face.face.labels, labels) for face in faces]),
        "landmarks": np.stack([_or(face.face.landmarks, landmarks) for face in faces]),
        "left_out": np.int32(left_out),
    }
    with files.replacing(_shard(folder, number)) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _or(value: np.ndarray | None, default: np.ndarray) -> np.ndarray:
    return default if value is None else value


class CachedFaces:
    """The faces of a complete cache; heatmaps stay on disk, and are read as they are used.

    Attributes:
      source: (N,) int32, index of each face's source.
      frame: (N,) int32, number of its frame there.
      scores: (N, K) float32, the teachers'.
      counts: What the index says of the cache: `faces`, `left_out`, …
      settings: What it was begun with.
    """

    def __init__(self, folder: Path):
        """Open a complete cache, and verify all of its bytes once.

        Raises:
          CacheError: It is damaged or not complete.
        """
        index = read_index(folder)
        if index is None or index.get(_COMPLETE) is None:
            raise CacheError(f"{folder}: not complete; the same command that began it goes on with it")
        self.settings, self.counts = index["settings"], index[_COMPLETE]
        self._shards = [_open(path) for path in shard_files(folder)]
        self._starts = np.cumsum([0, *(len(shard["frame"]) for shard in self._shards)])
        if int(self._starts[-1]) != self.counts["faces"]:
            raise CacheError(
                f"{folder}: {self._starts[-1]} faces in its shards, and {self.counts['faces']} by its {INDEX}: "
                "remove the folder, and start again"
            )
        self.source, self.frame, self.scores = (self._joined(name) for name in ("source", "frame", "scores"))

    def _joined(self, name: str) -> np.ndarray:
        return np.concatenate([shard[name] for shard in self._shards])

    def __len__(self) -> int:
        """Return the number of faces."""
        return int(self._starts[-1])

    def load(self, index: int) -> HostBatch:
        """Read a face: `image` (S, S, 3) uint8, `heatmaps`, `scores`, `labels`, `landmarks`, and its `index`."""
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, place = self._shards[number], int(index - self._starts[number])
        begin = int(shard["ends"][place - 1]) if place else 0
        face = {name: np.array(shard[name][place]) for name in ("heatmaps", "scores", "labels", "landmarks")}
        image = decode(bytes(shard["images"][begin : int(shard["ends"][place])]))
        return face | {"image": image, "index": np.int32(index)}


def _open(path: Path) -> dict[str, np.ndarray]:
    """Open a shard: small arrays are read, large ones mapped; all bytes are compared with their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            if (wrong := archive.testzip()) is not None:
                raise ValueError(f"{wrong} has another checksum")
            return {name: _mapped(path, archive.getinfo(f"{name}.npy")) for name in _PARTS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    """Map an array of an npz, which is stored as it is, into memory."""
    with path.open("rb") as stream:
        stream.seek(member.header_offset)
        header = stream.read(30)  # of the member; it ends with the lengths of name and further fields
        stream.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[version](stream)
        return np.memmap(path, dtype, "r", stream.tell(), shape)

"""Stores prepared faces until the dataset is written, in files of a few hundred, so that stopped work can be resumed.

A sequence's chunks are in a folder of their own, numbered; the last one's name says that it is the last.
"""

import dataclasses
import json
import struct
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.prepare.layouts.records import NO_IMAGE, NO_LABEL, Problem
from fgnet_jax.runtime.files import replacing

_LAST = ".last.npz"
_ANEW = "remove the folder {}, and the same command prepares what was in it again"
_FORMER_KINDS = {
    "label without picture": NO_IMAGE,
    "picture without label": NO_LABEL,
}  # of chunks that were written before these kinds had their names


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive faces of a sequence.

    Attributes:
      rows: (n,) int32, rows of the sequence's labels.
      landmarks: (n, 68, 2) float32, on the aligned face.
      distances: (n,) float32, mean distance of the landmarks detected again from those carried over, in inter-ocular
        distances; NaN where only one of them is known.
      images: Encoded images, 256x256.
      problems: Frames without a face, and why.
    """

    rows: np.ndarray
    landmarks: np.ndarray
    distances: np.ndarray
    images: Sequence[bytes]
    problems: Sequence[Problem]


def save(folder: Path, number: int, chunk: Chunk, is_last: bool) -> None:
    """Write a chunk, complete or not at all.

    Args:
      folder: Folder of the sequence's chunks.
      number: Number of the chunk, from 0.
      chunk: The faces.
      is_last: Whether it is the sequence's last one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:05d}{_LAST if is_last else '.npz'}"
    problems = json.dumps([dataclasses.asdict(problem) for problem in chunk.problems]).encode()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            rows=chunk.rows,
            landmarks=chunk.landmarks,
            apart=chunk.distances,
            sizes=np.array([len(image) for image in chunk.images], np.int64),
            images=np.frombuffer(b"".join(chunk.images), np.uint8),
            problems=np.frombuffer(problems, np.uint8),
        )


class ChunkError(ValueError):
    """A damaged chunk; the message names its file and what to do."""


def load(path: Path) -> Chunk:
    """Read a chunk.

    Raises:
      ChunkError: if it is damaged.
    """
    try:
        return _load(path)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, NotImplementedError, struct.error) as error:
        raise ChunkError(f"{path} is damaged ({error}); {_ANEW.format(path.parent)}") from error


def _load(path: Path) -> Chunk:
    # opened here, because NumPy leaves a damaged file open
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        ends = np.cumsum(stored["sizes"])
        data = stored["images"].tobytes()
        images = [data[end - size : end] for end, size in zip(ends, stored["sizes"], strict=True)]
        problems = [_problem(values) for values in json.loads(stored["problems"].tobytes())]
        return Chunk(
            rows=stored["rows"],
            landmarks=stored["landmarks"],
            distances=stored["apart"],
            images=images,
            problems=problems,
        )


def _problem(values: dict[str, Any]) -> Problem:
    """Build a problem from its stored values."""
    kind = _FORMER_KINDS.get(values["kind"], values["kind"])
    return dataclasses.replace(Problem(**values), kind=kind)


def done(folder: Path) -> tuple[int, bool]:
    """Return the number of a sequence's chunks on disk, and whether the last is among them.

    Raises:
      ChunkError: if one before another is missing.
    """
    names = sorted(path.name for path in folder.glob("[0-9]*.npz"))
    if [name.partition(".")[0] for name in names] != [f"{number:05d}" for number in range(len(names))]:
        raise ChunkError(f"a file in {folder} is missing; {_ANEW.format(folder)}")
    return len(names), bool(names) and names[-1].endswith(_LAST)


def read(folder: Path) -> Iterator[Chunk]:
    """Read all chunks of a sequence, in order."""
    yield from (load(path) for path in sorted(folder.glob("[0-9]*.npz")))

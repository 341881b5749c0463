"""Faces that are prepared but not yet written as a dataset: files of a few hundred, so that work that stops goes on.

A sequence's chunks lie in a folder of its own, numbered; the last one's name says that it is the last.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.prepare.layouts.records import Problem

_LAST = ".last.npz"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some faces of a sequence, in order.

    Attributes:
      rows: (n,) int32, rows of the sequence's labels.
      landmarks: (n, 68, 2) float32, on the aligned face.
      apart: (n,) float32, how far landmarks detected again lie from those carried over, in inter-ocular distances; NaN
        where only one of them is known.
      images: Encoded images, 256x256.
      problems: Frames without a face here, and why.
    """

    rows: np.ndarray
    landmarks: np.ndarray
    apart: np.ndarray
    images: Sequence[bytes]
    problems: Sequence[Problem]


def save(folder: Path, number: int, chunk: Chunk, is_last: bool) -> None:
    """Writes a chunk, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:05d}{_LAST if is_last else '.npz'}"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    problems = json.dumps([dataclasses.asdict(problem) for problem in chunk.problems]).encode()
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                rows=chunk.rows,
                landmarks=chunk.landmarks,
                apart=chunk.apart,
                sizes=np.array([len(image) for image in chunk.images], np.int64),
                images=np.frombuffer(b"".join(chunk.images), np.uint8),
                problems=np.frombuffer(problems, np.uint8),
            )
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path) -> Chunk:
    """Reads a chunk."""
    with np.load(path, allow_pickle=False) as stored:
        ends = np.cumsum(stored["sizes"])
        data = stored["images"].tobytes()
        images = [data[end - size : end] for end, size in zip(ends, stored["sizes"], strict=True)]
        problems = [Problem(**values) for values in json.loads(stored["problems"].tobytes())]
        return Chunk(stored["rows"], stored["landmarks"], stored["apart"], images, problems)


def done(folder: Path) -> tuple[int, bool]:
    """How many chunks of a sequence there are, and whether the last is among them."""
    names = sorted(path.name for path in folder.glob("[0-9]*.npz"))
    return len(names), bool(names) and names[-1].endswith(_LAST)


def read(folder: Path) -> Iterator[Chunk]:
    """All chunks of a sequence, in order."""
    yield from (load(path) for path in sorted(folder.glob("[0-9]*.npz")))

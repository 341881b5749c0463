"""Filling the cache: every face goes to the teachers once, and what is finished stays whatever happens."""

import collections
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.distill import cache
from fgnet_jax.distill.cache import LabelledFace, Position
from fgnet_jax.distill.faces import FaceInputs, FaceToLabel, FrameToLabel
from fgnet_jax.distill.teachers import PendingHeatmaps, Teachers
from fgnet_jax.predict.batching import grouped
from fgnet_jax.predict.reporting import ProblemLog
from fgnet_jax.runtime.progress import Progress

SHARD_SECONDS = 60.0
"""A shard is written after so long, however few faces it has: no more than this is lost where a run is killed."""

_PENDING = 2  # groups of frames on the device, or queued for it, while the next is put together


class NoFacesError(ValueError):
    """In all that was read there is no face."""


def label(
    folder: Path,
    inputs: FaceInputs,
    teachers: Teachers,
    *,
    shard_faces: int,
    stop: Callable[[], str | None],
    settings: Mapping[str, Any],
) -> str:
    """Fill a cache from where it is, and record that it is complete.

    Args:
      folder: The cache, which was begun.
      inputs: The faces.
      teachers: With their weights.
      shard_faces: Faces per shard, at least.
      stop: Returns the name of a signal that stops the run, or None to continue.
      settings: What the cache was begun with.

    Returns:
      The name of the signal that stopped it; "" if the cache is complete.

    Raises:
      NoFacesError: There is no face.
      DetectorError: What finds faces is not installed.
      CacheError: A shard is damaged.
      OSError: A shard cannot be written.
    """
    start = cache.position(folder)
    frames = inputs.frames(start.after)
    with contextlib.closing(frames), _Filling(folder, inputs, start, shard_faces) as filling:
        pending: collections.deque[tuple[list[FrameToLabel], list[PendingHeatmaps]]] = collections.deque()
        signal = stop()
        for group in () if signal else grouped(frames, lambda frame: len(frame.faces), teachers.batch_size):
            pending.append((group, _start(teachers, group)))
            if len(pending) > _PENDING:
                filling.add(*pending.popleft())
            if signal := stop():
                break
        while pending:
            filling.add(*pending.popleft())
        filling.flush()
        if signal:
            return signal
    if not filling.faces:
        cache.discard_empty(folder)
        why = f" ({filling.left_out} faces have heatmaps that are not finite)" if filling.left_out else ""
        raise NoFacesError(f"no face in all {len(inputs.names)} inputs{why}")
    cache.finish(folder, settings, {"faces": filling.faces, "left_out": filling.left_out})
    return ""


def _start(teachers: Teachers, group: Sequence[FrameToLabel]) -> list[PendingHeatmaps]:
    """Start computing the heatmaps of a group; a frame with more faces than a batch holds takes several batches."""
    faces = [face for frame in group for face in frame.faces]
    size = teachers.batch_size
    return [_start_batch(teachers, faces[k : k + size]) for k in range(0, len(faces), size)]


def _start_batch(teachers: Teachers, faces: Sequence[FaceToLabel]) -> PendingHeatmaps:
    images = {side: np.stack([face.images[side] for face in faces]) for side in teachers.sides}
    return teachers.start(images, [face.recordings for face in faces])


class _Filling:
    """What is being written: a context manager.

    Attributes:
      faces: Faces of all shards so far.
      left_out: Faces that have no finite heatmaps.
    """

    def __init__(self, folder: Path, inputs: FaceInputs, start: Position, shard_faces: int):
        self._folder, self._student = folder, inputs.sides[-1]
        self._shard, self._shard_faces = start.shards, shard_faces
        self.faces, self.left_out = start.faces, start.left_out
        self._waiting: list[LabelledFace] = []
        self._new_left_out, self._since = 0, math.inf
        corpus = len(inputs.corpus_faces)
        self._progress = Progress(
            "faces and heatmaps", None if inputs.sources else corpus, "faces", start=start.faces, last_line=False
        )
        self._sources, self._corpus = len(inputs.sources), corpus
        self._problems = ProblemLog(lambda text: self._progress.say(text, always=True), None)

    def __enter__(self) -> "_Filling":
        return self

    def __exit__(self, *error: object) -> None:
        self._problems.finish()
        self._progress.__exit__(*error)

    def add(self, group: Sequence[FrameToLabel], pending: Sequence[PendingHeatmaps]) -> None:
        """Wait for a group's heatmaps, and add its faces; shards end behind a frame."""
        results = iter(_each(pending))
        for frame in group:
            if frame.detected is not None:
                self._problems.add_detected(frame.detected)
            for face in frame.faces:
                heatmaps, scores = next(results)
                if not (np.isfinite(heatmaps).all() and np.isfinite(scores).all()):
                    self.left_out += 1
                    self._new_left_out += 1
                    continue
                self._waiting.append(
                    LabelledFace(
                        face, face.images[self._student], frame.source, frame.number, heatmaps=heatmaps, scores=scores
                    )
                )
                self.faces += 1
            self._since = min(self._since, time.monotonic())  # of the first that waits: not of compiling
            if len(self._waiting) >= self._shard_faces or time.monotonic() - self._since > SHARD_SECONDS:
                self.flush()
            self._progress.update(self.faces, fraction=self._fraction(frame))

    def _fraction(self, frame: FrameToLabel) -> float | None:
        """Return the share of the inputs that is done, by files; None where the number of faces tells."""
        if not self._sources or frame.detected is None:
            return None
        read = frame.detected.frame
        return (read.index + (min(read.number / read.total, 1.0) if read.total else 0.0)) / self._sources

    def flush(self) -> None:
        """Write the faces that wait as a shard."""
        if self._waiting:
            cache.write_shard(self._folder, self._shard, self._waiting, self._new_left_out)
            self._shard += 1
            self._waiting, self._new_left_out = [], 0
        self._since = math.inf


def _each(pending: Sequence[PendingHeatmaps]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield heatmaps and scores of each face."""
    for batch in pending:
        yield from zip(*batch.result(), strict=True)

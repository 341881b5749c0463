"""The way from frames to answers: faces in, batches of one shape on the device, scores and heatmaps of each frame out.

The host finds the next faces while the device works: some batches are always on their way. What is written of the
answers is decided elsewhere (`outlets`, `predictions`).
"""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.faces import alignment, back_projection, finder
from fgnet_jax.faces.detection import NUM_LANDMARKS, Face
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame, FinderOptions
from fgnet_jax.media import frames
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.metrics import thresholds
from fgnet_jax.predict import smoothing
from fgnet_jax.predict.batching import grouped
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.predict.smoothing import ObservedScores, Smoothing

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network, PendingBatch

_AHEAD = 2  # batches on the device or waiting for it while the next is put together

NOT_FINITE = "the network's scores are not finite"
"""Why a face has no result: broken weights must not look like a face without AUs."""


class PredictionStopped(Exception):
    """The run was asked to stop; every batch that the device had begun was given first."""


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """What is looked at, and how.

    Attributes:
      largest: Only the largest face of a frame.
      every: Of videos, every so many frames.
      detect_every: Frames from one detection of a video to the next, faces being followed in between; None for
        `FinderOptions`'s.
      predictor: dlib's data file; None for the one that is installed.
      aligned: Images are aligned faces already.
      thresholds: Above which score an AU is present: a file (`fgnet_jax.metrics.thresholds`), K numbers, or None for 0.
      smooth: Whether scores are smoothed along a face in a video; a number is the window in seconds.
    """

    largest: bool = False
    every: int = 1
    detect_every: int | None = None
    predictor: str | Path | None = None
    aligned: bool = False
    thresholds: Any = None
    smooth: bool | float = False

    def __post_init__(self):
        for name in ("every", "detect_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}")
        if not 0 <= float(self.smooth) < 60:
            raise ValueError(f"smooth must be seconds, from 0 to 60, got {self.smooth!r}")

    def finder_options(self, size: int) -> FinderOptions:
        """How faces of this size are looked for."""
        detect_every = FinderOptions.detect_every if self.detect_every is None else self.detect_every
        path = None if self.predictor is None else Path(self.predictor)
        return FinderOptions(size, self.largest, detect_every, path, self.aligned)

    def smoothing(self, causal: bool = False) -> Smoothing | None:
        """How scores are smoothed; None for not at all."""
        if not self.smooth:
            return None
        return Smoothing(smoothing.WINDOW if self.smooth is True else float(self.smooth), causal)

    def thresholds_of(self, aus: tuple[int, ...]) -> np.ndarray:
        """The thresholds (K,) of these AUs, float64.

        Raises:
          ThresholdsError: for a file that cannot be used.
          ValueError: for another number of thresholds.
        """
        if self.thresholds is None:
            return np.full(len(aus), thresholds.PUBLISHED)
        if isinstance(self.thresholds, str | Path):
            return thresholds.load(self.thresholds, aus)
        values = np.asarray(self.thresholds, np.float64)
        if values.shape != (len(aus),) or not np.isfinite(values).all():
            raise ValueError(f"thresholds must be {len(aus)} numbers, one for each of the AUs {aus}, got {values}")
        return values


@dataclasses.dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame with what the network says of its F faces.

    Attributes:
      detected: The frame and its faces.
      scores: float32 (F, K); NaN where the network's answer is no number.
      heatmaps: float32 (F, size, size, K), or None where they were not asked for.
    """

    detected: DetectedFrame
    scores: np.ndarray
    heatmaps: np.ndarray | None


def detect_faces(sources: Iterable[Source], network: "Network", how: PredictOptions) -> Iterator[DetectedFrame]:
    """The faces in sources, found on threads.

    Raises:
      DetectorError: dlib or its predictor is not there.
    """
    return finder.find(frames.read(sources, how.every), how.finder_options(network.config.image_size))


def aligned_faces(images: np.ndarray) -> Iterator[DetectedFrame]:
    """Faces (N, S, S, 3) that are aligned already, one a frame."""
    side = images.shape[1]
    nowhere = np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    where = alignment.whole(side, side)
    for index, image in enumerate(images):
        frame = Frame(Source(f"array {index}", "array", array=image), index, 1, None, image, total=1)
        face = Face(nowhere, (0.0, 0.0, float(side), float(side)), 1.0)
        yield DetectedFrame(frame, (DetectedFace(face, 0, image, where),))


def predict_frames(
    network: "Network",
    frames: Iterator[DetectedFrame],
    heatmaps: bool,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[["PendingBatch"], None] = lambda pending: None,
) -> Iterator[FrameResult]:
    """Asks the network about every face, batch by batch, in order.

    Args:
      network: The network.
      frames: Frames with their faces; closed in the end.
      heatmaps: Whether they are wanted.
      stop: Asked before every batch: whether to begin no other.
      watch: Told of every batch that is handed to the device.

    Raises:
      Stopped: `stop` said so.
    """
    waiting: collections.deque[tuple[list[DetectedFrame], list[PendingBatch]]] = collections.deque()
    with contextlib.closing(frames):  # pyright: ignore[reportArgumentType]  # generators, all of them
        stopped = stop()
        for group in () if stopped else grouped(frames, lambda one: len(one.faces), network.batch_size):
            waiting.append((group, _start(network, group, watch)))
            if len(waiting) > _AHEAD:
                yield from _answered(*waiting.popleft(), heatmaps, len(network.aus))
            if stopped := stop():
                break
    while waiting:
        yield from _answered(*waiting.popleft(), heatmaps, len(network.aus))
    if stopped:
        raise PredictionStopped


def _start(
    network: "Network", group: list[DetectedFrame], watch: Callable[["PendingBatch"], None]
) -> "list[PendingBatch]":
    """Hands a group's faces over; of a frame with more faces than a batch has, several batches."""
    faces = [face.aligned for one in group for face in one.faces]
    size = network.batch_size
    pending = [network.start(np.stack(faces[first : first + size])) for first in range(0, len(faces), size)]
    for batch in pending:
        watch(batch)
    return pending


def _answered(
    group: list[DetectedFrame], pending: "list[PendingBatch]", heatmaps: bool, known: int
) -> Iterator[FrameResult]:
    answers = [batch.result(heatmaps) for batch in pending]
    scores = np.concatenate([np.zeros((0, known), np.float32), *(one.scores for one in answers)])
    parts = [one.heatmaps for one in answers if one.heatmaps is not None]
    maps = np.concatenate(parts) if parts else None
    first = 0
    for one in group:
        part = slice(first, first := first + len(one.faces))
        fine = np.isfinite(scores[part]).all(1, keepdims=True)
        mine = maps[part] if maps is not None and one.faces else None
        yield FrameResult(one, np.where(fine, scores[part], np.float32(np.nan)), mine)


def smoothed(seen: Iterator[FrameResult], how: Smoothing | None) -> Iterator[FrameResult]:
    """The same with smoothed scores."""
    if how is None:
        yield from seen
        return
    for one, scores in smoothing.smooth(seen, _observed, how):
        yield dataclasses.replace(one, scores=scores)


def _observed(seen: FrameResult) -> ObservedScores:
    frame = seen.detected.frame
    video = frame.index if frame.source.kind in ("video", "webcam") else None
    return ObservedScores(video, frame.seconds, tuple(face.face_id for face in seen.detected.faces), seen.scores)


def rows(seen: FrameResult, limits: np.ndarray, peaks: bool = False) -> list[ResultRow]:
    """A frame's rows: one a face, or one that says that there is none.

    Args:
      seen: The frame.
      limits: Thresholds (K,).
      peaks: Whether to find the heatmaps' peaks.
    """
    frame = seen.detected.frame
    empty = ResultRow(frame.source.name, frame.number, frame.seconds)
    made = []
    for k, detected in enumerate(seen.detected.faces):
        face, scores = detected.face, seen.scores[k]
        box = (face.box[0], face.box[1], face.box[2], face.box[3])
        row = dataclasses.replace(
            empty, face_id=detected.face_id, confidence=face.confidence, box=box, landmarks=face.landmarks
        )
        if np.isfinite(scores).all():
            where = (
                back_projection.peaks(seen.heatmaps[k], detected.alignment)
                if peaks and seen.heatmaps is not None
                else None
            )
            row = dataclasses.replace(row, scores=scores, present=scores > limits, peaks=where)
        made.append(row)
    return made or [empty]


def problem(seen: FrameResult) -> str | None:
    """Why a frame, or one of its faces, has no result; None where all is well."""
    if seen.detected.problem is not None:
        return seen.detected.problem
    return None if np.isfinite(seen.scores).all() else NOT_FINITE

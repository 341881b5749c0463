"""From frames to AUs: the faces of each frame in, its scores and heatmaps out, by batches of one shape.

The host finds the next faces while the device computes: a few batches are always pending. What is kept or written of
the results is decided by `predictions` (for Python) and `outputs` (for the command).
"""

import collections
import contextlib
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax.faces import alignment, back_projection, finder, recognition
from fgnet_jax.faces.detection import DETECTORS, NUM_LANDMARKS, Face
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame, FinderOptions
from fgnet_jax.media import frames
from fgnet_jax.media.frames import VIDEO_KINDS, Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.metrics import calibration
from fgnet_jax.metrics import thresholds as thresholds_lib
from fgnet_jax.predict import smoothing
from fgnet_jax.predict.batching import ResumePoint, grouped
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.predict.smoothing import ObservedScores, Smoothing
from fgnet_jax.runtime.signals import Stopped

if TYPE_CHECKING:
    from fgnet_jax.predict.network import Network, PendingBatch

NOT_FINITE = "the network's scores are not finite"
"""Why a face has no result: broken weights must not look like a face without AUs."""

Intensities = Callable[[np.ndarray], np.ndarray]
"""Scores (K,) to intensities (K,), 0 to 5; NaN for an AU that is not calibrated."""

_PENDING_GROUPS = 2  # groups of frames on the device or queued for it while the next is put together


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Options of prediction: which faces are found, and how their scores become AUs.

    Attributes:
      largest: Only the largest face of a frame.
      every: Of videos, only every so many frames.
      detect_every: Frames from one detection in a video to the next, faces being tracked in between; None for the
        default of `FinderOptions`.
      detector: The face detector, one of `fgnet_jax.faces.detection.DETECTORS`.
      min_confidence: Faces that are less probably faces are left out, from 0 to 1; None for the detector's default.
      predictor: dlib's data file; None for the installed one.
      aligned: Whether images are aligned faces already.
      identities: Whether a person's faces have one number in all of the input, across cuts, videos and images.
      thresholds: Score above which an AU is present: a file (`fgnet_jax.metrics.thresholds`), K numbers, or None for 0.
      smooth: Whether to smooth scores along a face in a video; a number is the window in seconds.
    """

    largest: bool = False
    every: int = 1
    detect_every: int | None = None
    detector: str = DETECTORS[0]
    min_confidence: float | None = None
    predictor: str | Path | None = None
    aligned: bool = False
    identities: bool = False
    thresholds: str | Path | Sequence[float] | np.ndarray | None = None
    smooth: bool | float = False

    def __post_init__(self):
        for name in ("every", "detect_every"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}")
        if self.identities and self.aligned:
            raise ValueError("identities need whole images: people are not told apart in aligned ones")
        if self.detector not in DETECTORS:
            raise ValueError(f"detector must be one of {', '.join(DETECTORS)}, got {self.detector!r}")
        if self.min_confidence is not None and not 0 <= float(self.min_confidence) <= 1:
            raise ValueError(f"min_confidence must be a probability, from 0 to 1, got {self.min_confidence!r}")
        if not 0 <= float(self.smooth) < 60:
            raise ValueError(f"smooth must be seconds, from 0 to 60, got {self.smooth!r}")

    def finder_options(self, size: int) -> FinderOptions:
        """Return the options for finding faces, aligned to `size` pixels."""
        return FinderOptions(
            size=size,
            largest=self.largest,
            detect_every=FinderOptions.detect_every if self.detect_every is None else self.detect_every,
            detector=self.detector,
            min_confidence=self.min_confidence,
            predictor=None if self.predictor is None else Path(self.predictor),
            aligned=self.aligned,
            identities=self.identities,
        )

    def smoothing(self, causal: bool = False) -> Smoothing | None:
        """Return the smoothing of scores; None for none."""
        if not self.smooth:
            return None
        return Smoothing(smoothing.WINDOW if self.smooth is True else float(self.smooth), causal)

    def thresholds_of(self, aus: tuple[int, ...]) -> np.ndarray:
        """Return the thresholds (K,) of these AUs, float64.

        Raises:
          ThresholdsError: The file cannot be used.
          ValueError: The number of thresholds is another.
        """
        if self.thresholds is None:
            return np.full(len(aus), thresholds_lib.PUBLISHED)
        if isinstance(self.thresholds, str | Path):
            return thresholds_lib.load(self.thresholds, aus)
        values = np.asarray(self.thresholds, np.float64)
        if values.shape != (len(aus),) or not np.isfinite(values).all():
            raise ValueError(f"thresholds must be {len(aus)} numbers, one for each of the AUs {aus}, got {values}")
        return values


@dataclasses.dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame with the network's output for its F faces.

    Attributes:
      detected: The frame and its faces.
      scores: float32 (F, K); NaN for a face whose scores are not finite.
      heatmaps: float32 (F, size, size, K); None if not requested.
    """

    detected: DetectedFrame
    scores: np.ndarray
    heatmaps: np.ndarray | None


def detect_faces(sources: Iterable[Source], network: "Network", options: PredictOptions) -> Iterator[DetectedFrame]:
    """Find the faces in sources, on threads.

    Raises:
      DetectorError: dlib or its data file is missing.
    """
    if not options.aligned and recognition.is_missing(options.predictor):
        warnings.warn(recognition.MISSING, stacklevel=3)
    return finder.find(frames.read(sources, options.every), options.finder_options(network.config.image_size))


def read_frames(sources: Sequence[Source], options: PredictOptions, point: ResumePoint) -> Iterator[Frame]:
    """Read the frames of all sources from a resume point on, counted from the first source.

    The frames of that source before it are read again, so that its faces are tracked. With `options.identities`, all
    sources before it are, too: people get the numbers that they had only from the same faces.
    """
    again = options.identities
    first = 0 if again else point.source
    skip = {k: sys.maxsize for k in range(point.source - first)} | {point.source - first: point.done}
    with contextlib.closing(frames.read(sources[first:], options.every, skip, again=again)) as read:  # pyright: ignore
        for frame in read:
            yield dataclasses.replace(frame, index=frame.index + first) if first else frame


def aligned_faces(images: np.ndarray) -> Iterator[DetectedFrame]:
    """Yield aligned faces (N, S, S, 3) as frames of one face each."""
    side = images.shape[1]
    unknown = np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    identity = alignment.identity(side, side)
    for index, image in enumerate(images):
        frame = Frame(
            source=Source(f"array {index}", "array", array=image),
            index=index,
            number=1,
            seconds=None,
            image=image,
            total=1,
        )
        face = Face(unknown, (0.0, 0.0, float(side), float(side)), 1.0)
        yield DetectedFrame(frame, (DetectedFace(face=face, face_id=0, aligned=image, alignment=identity),))


def predict_frames(
    network: "Network",
    frames: Iterator[DetectedFrame],
    *,
    heatmaps: bool,
    stop: Callable[[], str | None] = lambda: None,
    on_start: Callable[["PendingBatch"], None] = lambda pending: None,
) -> Iterator[FrameResult]:
    """Run the network on every face, batch by batch, and yield the frames in order.

    Args:
      network: The network.
      frames: Frames with their faces; closed at the end.
      heatmaps: Whether to return heatmaps.
      stop: Called before every batch; returns the name of a signal that stops the run, or None to continue.
      on_start: Called with every batch that the device has been given.

    Raises:
      Stopped: `stop` returned a signal's name, the exception's message. All batches begun before have been yielded.
    """
    pending: collections.deque[tuple[list[DetectedFrame], list[PendingBatch]]] = collections.deque()
    with contextlib.closing(frames):  # pyright: ignore[reportArgumentType]  # generators, all of them
        signal = stop()
        for group in () if signal else grouped(frames, lambda frame: len(frame.faces), network.batch_size):
            pending.append((group, _start(network, group, on_start)))
            if len(pending) > _PENDING_GROUPS:
                yield from _finish(*pending.popleft(), heatmaps=heatmaps, count=len(network.aus))
            if signal := stop():
                break
    while pending:
        yield from _finish(*pending.popleft(), heatmaps=heatmaps, count=len(network.aus))
    if signal:
        raise Stopped(signal)


def predict_frame(network: "Network", frame: DetectedFrame, *, heatmaps: bool) -> FrameResult:
    """Run the network on the faces of one frame, at once: for a camera, whose frames wait for no others."""
    (result,) = _finish(
        [frame], _start(network, [frame], lambda pending: None), heatmaps=heatmaps, count=len(network.aus)
    )
    return result


def _start(
    network: "Network", group: list[DetectedFrame], on_start: Callable[["PendingBatch"], None]
) -> "list[PendingBatch]":
    """Start computing the faces of a group; a frame with more faces than a batch holds takes several batches."""
    faces = [face.aligned for frame in group for face in frame.faces]
    size = network.batch_size
    pending = [network.start(np.stack(faces[first : first + size])) for first in range(0, len(faces), size)]
    for batch in pending:
        on_start(batch)
    return pending


def _finish(
    group: list[DetectedFrame], pending: "list[PendingBatch]", *, heatmaps: bool, count: int
) -> Iterator[FrameResult]:
    """Wait for a group's batches, and split their results into the group's frames."""
    results = [batch.result(heatmaps) for batch in pending]
    scores = np.concatenate([np.zeros((0, count), np.float32), *(result.scores for result in results)])
    parts = [result.heatmaps for result in results if result.heatmaps is not None]
    maps = np.concatenate(parts) if parts else None
    first = 0
    for frame in group:
        faces = slice(first, first := first + len(frame.faces))
        finite = np.isfinite(scores[faces]).all(1, keepdims=True)
        frame_maps = maps[faces] if maps is not None and frame.faces else None
        yield FrameResult(frame, np.where(finite, scores[faces], np.float32(np.nan)), frame_maps)


def smoothed(results: Iterator[FrameResult], options: Smoothing | None) -> Iterator[FrameResult]:
    """Yield the same frames with smoothed scores; unchanged for None."""
    if options is None:
        yield from results
        return
    for result, scores in smoothing.smooth(results, _observed, options):
        yield dataclasses.replace(result, scores=scores)


def _observed(result: FrameResult) -> ObservedScores:
    frame = result.detected.frame
    return ObservedScores(
        video=frame.index if frame.source.kind in VIDEO_KINDS else None,
        seconds=frame.seconds,
        faces=tuple((face.face_id, face.start) for face in result.detected.faces),
        scores=result.scores,
    )


def intensities_of(network: "Network") -> Intensities | None:
    """Return the function from a network's scores (K,) to intensities (K,); None where it knows presence alone."""
    fitted = calibration.of_weights(network.meta.extra, network.aus)
    return None if fitted is None else functools.partial(fitted.intensities, aus=network.aus)


def calibrated(network: "Network") -> tuple[int, ...]:
    """Return the AUs whose intensities a network knows."""
    fitted = calibration.of_weights(network.meta.extra, network.aus)
    return () if fitted is None else fitted.aus


def rows(
    result: FrameResult, thresholds: np.ndarray, peaks: bool = False, *, intensities: Intensities | None = None
) -> list[ResultRow]:
    """Return a frame's rows: one per face, or a single one for a frame without faces.

    Args:
      result: The frame.
      thresholds: (K,): an AU is present where its score is above.
      peaks: Whether to compute the heatmaps' peaks.
      intensities: `intensities_of` the network.
    """
    frame = result.detected.frame
    size = None if frame.image is None else (frame.image.shape[1], frame.image.shape[0])
    empty = ResultRow(frame.source.name, frame.number, frame.seconds, size=size)
    faces = [_face_row(empty, result, k, thresholds, peaks) for k in range(len(result.detected.faces))]
    if intensities is None:
        return faces or [empty]
    known = (None if row.scores is None else intensities(row.scores) for row in faces)
    return [dataclasses.replace(row, intensities=of) for row, of in zip(faces, known, strict=True)] or [empty]


def _face_row(empty: ResultRow, result: FrameResult, k: int, thresholds: np.ndarray, peaks: bool) -> ResultRow:
    """Return the row of a frame's k-th face, without a result where its scores are not finite."""
    detected, scores = result.detected.faces[k], result.scores[k]
    face = detected.face
    box = (face.box[0], face.box[1], face.box[2], face.box[3])
    row = dataclasses.replace(
        empty, face_id=detected.face_id, confidence=face.confidence, box=box, landmarks=face.landmarks
    )
    if not np.isfinite(scores).all():
        return row
    at = None
    if peaks and result.heatmaps is not None:
        at = back_projection.peaks(result.heatmaps[k], detected.alignment)
    return dataclasses.replace(row, scores=scores, present=scores > thresholds, peaks=at)


def problem(result: FrameResult) -> str | None:
    """Return why a frame, or one of its faces, has no result; None where all faces have one."""
    if result.detected.problem is not None:
        return result.detected.problem
    return None if np.isfinite(result.scores).all() else NOT_FINITE

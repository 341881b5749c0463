"""Carries out a prediction: weights loaded, the place found to go on from, frames seen and written in order."""

import contextlib
import ctypes
import dataclasses
import os
import time
import warnings
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fgnet_jax import aus
from fgnet_jax.faces import finder
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import frames, video_writer
from fgnet_jax.media.frames import Frame
from fgnet_jax.metrics.thresholds import ThresholdsError
from fgnet_jax.predict import batching, columns, heatmap_files, outputs, pipeline, result_table, run_record
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import TableColumns
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.request import PredictionRequest, RequestError, writes_run_record
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.progress import DeviceWatch, Stages
from fgnet_jax.runtime.signals import StopSignal
from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector

_ARENA_MAX = -8  # glibc's name for it, of malloc.h
_TRIM_SECONDS = 0.5
_SIGNALS = {"SIGINT": 130, "SIGTERM": 143}


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionRun:
    """A job with its network.

    Attributes:
      job: What is to be done.
      detector: The network.
      layout: The table's columns.
      limits: Thresholds (K,).
      about: What the JSON says.
      place: Where to begin.
      stages: What took how long.
    """

    job: PredictionRequest
    detector: "Detector"
    layout: TableColumns
    limits: np.ndarray
    about: dict[str, Any]
    place: ResumePoint
    stages: Stages


def run(job: PredictionRequest) -> int:
    """Carries out a job; returns the exit status.

    Raises:
      RequestError: It cannot be carried out; nothing has been written yet.
      OSError: Results cannot be written.
    """
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `images` refuses these by itself
    memory = _HeapTrimmer()
    detector = _load(job)
    made = _prepared(job, detector)
    if made is None:
        status("predict", f"{job.wanted.table} is complete")
        return 0
    try:
        found = _found(made)
    except DetectorError as error:
        raise RequestError(str(error)) from error
    _compile(detector)
    made.stages.begin()
    with contextlib.ExitStack() as stack, StopSignal() as stop:
        stack.enter_context(contextlib.closing(found))  # pyright: ignore[reportArgumentType]  # a generator
        try:
            size = detector.config.heatmap_size
            opened = outputs.open_all(stack, job.wanted, made.layout, detector.aus, size, job.sources, made.place)
            _write_about(made, complete=False)
        except (OSError, heatmap_files.ArchiveError, video_writer.VideoWriterError) as error:
            raise RequestError(f"cannot write the results: {error}") from error
        status = _go(made, found, opened, stop, memory)
    return status


class _HeapTrimmer:
    """Keeps the memory of a long run that of a short one.

    glibc gives threads heaps of their own. Frames are made on one thread and freed on another, and with time every heap
    has grown to what the fullest one needs, and is full of holes: a tenth of the memory. One heap for all, whose holes
    go back to the system now and then, grows no more; threads seldom meet there, since what they ask for is large.
    """

    def __init__(self) -> None:
        self._library, self._trimmed = None, 0.0
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL("libc.so.6")
            library.mallopt(_ARENA_MAX, 1)
            library.malloc_trim(0)
            self._library = library

    def trim(self) -> None:
        """Gives holes back, if it is time."""
        now = time.monotonic()
        if self._library is not None and now - self._trimmed > _TRIM_SECONDS:
            self._library.malloc_trim(0)
            self._trimmed = now


def _load(job: PredictionRequest) -> "Detector":
    """The detector. JAX is imported only here, so that mistakes show at once."""
    start = time.perf_counter()
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector

    arguments = job.arguments
    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype, batch_size=arguments.batch_size)
    except WeightsError as error:
        raise RequestError(str(error)) from error
    if job.options.aligned and all(source.kind != "video" for source in job.sources):
        # no padding where there are fewer images
        detector = detector.with_batch_size(min(detector.batch_size, len(job.sources)))
    status("predict", f"loaded in {time.perf_counter() - start:.1f} s")
    return detector


def _compile(detector: "Detector") -> None:
    start = time.perf_counter()
    detector.compile()
    status("predict", f"compiled in {time.perf_counter() - start:.1f} s")


def _prepared(job: PredictionRequest, detector: "Detector") -> PredictionRun | None:
    """Everything that is known before the first frame; None where nothing is left to be done."""
    try:
        limits = job.options.thresholds_of(detector.aus)
    except ThresholdsError as error:
        raise RequestError(str(error)) from error
    layout = columns.table_columns(detector.aus, job.arguments.dialect, job.wanted.peaks)
    about = _about(job, detector, limits)
    place: ResumePoint | None = ResumePoint()
    if job.arguments.resume:
        try:
            place, rates = _resumed(job, detector, layout, about)
        except (result_table.TableError, run_record.RunRecordError) as error:
            raise RequestError(str(error)) from error
        about["frame_rates"] = rates
    return None if place is None else PredictionRun(job, detector, layout, limits, about, place, Stages())


def _about(job: PredictionRequest, detector: "Detector", limits: np.ndarray) -> dict[str, Any]:
    """The JSON beside the table."""
    import jax

    causal = job.arguments.webcam is not None
    smooth, size, device = job.options.smoothing(causal), detector.config.image_size, jax.devices()[0]
    return {
        "version": __version__,
        "weights": {"sha256": detector.checksum},  # their folder is among the arguments: it may be moved
        "sources": list(detector.meta.sources),
        "corpus": detector.meta.corpus,
        "aus": list(detector.aus),
        "thresholds": {aus.label(au): float(at) for au, at in zip(detector.aus, limits, strict=True)},
        "detector": job.options.finder_options(size).describe(),
        "alignment": "none: the images are aligned faces" if job.options.aligned else run_record.ALIGNMENT,
        "aligned_size": size,
        "every": job.options.every,
        "frame_rates": {},
        "smoothing": smooth.describe() if smooth else None,
        "precision": detector.config.dtype,
        "batch_size": detector.batch_size,
        "device": {"kind": device.device_kind, "platform": device.platform, "count": detector.layout.mesh.size},
        "dialect": job.arguments.dialect,
        "peaks": job.wanted.peaks,
        "arguments": vars(job.arguments),
        "complete": False,
    }


def _write_about(made: PredictionRun, complete: bool) -> None:
    if writes_run_record(made.job.wanted.table):
        made.about["complete"] = complete
        run_record.write(made.job.wanted.table, made.about)


def _resumed(
    job: PredictionRequest, detector: "Detector", layout: TableColumns, about: dict[str, Any]
) -> tuple[ResumePoint | None, dict[str, float]]:
    """Where to go on, None where all is done, and the frame rates that are known already.

    Raises:
      TableError: The table there is another.
      RunRecordError: It was made otherwise.
    """
    path, former = job.wanted.table, run_record.read(job.wanted.table)
    rows = result_table.rows_file(path)
    if former is None or not os.path.exists(rows):
        is_complete = former is not None and former.get("complete") and os.path.exists(path)
        if former is not None and is_complete:
            run_record.check_same(path, former, about)
        if former is None and os.path.exists(rows) and result_table.is_begun(rows, layout):
            raise run_record.RunRecordError(
                f"{rows} cannot be gone on with: {run_record.path_of(path)} is not beside it"
            )
        return (None if is_complete else ResumePoint()), {}
    run_record.check_same(path, former, about)
    smooth = job.options.smoothing()
    names = [source.name for source in job.sources]
    try:
        written = result_table.written(rows, layout)
        place = batching.resume_point(written, names, detector.batch_size, smooth.window if smooth else 0.0)
    except ValueError as error:
        raise result_table.TableError(f"{rows} cannot be gone on with: {error}") from error
    status("predict", f"going on after {place.rows} rows")
    return place, former.get("frame_rates", {})


def _go(
    made: PredictionRun,
    found: Iterator[DetectedFrame],
    opened: outputs.OpenOutputs,
    stop: StopSignal,
    memory: _HeapTrimmer,
) -> int:
    """Sees and writes everything; returns the exit status."""
    noun = "frames" if any(source.kind in ("video", "webcam") for source in made.job.sources) else "images"
    pace, troubles, rates = Pace(len(made.job.sources), noun), _ProblemLog(), _FrameRates(made)
    successes = faces = 0
    status = None
    seen = _seen(made, found, stop)
    try:
        for one in seen:
            rows = pipeline.rows(one, made.limits, made.job.wanted.peaks)
            frame = one.detected.frame
            if (frame.index, frame.number) <= made.place.written:
                continue
            troubles.tell(one, made.detector.config.image_size if made.job.options.aligned else None)
            with made.stages.timed("drawing and writing"):
                written = opened.write(one, rows)
            faces, successes = faces + written, successes + bool(written)
            rates.add(frame)
            pace.add(1, frame.index, frame.number, frame.total)
            memory.trim()
    except pipeline.PredictionStopped:
        status = _SIGNALS[stop.received or "SIGINT"]
    finally:
        seen.close()
        troubles.finish()
        pace.finish(successes)
    if made.job.arguments.benchmark:
        _say_stages(made, pace.done)
    rates.finish()
    if status is not None:
        status("predict", "interrupted; what was finished is written")
        return status
    opened.table.is_complete = True
    _write_about(made, complete=True)
    return 0 if faces or made.place.faces else 1


def _seen(made: PredictionRun, found: Iterator[DetectedFrame], stop: StopSignal) -> Generator[FrameResult, None, None]:
    """All frames with what the network says, smoothed where that is wanted."""
    job, stages = made.job, made.stages
    causal = job.arguments.webcam is not None
    looked = stages.iterating("waiting for faces (host)", found)
    with contextlib.ExitStack() as stack:
        watch = DeviceWatch(stages, "network (device)")
        stack.callback(watch.close)
        answers = pipeline.predict_frames(
            made.detector,
            looked,
            job.wanted.heatmaps,
            lambda: stop.received is not None,
            lambda pending: watch.watch(pending.wait),
        )
        yield from pipeline.smoothed(answers, job.options.smoothing(causal))


def _found(made: PredictionRun) -> Iterator[DetectedFrame]:
    """Frames with their faces, from the place to go on from."""
    job, place = made.job, made.place
    read = frames.read(job.sources[place.source :], job.options.every, {0: place.done} if place.done else None)
    timed = made.stages.iterating("reading (thread)", _moved(read, place.source))
    return finder.find(timed, job.options.finder_options(made.detector.config.image_size), made.stages.timed)


def _moved(read: Iterator[Frame], by: int) -> Iterator[Frame]:
    """Frames whose sources are counted from the first of the command line."""
    with contextlib.closing(read):  # pyright: ignore[reportArgumentType]  # a generator
        for frame in read:
            yield dataclasses.replace(frame, index=frame.index + by) if by else frame


def _say_stages(made: PredictionRun, count: int) -> None:
    for line in made.stages.report(count):
        status("predict", line)


class _ProblemLog:
    """Says why frames have no result: the first time of each reason in full, then how often it came again."""

    def __init__(self) -> None:
        self._source = -1
        self._name = ""
        self._again: dict[str, int] = {}
        self._resized = False

    def tell(self, one: FrameResult, aligned_size: int | None) -> None:
        """Says what is to be said of a frame."""
        frame = one.detected.frame
        if frame.index != self._source:
            self.finish()
            self._source, self._name = frame.index, frame.source.name
        if aligned_size is not None and frame.image is not None and one.detected.faces:
            self._tell_size(frame.source.name, frame.image.shape, aligned_size)
        reason = pipeline.problem(one)
        if reason is None:
            return
        if reason not in self._again:
            where = f", frame {frame.number}" if frame.seconds is not None or frame.number > 1 else ""
            status("predict", f"{frame.source.name}{where}: {reason}")
        self._again[reason] = self._again.get(reason, -1) + 1

    def finish(self) -> None:
        """Says how often each reason of the last source came again."""
        for reason, count in self._again.items():
            if count:
                status("predict", f"{self._name}: {reason} (so too {count} other frames)")
        self._again = {}

    def _tell_size(self, name: str, shape: tuple[int, ...], size: int) -> None:
        if shape[0] != size and not self._resized:
            self._resized = True
            height, width = shape[:2]
            status(
                "predict",
                f"{name}: resized from {width}x{height} to {size}x{size}, as others may be without further notice",
            )


class _FrameRates:
    """Measures the frame rates of videos for the JSON."""

    def __init__(self, made: PredictionRun):
        self._made = made
        self._first: Frame | None = None
        self._last: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Takes a frame that was written."""
        if self._first is not None and self._first.index != frame.index:
            self.finish()
        if frame.seconds is not None and frame.source.kind in ("video", "webcam"):
            self._last = dataclasses.replace(frame, image=None)
            self._first = self._first or self._last

    def finish(self) -> None:
        """Notes the rate of a video that has ended."""
        first, last, self._first = self._first, self._last, None
        if first is None or last is None or not (last.seconds or 0.0) > (first.seconds or 0.0):
            return
        rate = (last.number - first.number) / ((last.seconds or 0.0) - (first.seconds or 0.0))
        self._made.about["frame_rates"][last.source.name] = round(rate, 3)
        _write_about(self._made, complete=False)

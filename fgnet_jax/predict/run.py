"""A prediction run: loads the weights, finds where to resume, then predicts and writes frame by frame, in order."""

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

from fgnet_jax import aus as aus_lib
from fgnet_jax.faces import finder
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import frames as frames_lib
from fgnet_jax.media import video_writer
from fgnet_jax.media.frames import VIDEO_KINDS, Frame
from fgnet_jax.metrics.thresholds import ThresholdsError
from fgnet_jax.predict import batching, heatmap_files, outputs, pipeline, result_table, run_record
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import TableColumns, table_columns
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.reporting import RunReporter
from fgnet_jax.predict.request import PredictionRequest, RequestError, writes_run_record
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.progress import DeviceWatch, Stages
from fgnet_jax.runtime.signals import Stopped, StopSignal
from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector

_ARENA_MAX = -8  # glibc's M_ARENA_MAX, of malloc.h
_TRIM_SECONDS = 0.5
_EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143}


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionRun:
    """A request with its network, and all that is known before the first frame.

    Attributes:
      request: The checked command line.
      detector: The network.
      columns: The table's columns.
      thresholds: (K,): an AU is present where its score is above.
      record: The JSON beside the table.
      resume_point: Where to begin.
      stages: Time that each stage takes.
    """

    request: PredictionRequest
    detector: "Detector"
    columns: TableColumns
    thresholds: np.ndarray
    record: dict[str, Any]
    resume_point: ResumePoint
    stages: Stages


def run(request: PredictionRequest) -> int:
    """Carry out a request, and return the exit status.

    Raises:
      RequestError: It cannot be carried out; nothing has been written yet.
      OSError: Results cannot be written.
    """
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `images` checks sizes itself
    trimmer = _HeapTrimmer()
    detector = _load(request)
    prepared = _prepare(request, detector)
    if prepared is None:
        status("predict", f"{request.outputs.table} is complete")
        return 0
    try:
        frames = _detected_frames(prepared)
    except DetectorError as error:
        raise RequestError(str(error)) from error
    _compile(detector)
    prepared.stages.begin()
    with contextlib.ExitStack() as stack, StopSignal() as stop:
        stack.enter_context(contextlib.closing(frames))
        opened = _open_outputs(stack, prepared)
        return _predict_and_write(prepared, frames, opened, stop=stop, trimmer=trimmer)


def _load(request: PredictionRequest) -> "Detector":
    """Load the weights. JAX is imported only here, so that mistakes in the command line are reported at once."""
    start = time.perf_counter()
    from fgnet_jax.models import lineage
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector

    arguments = request.arguments
    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype, batch_size=arguments.batch_size)
    except WeightsError as error:
        raise RequestError(str(error)) from error
    if request.options.aligned and all(source.kind != "video" for source in request.sources):
        # no padding where there are fewer images
        detector = detector.with_batch_size(min(detector.batch_size, len(request.sources)))
    status("predict", f"loaded in {time.perf_counter() - start:.1f} s")
    if notice := lineage.notice(detector.meta):
        status("predict", notice)
    return detector


def _compile(detector: "Detector") -> None:
    start = time.perf_counter()
    detector.compile()
    status("predict", f"compiled in {time.perf_counter() - start:.1f} s")


def _prepare(request: PredictionRequest, detector: "Detector") -> PredictionRun | None:
    """Gather all that is known before the first frame; None where nothing is left to do."""
    try:
        thresholds = request.options.thresholds_of(detector.aus)
    except ThresholdsError as error:
        raise RequestError(str(error)) from error
    columns = table_columns(detector.aus, request.arguments.dialect, request.outputs.peaks)
    record = _record(request, detector, thresholds)
    point: ResumePoint | None = ResumePoint()
    if request.arguments.resume:
        try:
            point, record["frame_rates"] = _resume(request, detector, columns, record)
        except (result_table.TableError, run_record.RunRecordError) as error:
            raise RequestError(str(error)) from error
    if point is None:
        return None
    return PredictionRun(
        request=request,
        detector=detector,
        columns=columns,
        thresholds=thresholds,
        record=record,
        resume_point=point,
        stages=Stages(),
    )


def _record(request: PredictionRequest, detector: "Detector", thresholds: np.ndarray) -> dict[str, Any]:
    """Return the JSON beside the table, as at the beginning of a run."""
    import jax

    from fgnet_jax.models import lineage

    causal = request.arguments.webcam is not None
    smoothing, size, device = request.options.smoothing(causal), detector.config.image_size, jax.devices()[0]
    return {
        "version": __version__,
        "weights": {"sha256": detector.checksum},  # their folder is among the arguments: it may be moved
        "sources": list(detector.meta.sources),
        "corpus": detector.meta.corpus,
        "learnt_from": lineage.learnt_from(detector.meta),
        "aus": list(detector.aus),
        "thresholds": {aus_lib.label(au): float(at) for au, at in zip(detector.aus, thresholds, strict=True)},
        "detector": request.options.finder_options(size).describe(),
        "alignment": run_record.NO_ALIGNMENT if request.options.aligned else run_record.ALIGNMENT,
        "aligned_size": size,
        "every": request.options.every,
        "frame_rates": {},
        "smoothing": smoothing.describe() if smoothing else None,
        "precision": detector.config.dtype,
        "batch_size": detector.batch_size,
        "device": {"kind": device.device_kind, "platform": device.platform, "count": detector.layout.mesh.size},
        "dialect": request.arguments.dialect,
        "peaks": request.outputs.peaks,
        "arguments": vars(request.arguments),
        "complete": False,
    }


def _resume(
    request: PredictionRequest, detector: "Detector", columns: TableColumns, record: dict[str, Any]
) -> tuple[ResumePoint | None, dict[str, float]]:
    """Find where to resume, None where the table is complete, and the frame rates that are known already.

    Raises:
      TableError: The existing table has other columns or inputs.
      RunRecordError: It was written with other settings.
    """
    path, former = request.outputs.table, run_record.read(request.outputs.table)
    rows = result_table.rows_file(path)
    if former is None or not os.path.exists(rows):
        is_complete = former is not None and former.get("complete") and os.path.exists(path)
        if former is not None and is_complete:
            run_record.check_same(path, former, record)
        if former is None and os.path.exists(rows) and result_table.is_begun(rows, columns):
            raise run_record.RunRecordError(f"{rows} cannot be resumed: {run_record.path_of(path)} is not beside it")
        return (None if is_complete else ResumePoint()), {}
    run_record.check_same(path, former, record)
    smoothing = request.options.smoothing()
    names = [source.name for source in request.sources]
    try:
        written = result_table.written(rows, columns)
        window = smoothing.window if smoothing else 0.0
        point = batching.resume_point(written, names, detector.batch_size, window=window)
    except ValueError as error:
        raise result_table.TableError(f"{rows} cannot be resumed: {error}") from error
    status("predict", f"resuming after {point.rows} rows")
    return point, former.get("frame_rates", {})


def _open_outputs(stack: contextlib.ExitStack, prepared: PredictionRun) -> outputs.OpenOutputs:
    """Open all results, and write the run's record.

    Raises:
      RequestError: Something cannot be written.
    """
    request, detector = prepared.request, prepared.detector
    try:
        opened = outputs.open_all(
            stack,
            request.outputs,
            prepared.columns,
            aus=detector.aus,
            size=detector.config.heatmap_size,
            sources=request.sources,
            resume_point=prepared.resume_point,
        )
        _write_record(prepared, complete=False)
    except (OSError, heatmap_files.ArchiveError, video_writer.VideoWriterError) as error:
        raise RequestError(f"cannot write the results: {error}") from error
    return opened


def _write_record(prepared: PredictionRun, *, complete: bool) -> None:
    if writes_run_record(prepared.request.outputs.table):
        prepared.record["complete"] = complete
        run_record.write(prepared.request.outputs.table, prepared.record)


def _detected_frames(prepared: PredictionRun) -> Generator[DetectedFrame, None, None]:
    """Return the frames with their faces, from the resume point on.

    Raises:
      DetectorError: dlib or its data file is missing.
    """
    request, point = prepared.request, prepared.resume_point
    skip = {0: point.done} if point.done else None
    read = frames_lib.read(request.sources[point.source :], request.options.every, skip)
    timed = prepared.stages.iterating("reading (thread)", _reindexed(read, point.source))
    options = request.options.finder_options(prepared.detector.config.image_size)
    return finder.find(timed, options, prepared.stages.timed)


def _reindexed(read: Iterator[Frame], offset: int) -> Iterator[Frame]:
    """Yield frames whose sources are counted from the first of the command line."""
    with contextlib.closing(read):  # pyright: ignore[reportArgumentType]  # a generator
        for frame in read:
            yield dataclasses.replace(frame, index=frame.index + offset) if offset else frame


def _results(
    prepared: PredictionRun, frames: Iterator[DetectedFrame], stop: StopSignal
) -> Generator[FrameResult, None, None]:
    """Yield all frames with the network's output, smoothed if requested.

    Raises:
      Stopped: A signal arrived.
    """
    request, stages = prepared.request, prepared.stages
    causal = request.arguments.webcam is not None
    with contextlib.ExitStack() as stack:
        watch = DeviceWatch(stages, "network (device)")
        stack.callback(watch.close)
        results = pipeline.predict_frames(
            prepared.detector,
            stages.iterating("waiting for faces (host)", frames),
            heatmaps=request.outputs.heatmaps,
            stop=lambda: stop.received,
            on_start=lambda pending: watch.watch(pending.wait),
        )
        yield from pipeline.smoothed(results, request.options.smoothing(causal))


def _predict_and_write(
    prepared: PredictionRun,
    frames: Iterator[DetectedFrame],
    opened: outputs.OpenOutputs,
    *,
    stop: StopSignal,
    trimmer: "_HeapTrimmer",
) -> int:
    """Predict and write all frames, and return the exit status."""
    rates = _FrameRates(prepared)
    results = _results(prepared, frames, stop)
    signal = None
    aligned_size = prepared.detector.config.image_size if prepared.request.options.aligned else None
    with RunReporter(prepared.request.sources, prepared.resume_point, aligned_size) as reporter:
        try:
            for result in results:
                frame = result.detected.frame
                if (frame.index, frame.number) <= prepared.resume_point.written:
                    continue
                reporter.report_problem(result)
                rows = pipeline.rows(result, prepared.thresholds, prepared.request.outputs.peaks)
                with prepared.stages.timed("drawing and writing"):
                    faces = opened.write(result, rows)
                rates.add(frame)
                reporter.add(frame, faces)
                trimmer.trim()
        except Stopped as stopped:
            signal = str(stopped)
        finally:
            results.close()
    if prepared.request.arguments.benchmark:
        for line in prepared.stages.report(reporter.frames):
            status("predict", line)
    rates.finish()
    if signal is not None:
        status("predict", "interrupted; what was finished is written")
        return _EXIT_STATUS[signal]
    opened.table.is_complete = True
    _write_record(prepared, complete=True)
    return 0 if reporter.faces or prepared.resume_point.faces else 1


class _FrameRates:
    """Measures the frame rates of videos for the run's record."""

    def __init__(self, prepared: PredictionRun):
        self._prepared = prepared
        self._first: Frame | None = None
        self._last: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Count a frame that was written."""
        if self._first is not None and self._first.index != frame.index:
            self.finish()
        if frame.seconds is not None and frame.source.kind in VIDEO_KINDS:
            self._last = dataclasses.replace(frame, image=None)
            self._first = self._first or self._last

    def finish(self) -> None:
        """Record the rate of a video that has ended."""
        first, last, self._first = self._first, self._last, None
        if first is None or last is None or not (last.seconds or 0.0) > (first.seconds or 0.0):
            return
        rate = (last.number - first.number) / ((last.seconds or 0.0) - (first.seconds or 0.0))
        self._prepared.record["frame_rates"][last.source.name] = round(rate, 3)
        _write_record(self._prepared, complete=False)


class _HeapTrimmer:
    """Keeps the memory of a long run that of a short one.

    glibc gives every thread its own heap. Frames are allocated on one thread and freed on another, and with time every
    heap grows to what the fullest one needs, and is full of holes: a tenth of the memory. One heap for all threads,
    whose holes are given back to the system now and then, stays constant; threads seldom contend for it, since their
    allocations are large.
    """

    def __init__(self) -> None:
        self._library, self._trimmed = None, 0.0
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL("libc.so.6")
            library.mallopt(_ARENA_MAX, 1)
            library.malloc_trim(0)
            self._library = library

    def trim(self) -> None:
        """Give free memory back to the system, every `_TRIM_SECONDS`."""
        now = time.monotonic()
        if self._library is not None and now - self._trimmed > _TRIM_SECONDS:
            self._library.malloc_trim(0)
            self._trimmed = now

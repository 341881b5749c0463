"""A prediction run: loads the weights, finds where to resume, then predicts and writes frame by frame, in order."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fgnet_jax.faces import finder, look_ahead
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.finder import DetectedFrame
from fgnet_jax.media import video_writer
from fgnet_jax.media.frames import SEVERAL_KINDS
from fgnet_jax.metrics.thresholds import ThresholdsError
from fgnet_jax.predict import heatmap_files, merging, outputs, pipeline, recording, resuming, tables
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.columns import ResultRow, TableColumns, faceless_of
from fgnet_jax.predict.live import LiveCamera
from fgnet_jax.predict.live_view import LiveView, LiveViewError
from fgnet_jax.predict.pipeline import FrameResult
from fgnet_jax.predict.recording import RunRecorder
from fgnet_jax.predict.reporting import RunReporter
from fgnet_jax.predict.request import PredictionRequest, RequestError
from fgnet_jax.predict.resuming import Resumption
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.heap import HeapTrimmer
from fgnet_jax.runtime.progress import DeviceWatch, Stages
from fgnet_jax.runtime.signals import Stopped, StopSignal

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector

_EXIT_STATUS = {"SIGINT": 130, "SIGTERM": 143}

Input = Generator[DetectedFrame, None, None] | LiveCamera
"""Frames of files with their faces; or a camera."""


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionRun:
    """A request with its network, and all that is known before the first frame.

    Attributes:
      request: The checked command line.
      detector: The network.
      columns: The table's columns.
      thresholds: (K,): an AU is present where its score is above.
      recorder: Keeps the JSON beside the table.
      resume_point: Where to begin.
      stages: Time that each stage takes.
    """

    request: PredictionRequest
    detector: "Detector"
    columns: TableColumns
    thresholds: np.ndarray
    recorder: RunRecorder
    resume_point: ResumePoint
    stages: Stages


def run(request: PredictionRequest) -> int:
    """Carry out a request, and return the exit status.

    Raises:
      RequestError: It cannot be carried out; nothing has been written yet.
      OSError: Results cannot be written.
    """
    if not request.sources:
        request.report(f"shard {request.arguments.shard} has none of the {len(request.whole)} inputs: nothing to do")
        return 0
    if request.arguments.merge:
        return merging.merge(request)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `images` checks sizes itself
    trimmer = HeapTrimmer()
    if (prepared := _prepare(request)) is None:
        _remove_rows(request)  # a run may have been killed while it did
        request.report(f"{request.outputs.table} is complete")
        return 0
    with _view(prepared) as view:
        try:
            frames = _detected_frames(prepared)
        except DetectorError as error:
            raise RequestError(str(error)) from error
        _compile(prepared)
        return _carry_out(prepared, frames, view, trimmer)


@contextlib.contextmanager
def _view(prepared: PredictionRun) -> Iterator[LiveView | None]:
    """Serve the page that shows the camera, where that is requested.

    Raises:
      RequestError: The port cannot be used.
    """
    arguments = prepared.request.arguments
    if arguments.show is None:
        yield None
        return
    try:
        view = LiveView(arguments.show, prepared.detector.aus, aligned=prepared.request.options.aligned)
    except LiveViewError as error:
        raise RequestError(f"--show {error}") from error
    with contextlib.closing(view):
        status("predict", f"the camera is shown at {view.url}")
        yield view


def _carry_out(prepared: PredictionRun, frames: Input, view: LiveView | None, trimmer: HeapTrimmer) -> int:
    """Predict and write all frames, and return the exit status."""
    request = prepared.request
    prepared.stages.begin()
    with StopSignal() as stop:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(frames))
            opened = _open_outputs(stack, prepared)
            result = _predict_and_write(prepared, frames, opened, view=view, stop=stop, trimmer=trimmer)
            prepared.recorder.wait(lambda: stop.received)
        if opened.video is not None and opened.video.sound_problem:
            status("predict", f"{request.outputs.video}: {opened.video.sound_problem}")
        is_complete = result not in _EXIT_STATUS.values() or isinstance(frames, LiveCamera)
        prepared.recorder.finish(complete=is_complete)
        if is_complete:
            _remove_rows(request)
    return result


def _remove_rows(request: PredictionRequest) -> None:
    """Remove the files of rows beside complete tables."""
    tables.remove_rows(request.outputs.tables(request.sources), faceless_of(request.outputs.dialect))


def _prepare(request: PredictionRequest) -> PredictionRun | None:
    """Gather all that is known before the first frame; None where nothing is left to do.

    JAX is imported only here, so that mistakes in the command line are reported at once.
    """
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict import detector as detector_lib

    arguments = request.arguments
    try:
        weights = detector_lib.describe(arguments.weights, dtype=arguments.dtype)
        thresholds = request.options.thresholds_of(weights.meta.aus)
        known = recording.settings(request, weights, thresholds)
        columns = request.outputs.table_columns(weights.meta.aus, weights.calibrated)
        if arguments.resume and resuming.is_complete(request, columns, known, weights.sums):
            return None
        detector = _load(request)
    except (WeightsError, ThresholdsError) as error:
        raise RequestError(str(error)) from error
    record = recording.record(request, known, detector, weights.sums)
    resumption = Resumption(ResumePoint())
    if arguments.resume:
        resumption = resuming.find(request, columns, detector.batch_size, record)
    if resumption.point is None:
        return None
    record["frame_rates"] |= resumption.frame_rates
    record["inputs"] |= resumption.inputs
    return PredictionRun(
        request=request,
        detector=detector,
        columns=columns,
        thresholds=thresholds,
        recorder=RunRecorder(request, record, max(resumption.point.source, resumption.point.written[0])),
        resume_point=resumption.point,
        stages=Stages(),
    )


def _load(request: PredictionRequest) -> "Detector":
    """Load the weights."""
    start = time.perf_counter()
    from fgnet_jax.models import lineage
    from fgnet_jax.predict.detector import Detector

    arguments = request.arguments
    detector = Detector.load(arguments.weights, dtype=arguments.dtype, batch_size=arguments.batch_size)
    if request.options.aligned and all(source.kind not in SEVERAL_KINDS for source in request.whole):
        # no padding where there are fewer images
        detector = detector.with_batch_size(min(detector.batch_size, len(request.whole)))
    elif arguments.batch_size is None and any(source.kind in look_ahead.KINDS for source in request.whole):
        detector = detector.for_video_files()
    request.report(f"loaded in {time.perf_counter() - start:.1f} s")
    if notice := lineage.notice(detector.meta):
        status("predict", notice)
    return detector


def _compile(prepared: PredictionRun) -> None:
    start = time.perf_counter()
    prepared.detector.compile()
    prepared.request.report(f"compiled in {time.perf_counter() - start:.1f} s")


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
        prepared.recorder.begin()
    except (OSError, heatmap_files.ArchiveError, video_writer.VideoWriterError) as error:
        raise RequestError(f"cannot write the results: {error}") from error
    return opened


def _detected_frames(prepared: PredictionRun) -> Input:
    """Return the frames with their faces, from the resume point on; or a camera, which is opened later.

    Raises:
      DetectorError: dlib or its data file is missing.
    """
    request, point = prepared.request, prepared.resume_point
    if request.arguments.webcam is not None:
        heatmaps = request.outputs.heatmaps or request.arguments.show is not None
        return LiveCamera(
            prepared.detector, request.sources[0], request.options, heatmaps=heatmaps, stages=prepared.stages
        )
    read = pipeline.read_frames(request.sources, request.options, point)
    timed = prepared.stages.iterating("reading (thread)", read)
    options = request.options.finder_options(prepared.detector.config.image_size)
    return finder.find(timed, options, prepared.stages.timed)


def _results(prepared: PredictionRun, frames: Input, stop: StopSignal) -> Generator[FrameResult, None, None]:
    """Yield all frames with the network's output, smoothed if requested.

    Raises:
      Stopped: A signal arrived.
    """
    request, stages = prepared.request, prepared.stages
    if isinstance(frames, LiveCamera):
        with contextlib.closing(frames.results(lambda: stop.received)) as results:
            yield from pipeline.smoothed(results, request.options.smoothing(causal=True))
        return
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
        yield from pipeline.smoothed(results, request.options.smoothing())


def _predict_and_write(
    prepared: PredictionRun,
    frames: Input,
    opened: outputs.OpenOutputs,
    *,
    view: LiveView | None,
    stop: StopSignal,
    trimmer: HeapTrimmer,
) -> int:
    """Predict and write all frames, and return the exit status."""
    aligned_size = prepared.detector.config.image_size if prepared.request.options.aligned else None
    signal = None
    with RunReporter(prepared.request, prepared.resume_point, aligned_size) as reporter:
        with contextlib.closing(_results(prepared, frames, stop)) as results:
            try:
                _write(prepared, results, opened, reporter=reporter, show=_Show(frames, view), trimmer=trimmer)
            except Stopped as stopped:
                signal = str(stopped)
    if prepared.request.arguments.benchmark:
        for line in prepared.stages.report(reporter.frames):
            status("predict", line)
    if isinstance(frames, LiveCamera):
        _end_live(prepared, frames)
    elif signal is not None:
        status("predict", "interrupted; what was finished is written")
        return _EXIT_STATUS[signal]
    opened.table.complete()
    if signal is not None:
        status("predict", "the camera was ended; everything is written")
        return _EXIT_STATUS[signal]
    is_shard = prepared.request.arguments.shard is not None  # whether any face succeeds is for all of them to say
    return 0 if reporter.faces or prepared.resume_point.faces or is_shard else 1


def _write(
    prepared: PredictionRun,
    results: Iterator[FrameResult],
    opened: outputs.OpenOutputs,
    *,
    reporter: RunReporter,
    show: "_Show",
    trimmer: HeapTrimmer,
) -> None:
    """Write all frames, in order.

    Raises:
      Stopped: A signal arrived.
    """
    peaks, intensities = prepared.request.outputs.peaks, pipeline.intensities_of(prepared.detector)
    for result in results:
        frame = result.detected.frame
        if (frame.index, frame.number) <= prepared.resume_point.written:
            continue
        reporter.report_problem(result)
        rows = pipeline.rows(result, prepared.thresholds, peaks, intensities=intensities)
        with prepared.stages.timed("drawing and writing"):
            faces = opened.write(result, rows)
        prepared.recorder.add(frame)
        reporter.add(frame, faces, show.line())
        show.frame(result, rows)
        trimmer.trim()


@dataclasses.dataclass(frozen=True)
class _Show:
    """What is shown of a camera, where there is one: its latency, and its frames in the browser."""

    frames: Input
    view: LiveView | None

    def line(self) -> str:
        """Return the latency as text; empty for files."""
        return self.frames.meter.line() if isinstance(self.frames, LiveCamera) else ""

    def frame(self, result: FrameResult, rows: Sequence[ResultRow]) -> None:
        """Show a frame in the browser."""
        if self.view is not None and result.detected.frame.image is not None:
            self.view.show(result, rows, self.line())


def _end_live(prepared: PredictionRun, camera: LiveCamera) -> None:
    """Report and record the latency of a camera's results, and what was dropped."""
    numbers = camera.meter.summary()
    prepared.recorder.add_live(numbers)
    if latency := numbers["latency_ms"]:
        rare = "" if latency["99th"] is None else f" (99th {latency['99th']:.0f})"
        prepared.request.report(
            f"{numbers['dropped']} of {numbers['captured']} frames were late and dropped; latency"
            f" {latency['median']:.0f} ms{rare} from capture to result"
        )

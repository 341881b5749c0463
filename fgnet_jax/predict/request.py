"""A checked command line of `fgnet_jax.predict`: requests that cannot work are refused before anything is touched."""

import argparse
import dataclasses
import importlib.util
import os
from collections.abc import Sequence

from fgnet_jax.faces import dlib_detector
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.media import sources as sources_lib
from fgnet_jax.media import video_writer
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import heatmap_files, result_table, run_record
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.predict.pipeline import PredictOptions


class RequestError(Exception):
    """A request that cannot be carried out; nothing has been read or written yet."""


@dataclasses.dataclass(frozen=True)
class PredictionRequest:
    """A checked command line.

    Attributes:
      arguments: The arguments as they were given.
      sources: Images and videos to predict.
      options: Options of prediction.
      outputs: Which results to write, and where.
    """

    arguments: argparse.Namespace
    sources: list[Source]
    options: PredictOptions
    outputs: OutputOptions


def checked(arguments: argparse.Namespace) -> PredictionRequest:
    """Check a command line, and return its request.

    Raises:
      RequestError: It cannot work; the message names the reason.
    """
    sources = _sources(arguments)
    outputs = OutputOptions(
        table=arguments.csv,
        archive=arguments.heatmaps,
        on_image=arguments.heatmaps_on == "image",
        overlays=arguments.overlays,
        video=arguments.video,
        peaks=arguments.peaks,
        aligned=arguments.aligned,
    )
    options = PredictOptions(
        largest=arguments.largest,
        every=arguments.every,
        detect_every=arguments.detect_every,
        predictor=arguments.predictor,
        aligned=arguments.aligned,
        thresholds=arguments.thresholds,
        smooth=arguments.smooth_window or arguments.smooth,
    )
    request = PredictionRequest(arguments=arguments, sources=sources, options=options, outputs=outputs)
    _check_combination(request)
    _check_files(request)
    _check_resume(request)
    _check_libraries(request)
    return request


def writes_run_record(table: str) -> bool:
    """Return whether a table has a JSON beside it: not where it is standard output or a device."""
    return table != "-" and (os.path.isfile(table) or not os.path.exists(table))


def _sources(arguments: argparse.Namespace) -> list[Source]:
    if arguments.webcam is not None:
        if arguments.inputs:
            raise RequestError(f"--webcam takes no other input, got {arguments.inputs[0]}")
        return [sources_lib.webcam(arguments.webcam)]
    if not arguments.inputs:
        raise RequestError("the following arguments are required: INPUT (or --webcam N)")
    return sources_lib.find(arguments.inputs)


def _check_combination(request: PredictionRequest) -> None:
    """Refuse arguments that contradict each other."""
    outputs, arguments = request.outputs, request.arguments
    if outputs.on_image and not outputs.archive:
        raise RequestError("--heatmaps_on image applies to an archive of heatmaps; --heatmaps FILE is missing")
    if outputs.peaks and arguments.dialect:
        raise RequestError(f"--peaks adds columns that the dialect {arguments.dialect} does not have")
    if request.options.aligned and (arguments.largest or arguments.predictor or arguments.detect_every):
        raise RequestError("--aligned skips face detection: --largest, --detect_every and --predictor do not apply")
    if outputs.video and [source.kind for source in request.sources] not in (["video"], ["webcam"]):
        raise RequestError(
            "--video is drawn of one video or webcam, which must be the only input; --overlays takes any"
        )
    if outputs.video and not outputs.video.lower().endswith(".mp4"):
        raise RequestError(f"--video writes MP4: {outputs.video} must end with .mp4")


def _check_files(request: PredictionRequest) -> None:
    """Refuse outputs that are inputs, each other or folders, or that cannot be written."""
    outputs = request.outputs
    targets = [*outputs.files, *(outputs.overlay_names(request.sources) if outputs.overlays else [])]
    if writes_run_record(outputs.table):
        targets.append(os.fspath(run_record.path_of(outputs.table)))
    if outputs.table != "-" and result_table.is_parquet(outputs.table):
        targets.append(result_table.rows_file(outputs.table))
    inputs = {os.path.realpath(source.path) for source in request.sources if isinstance(source.path, str)}
    real = [os.path.realpath(path) for path in targets]
    for path in real:
        if path in inputs:
            raise RequestError(f"{path} is both an image to read and a result to write")
    if len(set(real)) < len(real):
        raise RequestError("two results would be written to the same file")
    for path in targets:
        _check_target(path, outputs)


def _check_target(path: str, outputs: OutputOptions) -> None:
    is_zarr = path == outputs.archive and heatmap_files.is_zarr(path)
    if os.path.isdir(path) and path in outputs.files and not is_zarr:
        raise RequestError(f"cannot write {path}: it is a folder")
    if is_zarr and os.path.exists(path) and not os.path.isfile(os.path.join(path, "zarr.json")):
        raise RequestError(f"cannot write {path}: it exists and is no Zarr archive that could be replaced")
    _check_folder(os.path.dirname(os.path.abspath(path)))


def _check_folder(folder: str) -> None:
    """Refuse a folder that can neither be written to nor be created, without creating it."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise RequestError(f"cannot write into {folder}: it is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"cannot write into {folder}: permission denied")


def _check_resume(request: PredictionRequest) -> None:
    """Refuse to resume outputs that cannot be appended to."""
    if not request.arguments.resume:
        return
    outputs = request.outputs
    archive = outputs.archive or ""
    reasons: Sequence[tuple[bool, str]] = (
        (outputs.table == "-", "a table on standard output"),
        (request.arguments.webcam is not None, "a camera"),
        (bool(outputs.video), "a video (--video); draw it in a separate run"),
        (bool(archive) and not heatmap_files.is_zarr(archive), "an npz archive; .zarr can be resumed"),
    )
    for holds, reason in reasons:
        if holds:
            raise RequestError(f"--resume cannot resume {reason}")


def _check_libraries(request: PredictionRequest) -> None:
    """Refuse what needs a library or a data file that is not installed."""
    archive = request.outputs.archive
    if archive and heatmap_files.is_zarr(archive) and importlib.util.find_spec("zarr") is None:
        raise RequestError("Zarr is not installed: pip install 'fgnet_jax[zarr]', or write .npz")
    try:
        if request.outputs.video:
            video_writer.check()
        if not request.options.aligned:
            dlib_detector.find_predictor(request.options.predictor)
    except (video_writer.VideoWriterError, DetectorError) as error:
        raise RequestError(str(error)) from error

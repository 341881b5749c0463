"""A command line of `fgnet_jax.predict`, checked: what cannot work is refused before anything is touched."""

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
    """A command that cannot be carried out; nothing has been read or written yet."""


@dataclasses.dataclass(frozen=True)
class PredictionRequest:
    """What is to be done.

    Attributes:
      arguments: As they were given.
      sources: What to look at.
      options: How.
      wanted: What to write.
    """

    arguments: argparse.Namespace
    sources: list[Source]
    options: PredictOptions
    wanted: OutputOptions


def checked(arguments: argparse.Namespace) -> PredictionRequest:
    """A command line's job.

    Raises:
      RequestError: It cannot work; the message says why.
    """
    sources = _sources(arguments)
    wanted = OutputOptions(
        arguments.csv,
        arguments.heatmaps,
        arguments.heatmaps_on == "image",
        arguments.overlays,
        arguments.video,
        arguments.peaks,
        arguments.aligned,
    )
    options = PredictOptions(
        arguments.largest,
        arguments.every,
        arguments.detect_every,
        arguments.predictor,
        arguments.aligned,
        arguments.thresholds,
        arguments.smooth_window or arguments.smooth,
    )
    job = PredictionRequest(arguments, sources, options, wanted)
    _check_together(job)
    _check_files(job)
    _check_resume(job)
    _check_libraries(job)
    return job


def writes_run_record(table: str) -> bool:
    """Whether a JSON stands beside the table: not beside standard output or a device."""
    return table != "-" and (os.path.isfile(table) or not os.path.exists(table))


def _sources(arguments: argparse.Namespace) -> list[Source]:
    if arguments.webcam is not None:
        if arguments.inputs:
            raise RequestError(f"--webcam takes no other input, got {arguments.inputs[0]}")
        return [sources_lib.webcam(arguments.webcam)]
    if not arguments.inputs:
        raise RequestError("the following arguments are required: INPUT (or --webcam N)")
    return sources_lib.find(arguments.inputs)


def _check_together(job: PredictionRequest) -> None:
    """Refuses arguments that do not go together."""
    wanted, arguments = job.wanted, job.arguments
    if wanted.on_image and not wanted.archive:
        raise RequestError("--heatmaps_on image says where the archive's heatmaps lie; --heatmaps FILE is missing")
    if wanted.peaks and arguments.dialect:
        raise RequestError(f"--peaks adds columns that the dialect {arguments.dialect} does not have")
    if job.options.aligned and (arguments.largest or arguments.predictor or arguments.detect_every):
        raise RequestError("--aligned looks for no faces: --largest, --detect_every and --predictor do not go with it")
    if wanted.video and [source.kind for source in job.sources] not in (["video"], ["webcam"]):
        raise RequestError(
            "--video is drawn of one video or webcam, which must be the only input; --overlays takes any"
        )
    if wanted.video and not wanted.video.lower().endswith(".mp4"):
        raise RequestError(f"--video writes MP4: {wanted.video} must end with .mp4")


def _check_files(job: PredictionRequest) -> None:
    """Refuses outputs that are inputs, each other, folders, or where nothing can be written."""
    wanted = job.wanted
    targets = [*wanted.files, *(wanted.overlay_names(job.sources) if wanted.overlays else [])]
    if writes_run_record(wanted.table):
        targets.append(os.fspath(run_record.path_of(wanted.table)))
    if wanted.table != "-" and result_table.is_parquet(wanted.table):
        targets.append(result_table.rows_file(wanted.table))
    inputs = {os.path.realpath(source.path) for source in job.sources if isinstance(source.path, str)}
    real = [os.path.realpath(path) for path in targets]
    for path in real:
        if path in inputs:
            raise RequestError(f"{path} is both an image to read and a result to write")
    if len(set(real)) < len(real):
        raise RequestError("two results would be written to the same file")
    for path in targets:
        _check_target(path, wanted)


def _check_target(path: str, wanted: OutputOptions) -> None:
    of_archive = path == wanted.archive and heatmap_files.is_zarr(path)
    if os.path.isdir(path) and path in wanted.files and not of_archive:
        raise RequestError(f"cannot write {path}: it is a folder")
    if of_archive and os.path.exists(path) and not os.path.isfile(os.path.join(path, "zarr.json")):
        raise RequestError(f"cannot write {path}: it is there, and no Zarr archive that could be replaced")
    _check_writable(os.path.dirname(os.path.abspath(path)))


def _check_writable(folder: str) -> None:
    """Refuses a folder that can neither be written to nor be made."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise RequestError(f"cannot write into {folder}: it is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(f"cannot write into {folder}: permission denied")


def _check_resume(job: PredictionRequest) -> None:
    """Refuses to go on with what cannot be gone on with."""
    if not job.arguments.resume:
        return
    wanted = job.wanted
    reasons: Sequence[tuple[bool, str]] = (
        (wanted.table == "-", "a table on standard output"),
        (job.arguments.webcam is not None, "a camera"),
        (bool(wanted.video), "a video (--video); make it in a run of its own"),
        (bool(wanted.archive) and not heatmap_files.is_zarr(wanted.archive or ""), "an npz archive; .zarr can be"),
    )
    for holds, what in reasons:
        if holds:
            raise RequestError(f"--resume cannot go on with {what}")


def _check_libraries(job: PredictionRequest) -> None:
    """Refuses what needs a library that is not here."""
    if job.wanted.archive and heatmap_files.is_zarr(job.wanted.archive) and importlib.util.find_spec("zarr") is None:
        raise RequestError("Zarr is not installed: pip install 'fgnet_jax[zarr]', or write .npz")
    try:
        if job.wanted.video:
            video_writer.check()
        if not job.options.aligned:
            dlib_detector.find_predictor(job.options.predictor)
    except (video_writer.VideoWriterError, DetectorError) as error:
        raise RequestError(str(error)) from error

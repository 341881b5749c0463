"""A checked command line of `fgnet_jax.predict`: requests that cannot work are refused before anything is touched."""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Sequence

from fgnet_jax.faces import dlib_detector, recognition, yunet
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.media import camera, video, video_writer
from fgnet_jax.media import sources as sources_lib
from fgnet_jax.media.frames import VIDEO_KINDS
from fgnet_jax.media.sources import Source
from fgnet_jax.metrics import thresholds
from fgnet_jax.predict import heatmap_files, record_files, result_table, run_record, sharing
from fgnet_jax.predict.columns import faceless_of
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.predict.pipeline import PredictOptions
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.shards import Shard


class RequestError(Exception):
    """A request that cannot be carried out; nothing has been read or written yet."""


@dataclasses.dataclass(frozen=True)
class PredictionRequest:
    """A checked command line.

    Attributes:
      arguments: The arguments as they were given.
      sources: Images and videos to predict: of a shard, those that are its own.
      options: Options of prediction.
      outputs: Which results to write, and where.
    """

    arguments: argparse.Namespace
    sources: list[Source]
    options: PredictOptions
    outputs: OutputOptions

    @property
    def whole(self) -> Sequence[Source]:
        """All inputs, those of other shards among them."""
        return self.outputs.part[0] if self.outputs.part else self.sources

    @property
    def is_quiet(self) -> bool:
        """Whether to report problems alone."""
        return bool(self.arguments.quiet)

    def report(self, message: str) -> None:
        """Print a status line, unless problems alone are to be reported."""
        if not self.is_quiet:
            status("predict", message)


def checked(arguments: argparse.Namespace) -> PredictionRequest:
    """Check a command line, and return its request.

    Raises:
      RequestError: It cannot work; the message names the reason.
    """
    outputs = OutputOptions(
        table=arguments.per_input or arguments.csv,
        per_input=_per_input_suffix(arguments),
        archive=arguments.heatmaps,
        on_image=arguments.heatmaps_on == "image",
        overlays=arguments.overlays,
        video=arguments.video,
        peaks=arguments.peaks,
        aligned=arguments.aligned,
        aligned_faces=arguments.aligned_faces,
        dialect=arguments.dialect,
        replaces=arguments.overwrite,
    )
    if arguments.aligned and arguments.identities:
        raise RequestError("--identities tells people apart in whole images: it does not apply to --aligned")
    options = PredictOptions(
        largest=arguments.largest,
        every=arguments.every,
        detect_every=arguments.detect_every,
        detector=arguments.detector,
        min_confidence=arguments.min_confidence,
        predictor=arguments.predictor,
        aligned=arguments.aligned,
        identities=arguments.identities,
        thresholds=arguments.thresholds,
        smooth=arguments.smooth_window or arguments.smooth,
    )
    request = PredictionRequest(arguments=arguments, sources=_sources(arguments), options=options, outputs=outputs)
    _check_sharing(request)
    if arguments.shard is not None:
        request = of_shard(request, arguments.shard)
        if not request.sources:
            return request
    _check_combination(request)
    _check_files(request)
    _check_resume(request)
    _check_existing(request)
    _check_libraries(request)
    _check_data(request)
    _report_recognition(request)
    return request


def of_shard(request: PredictionRequest, shard: Shard) -> PredictionRequest:
    """Return the part of a request that a shard is; it may have no inputs."""
    part = sharing.part_of(request.sources, shard)
    outputs = sharing.outputs_of(request.outputs, request.sources, shard)
    return dataclasses.replace(request, sources=request.sources[part.start : part.stop], outputs=outputs)


def _check_sharing(request: PredictionRequest) -> None:
    """Refuse to share among machines what needs all inputs, or has no file that could be merged."""
    arguments, outputs = request.arguments, request.outputs
    if arguments.shard is None and not arguments.merge:
        return
    flag = "--shard" if arguments.shard is not None else "--merge"
    if arguments.shard is not None and arguments.merge:
        raise RequestError("--shard predicts a part, --merge joins all of them: one or the other")
    reasons = (
        (outputs.table == "-", "--csv FILE or --per_input DIR is missing"),
        (arguments.webcam is not None, "a camera cannot be shared"),
        (arguments.identities, "--identities numbers people over all inputs, which one machine must see"),
        (outputs.video is not None, "--video is drawn of a single input"),
        (
            bool(outputs.per_input and outputs.archive),
            "--heatmaps of all inputs needs one table of all: with --csv FILE, the parts of both are joined",
        ),
        (bool(arguments.merge and arguments.resume), "--resume does not apply: merging is done at once"),
    )
    for holds, reason in reasons:
        if holds:
            raise RequestError(f"{flag}: {reason}")


def _sources(arguments: argparse.Namespace) -> list[Source]:
    if arguments.webcam is not None:
        if arguments.inputs:
            raise RequestError(f"--webcam takes no other input, got {arguments.inputs[0]}")
        try:
            arguments.webcam = camera.parse(str(arguments.webcam))
        except ValueError as error:
            raise RequestError(f"--webcam {error}") from error
        return [sources_lib.webcam(arguments.webcam)]
    if arguments.show is not None:
        raise RequestError("--show shows a camera; --webcam CAMERA is missing")
    if not arguments.inputs:
        raise RequestError("the following arguments are required: INPUT (or --webcam CAMERA)")
    return sources_lib.find(arguments.inputs)


def _per_input_suffix(arguments: argparse.Namespace) -> str | None:
    """Return the suffix of tables for each input; None for one table of all."""
    if arguments.per_input is None:
        if arguments.per_input_format is not None:
            raise RequestError("--per_input_format applies to tables for each input; --per_input DIR is missing")
        return None
    if arguments.csv != "-":
        raise RequestError("--per_input writes a table for each input into its folder: --csv does not apply")
    return f".{arguments.per_input_format or 'csv'}"


def _check_combination(request: PredictionRequest) -> None:
    """Refuse arguments that contradict each other."""
    outputs, arguments = request.outputs, request.arguments
    if outputs.on_image and not outputs.archive:
        raise RequestError("--heatmaps_on image applies to an archive of heatmaps; --heatmaps FILE is missing")
    if outputs.peaks and arguments.dialect:
        raise RequestError(f"--peaks adds columns that the dialect {arguments.dialect} does not have")
    if request.options.aligned and (arguments.largest or arguments.predictor or arguments.detect_every):
        raise RequestError("--aligned skips face detection: --largest, --detect_every and --predictor do not apply")
    if outputs.video and [source.kind for source in request.sources] not in ([kind] for kind in VIDEO_KINDS):
        raise RequestError(
            "--video is drawn of one video or webcam, which must be the only input; --overlays takes any"
        )
    if outputs.video and not outputs.video.lower().endswith(".mp4"):
        raise RequestError(f"--video writes MP4: {outputs.video} must end with .mp4")


def _check_files(request: PredictionRequest) -> None:
    """Refuse outputs that are inputs, each other or folders, or that cannot be written."""
    outputs = request.outputs
    targets = list(outputs.files(request.sources))
    for table in outputs.tables(request.sources):
        if record_files.has_record(table):
            targets.append(os.fspath(run_record.path_of(table)))
        rows = result_table.rows_file(table, faceless_of(outputs.dialect))
        targets += [rows] if rows != table else []
    _check_image_folders(request)
    inputs = {os.path.realpath(source.path) for source in request.whole if isinstance(source.path, str)}
    real = [os.path.realpath(path) for path in targets]
    for path in real:
        if path in inputs:
            raise RequestError(f"{path} is both an image to read and a result to write")
    if len(set(real)) < len(real):
        raise RequestError("two results would be written to the same file")
    for path in targets:
        _check_target(path, outputs)


def _check_image_folders(request: PredictionRequest) -> None:
    """Refuse folders of PNGs that are each other or no folders, or in which an input would be replaced."""
    present = request.outputs.image_folders(request.sources).present
    if len({os.path.realpath(folder.path) for folder in present}) < len(present):
        raise RequestError("--overlays and --aligned_faces write different PNGs: they need two folders")
    inputs = {os.path.realpath(source.path) for source in request.sources if isinstance(source.path, str)}
    for folder in present:
        _check_folder(os.path.abspath(folder.path))
        for path in folder.folders():
            if os.path.lexists(path):
                _check_folder(path)
        for path in folder.existing():
            if os.path.realpath(path) in inputs:
                raise RequestError(f"{path} is both an image to read and a result to write")


def _check_target(path: str, outputs: OutputOptions) -> None:
    is_zarr = path == outputs.archive and heatmap_files.is_zarr(path)
    if os.path.isdir(path) and not is_zarr:
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


def _check_existing(request: PredictionRequest) -> None:
    """Refuse to replace results of an earlier run, unless that is asked for, or they are resumed."""
    outputs, arguments = request.outputs, request.arguments
    if arguments.merge and outputs.per_input:
        return  # nothing is written
    tables = (result_table.rows_file(path, faceless_of(outputs.dialect)) for path in outputs.tables(request.sources))
    begun = [path for path in (*outputs.tables(request.sources), *tables) if os.path.exists(path)]
    if arguments.overwrite or (arguments.resume and begun):
        return
    # A device or a pipe is written to, and not replaced.
    named = outputs.existing(request.sources)
    if arguments.merge:  # PNGs are those of the shards
        folders = outputs.image_folders(request.sources).present
        named = [path for path in named if path not in {name for folder in folders for name in folder.existing()}]
    existing = [path for path in named if os.path.isfile(path) or os.path.isdir(path)]
    if existing:
        more = f" (and {len(existing) - 1} more results)" if existing[1:] else ""
        resuming = ", or --resume to finish a run that was stopped" if begun else ""
        raise RequestError(f"{existing[0]} exists{more}; give another name, --overwrite to replace it{resuming}")


def _check_data(request: PredictionRequest) -> None:
    """Refuse inputs of which none exists, cameras that cannot be read, and files of thresholds that are none."""
    missing = [source for source in request.whole if source.kind == "missing"]
    if len(missing) == len(request.whole):
        more = f" (and {len(missing) - 1} more inputs that cannot be read)" if missing[1:] else ""
        raise RequestError(f"nothing to read: {missing[0].name}: {missing[0].problem}{more}")
    try:
        if isinstance(request.options.thresholds, str):
            thresholds.read(request.options.thresholds)
        if request.arguments.webcam is not None:
            _check_camera(request)
    except (video.VideoError, thresholds.ThresholdsError) as error:
        raise RequestError(str(error)) from error


def _check_camera(request: PredictionRequest) -> None:
    """Refuse a camera that gives no frame.

    Raises:
      VideoError: It gives none.
    """
    name = camera.name(request.arguments.webcam)
    with contextlib.closing(camera.frames(request.arguments.webcam)) as frames:
        try:
            first = next(frames, None)
        except video.VideoError as error:  # of a file, it does not name it
            raise video.VideoError(str(error) if name in str(error) else f"--webcam {name}: {error}") from error
    if first is None:
        raise video.VideoError(f"camera {name} gives no frame")


def _report_recognition(request: PredictionRequest) -> None:
    """Report, where faces of videos are tracked, that they are not recognised; refuse to identify people then.

    Raises:
      RequestError: People are to be identified, and the recognition network is missing.
    """
    if request.options.aligned or not recognition.is_missing(request.options.predictor):
        return
    if request.options.identities:
        raise RequestError(f"--identities needs the recognition network: {recognition.MISSING}")
    if any(source.kind in VIDEO_KINDS for source in request.sources):
        status("predict", recognition.MISSING)


def _check_libraries(request: PredictionRequest) -> None:
    """Refuse what needs a library or a data file that is not installed."""
    archive = request.outputs.archive
    if archive and heatmap_files.is_zarr(archive) and importlib.util.find_spec("zarr") is None:
        raise RequestError("Zarr is not installed: pip install 'fgnet_jax[zarr]', or write .npz")
    if importlib.util.find_spec("av") is None and any(source.kind == "video" for source in request.sources):
        raise RequestError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'")
    try:
        if request.outputs.video:
            video_writer.check()
        if not request.options.aligned:
            dlib_detector.find_predictor(request.options.predictor)
            dlib_detector.library()
            yunet.check()  # ONNX Runtime, and OpenCV, which aligns faces, too
    except (video_writer.VideoWriterError, DetectorError) as error:
        raise RequestError(str(error)) from error

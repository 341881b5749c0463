"""Detect action units in images and videos: write a table of them, heatmaps, and drawn images or video.

    python -m fgnet_jax.predict --weights weights/fgnet_disfa --csv out.csv holiday.jpg clip.mp4 folder/
    python -m fgnet_jax.predict --weights weights/fgnet_disfa --csv out.csv --video out.mp4 --overlays out/ clip.mp4
    python -m fgnet_jax.predict --weights weights/fgnet_disfa --webcam 0 --show --csv live.csv --video live.mp4

Faces are detected, tracked along a video, and aligned as in FFHQ. With --aligned the images are such faces already:
square, 256x256 for the published network; other squares are resized.

The table has one row per face, in the order of the inputs. A frame without a face, or one that cannot be read, has a
row, too (`success` 0, the reason on standard error), and the run continues. The JSON beside the table records the
weights and settings of the run.

A run that was stopped is resumed with --resume, and ends with the same file as one that was not stopped: it cuts the
table back to the beginning of its last batch, tracks the faces of that video again from its beginning, so that they
keep their numbers, and runs the network only from there on. Rows of a Parquet table, and of one in the dialect
libreface, are in NAME.rows.csv until the table is complete. With --per_input, each input has its own table and JSON,
and a run goes on within the first table that is not complete.

A camera (--webcam) is followed at its own pace: a thread reads it and keeps the newest frame alone, one finds faces,
one runs the network. What is late is dropped: `frame` counts the frames that were captured, `timestamp` is when, in
seconds since the first, and a line every second has the pace, the latency from capture to result, and the share
dropped; the JSON has those of the whole run. Ctrl-C ends a camera: table, JSON and video are complete then, and the
exit status is 130.

Several machines share the inputs: the same command on each, with --shard 1/8 to --shard 8/8, then once with --merge,
which writes the table, the JSON and the archive that one run would have written. Shards have files of their own beside
these (out.shard-2-of-8.csv), each with --resume; one that is missing, has not finished, or was predicted with other
weights, settings or inputs is named, and nothing is written. They may be removed afterwards.

Exit status: 0 if any face succeeded, or a shard is complete; 1 if none did or a result could not be written; 2 for a
wrong command line, missing weights, or outputs that cannot be written (nothing has been touched then); 130 if
interrupted by Ctrl-C and 143 by SIGTERM, after the current batch; a second Ctrl-C interrupts at once.

With --compile_for, nothing is predicted: the network is compiled for devices that this machine need not have, and
what it needs of their memory is printed, and how fast it may be; status 1 if it does not fit. TPUs need the extra
`tpu`, GPUs `cuda`.

The network is compiled at the first start, which takes minutes, and kept for the next ones: see --no_cache.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

from fgnet_jax.faces.detection import DETECTORS, MIN_CONFIDENCE
from fgnet_jax.predict.columns import DIALECTS
from fgnet_jax.runtime import command_line, compilation_cache, devices, shards, topologies
from fgnet_jax.runtime.command_line import Parser, positive, program


@command_line.command("fgnet_jax.predict")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.compile_for is not None:
        return _compile_for(arguments)
    from fgnet_jax.predict import request, run

    try:
        checked = request.checked(arguments)
        devices.check()
        compilation_cache.enable("predict", is_enabled=not arguments.no_cache)
        return run.run(checked)
    except request.RequestError as error:
        return command_line.fail("fgnet_jax.predict", error, 2)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        return command_line.fail("fgnet_jax.predict", f"cannot write the results: {error}", 1)
    except KeyboardInterrupt:
        command_line.status("predict", "interrupted; what was finished is written")
        return command_line.INTERRUPTED


def _compile_for(arguments: argparse.Namespace) -> int:
    """Compile the network for absent devices, and return the exit status: 1 where it does not fit."""
    topologies.set_environment()
    try:
        target = topologies.open_target(arguments.compile_for)
    except topologies.TargetError as error:
        return command_line.fail("fgnet_jax.predict", error, 2)
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict import compile_for

    # The cache cannot read programs for absent devices, which it would write (JAX 0.10).
    compilation_cache.enable("predict", is_enabled=False)
    try:
        fits = compile_for.compile_for(
            arguments.weights,
            target,
            batch_size=arguments.batch_size,
            dtype=arguments.dtype,
            report=functools.partial(command_line.status, "predict"),
        )
    except WeightsError as error:
        return command_line.fail("fgnet_jax.predict", error, 2)
    return 0 if fits else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = Parser(__doc__ or "", program("predict"))
    _inputs(command)
    _outputs(command)
    _computing(command)
    return command


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="images, videos, folders (all in them), patterns, @FILE with one path per line, or - for standard input",
    )
    parser.add_argument("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    parser.add_argument(
        "--webcam",
        metavar="CAMERA",
        help="a camera instead: its number, from 0, its device or address (rtsp://, http://); or a video file that is"
        " played at its own pace, or lavfi:GRAPH, FFmpeg's test input. Late frames are dropped; Ctrl-C ends it",
    )
    parser.add_argument("--aligned", action="store_true", help="the images are aligned faces: skip face detection")
    parser.add_argument("--largest", action="store_true", help="only the largest face of each frame")
    parser.add_argument(
        "--identities", action="store_true", help="one face_id per person in all inputs, across cuts, videos and images"
    )
    parser.add_argument(
        "--every",
        type=positive,
        default=1,
        metavar="N",
        help="only every N-th frame of videos; faces are tracked in all, so that its results are those of a full run",
    )
    parser.add_argument(
        "--detect_every",
        type=positive,
        metavar="N",
        help="detect faces every N frames of a video, and track them in between",
    )
    parser.add_argument(
        "--detector", choices=DETECTORS, default=DETECTORS[0], help="the face detector; default %(default)s"
    )
    parser.add_argument(
        "--min_confidence",
        type=_probability,
        metavar="P",
        help="leave out faces that are less probably faces than this, from 0 to 1; default "
        + ", ".join(f"{value} with {name}" for name, value in MIN_CONFIDENCE.items()),
    )
    parser.add_argument("--predictor", metavar="FILE", help="dlib's shape_predictor_68_face_landmarks.dat")


def _outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--csv", default="-", metavar="FILE", help="the table: CSV, or Parquet for .parquet; default standard output"
    )
    parser.add_argument(
        "--per_input", metavar="DIR", help="instead of --csv, a folder for one table per input, named as the input is"
    )
    parser.add_argument(
        "--per_input_format", choices=("csv", "parquet"), help="format of the tables of --per_input; default csv"
    )
    parser.add_argument("--dialect", choices=DIALECTS, help="columns of another tool: its names and conventions")
    parser.add_argument("--peaks", action="store_true", help="columns AU01_x, AU01_y: the peak of each heatmap")
    parser.add_argument(
        "--thresholds", metavar="FILE", help="file of scores above which an AU is present, from evaluation; default 0"
    )
    parser.add_argument("--smooth", action="store_true", help="smooth scores along each face of a video")
    parser.add_argument(
        "--smooth_window", type=_seconds, metavar="S", help="seconds of the window (default 0.5); implies --smooth"
    )
    parser.add_argument("--heatmaps", metavar="FILE", help="an archive of heatmaps and scores, .npz or .zarr")
    parser.add_argument(
        "--heatmaps_on",
        type=lambda text: "image" if text == "picture" else text,  # its former name
        choices=("face", "image"),
        default="face",
        help="heatmaps over the aligned face, or in pixels of the whole image",
    )
    parser.add_argument("--overlays", metavar="DIR", help="a folder for PNGs with boxes, heatmaps and scores drawn on")
    parser.add_argument("--aligned_faces", metavar="DIR", help="a folder for PNGs of the aligned faces")
    parser.add_argument("--video", metavar="FILE", help="the same as a video, .mp4, with the sound of the input")
    parser.add_argument(
        "--show",
        type=_port,
        nargs="?",
        const=0,
        metavar="PORT",
        help="show the camera with its AUs in the browser, at the address that is printed; default any free port",
    )
    parser.add_argument("--resume", action="store_true", help="resume the table of a stopped run")
    parser.add_argument(
        "--shard",
        type=shards.parse,
        metavar="I/N",
        help="predict the I-th of N parts of the inputs, from 1: for N machines, such as a Slurm array of 1-N",
    )
    parser.add_argument("--merge", action="store_true", help="join the results of all shards into those of one run")
    parser.add_argument("--overwrite", action="store_true", help="replace results that exist")
    parser.add_argument("--quiet", action="store_true", help="report problems alone: no progress, and no summary")


def _computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compile_for",
        metavar="TARGET",
        help="only compile, for these devices, and say whether a batch fits: " + topologies.EXPECTED,
    )
    parser.add_argument("--batch_size", type=positive, metavar="N", help="faces per batch; default by the devices")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON"
    )
    compilation_cache.add_flag(parser)
    parser.add_argument("--benchmark", action="store_true", help="print the time of each stage at the end")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a port, from 0 (any that is free) to 65535, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 60:
        raise argparse.ArgumentTypeError(f"must be seconds, above 0 and below 60, got {text!r}")
    return value


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a probability, from 0 to 1, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())

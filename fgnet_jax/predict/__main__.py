"""Action units in images and videos: a table of them, heatmaps, and drawn images or video.

    python -m fgnet_jax.predict --weights weights/fgnet_disfa --csv out.csv holiday.jpg clip.mp4 folder/
    python -m fgnet_jax.predict --weights weights/fgnet_disfa --csv out.csv --video out.mp4 --overlays out/ clip.mp4
    python -m fgnet_jax.predict --weights weights/fgnet_disfa --webcam 0

Faces are found, followed along a video, and aligned by FFHQ's recipe. With --aligned the images are such faces
already: square, 256x256 for the published network; other squares are resized.

The table has a row a face, in the order of the inputs; a frame without a face, or that cannot be read, keeps its row
(`success` 0, the reason on standard error) and costs no more. The JSON beside it says what the numbers come from.

A run that was stopped, however, goes on with --resume, and ends with the file of one that was not: it cuts the table
back to the beginning of its last batch, looks at the video that it was in once more from its beginning to know which
face is which, and asks the network only from there on. Rows in Parquet lie in NAME.rows.csv until all are there.

Exit status: 0 if any face succeeded, 1 if none did or a result could not be written, 2 for a wrong command line,
weights that are not there or outputs that cannot be written (nothing has been touched then), 130 if interrupted: after
the current batch, the second time at once.

Set JAX_COMPILATION_CACHE_DIR to a folder of yours to compile the network only once for all runs.
"""

import argparse
import sys
from collections.abc import Sequence

from fgnet_jax.predict.columns import DIALECTS
from fgnet_jax.runtime.command_line import status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    from fgnet_jax.predict import request, run

    try:
        return run.run(request.checked(arguments))
    except request.RequestError as refused:
        status("predict", f"error: {refused}")
        return 2
    except OSError as error:
        status("predict", f"error: cannot write the results: {error}")
        return 1
    except KeyboardInterrupt:
        status("predict", "interrupted; what was finished is written")
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    description, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m fgnet_jax.predict",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _inputs(made)
    _outputs(made)
    _computing(made)
    return made


def _inputs(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="images, videos, folders (all in them), patterns, @FILE with one path a line, or - for standard input",
    )
    made.add_argument("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    made.add_argument("--webcam", type=_number, metavar="N", help="a camera instead, from 0; Ctrl-C ends it")
    made.add_argument("--aligned", action="store_true", help="the images are aligned faces: nothing is looked for")
    made.add_argument("--largest", action="store_true", help="only the largest face of each frame")
    made.add_argument("--every", type=_positive, default=1, metavar="N", help="of videos, every N-th frame")
    made.add_argument(
        "--detect_every",
        type=_positive,
        metavar="N",
        help="look for faces every N frames of a video; follow in between",
    )
    made.add_argument("--predictor", metavar="FILE", help="dlib's shape_predictor_68_face_landmarks.dat")


def _outputs(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--csv", default="-", metavar="FILE", help="the table, Parquet if it ends so; standard output if not given"
    )
    made.add_argument("--dialect", choices=DIALECTS, help="column names and conventions of another tool")
    made.add_argument("--peaks", action="store_true", help="columns AU01_x, AU01_y: where each heatmap is highest")
    made.add_argument("--thresholds", metavar="FILE", help="above which an AU is present, from evaluation; 0 otherwise")
    made.add_argument("--smooth", action="store_true", help="smooth scores along each face of a video")
    made.add_argument(
        "--smooth_window", type=_seconds, metavar="S", help="seconds of the window (default 0.5); implies --smooth"
    )
    made.add_argument("--heatmaps", metavar="FILE", help="an archive of heatmaps and scores, .npz or .zarr")
    made.add_argument(
        "--heatmaps_on",
        type=lambda text: "image" if text == "picture" else text,  # as it was called before
        choices=("face", "image"),
        default="face",
        help="whether they lie over the aligned face, or in pixels of the whole image",
    )
    made.add_argument("--overlays", metavar="DIR", help="a folder for PNGs with boxes, heatmaps and scores drawn in")
    made.add_argument("--video", metavar="FILE", help="the same as a video, .mp4, with its sound")
    made.add_argument("--resume", action="store_true", help="go on with a table that a stopped run left")


def _computing(made: argparse.ArgumentParser) -> None:
    made.add_argument("--batch_size", type=_positive, metavar="N", help="faces a batch; by the devices if not given")
    made.add_argument("--dtype", choices=("float32", "bfloat16"), help="what to compute in; as in the weights' JSON")
    made.add_argument("--benchmark", action="store_true", help="say in the end what each stage took")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a camera's number, from 0, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 60:
        raise argparse.ArgumentTypeError(f"must be seconds, above 0 and below 60, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())

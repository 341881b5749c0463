"""Prepare corpora from their owners' folders: aligned faces with labels, as TFDS datasets for training and evaluation.

    python -m fgnet_jax.prepare disfa --source DISFA --data_dir data
    python -m fgnet_jax.prepare bp4d --source BP4D --data_dir data
    python -m fgnet_jax.prepare fgnet --source FOLDER_WITH_BP4D_AND_DISFA --data_dir data
    python -m fgnet_jax.prepare csv --source table.csv --name my_corpus --data_dir data --folds 5

A file that cannot be used is left out and reported; a folder of another layout stops the command before any work. If
the command is stopped, the same command resumes and writes the same bytes. At the end there is a report: in the
terminal, and as report.txt, report.json and report.png in the folder that it names.

Several machines share the work: each prepares the sequences of a part, --shard 1/8 to --shard 8/8, into the same
DATA_DIR or into one of its own; then --merge in place of --shard writes the dataset, with the bytes of a single run. A
part that was stopped is resumed by the same command, and one that is missing is named.

Exit status: 0 if the dataset is prepared, 1 if no face could be prepared or the disk is full, 2 for a wrong command
line, folder or detector, 130 if interrupted.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fgnet_jax.aus import CORPUS_AUS, PRESENT_INTENSITY
from fgnet_jax.faces.detection import DETECTORS
from fgnet_jax.prepare import sequence
from fgnet_jax.prepare.layouts import bp4d, disfa
from fgnet_jax.runtime import command_line, shards, workers
from fgnet_jax.runtime.command_line import Parser, positive, program


@command_line.command("fgnet_jax.prepare")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = _parser().parse_args(argv)
    from fgnet_jax.prepare import run  # after the help and usage errors, which need not wait for TFDS

    former = signal.signal(signal.SIGTERM, _stop)
    try:
        return run.run(options)
    finally:
        signal.signal(signal.SIGTERM, former)


def _parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = Parser(__doc__ or "", program("prepare"))
    layout = parser.add_subparsers(dest="layout", required=True, metavar="disfa|bp4d|fgnet|csv")
    _add_disfa(layout.add_parser("disfa", help="DISFA as its owners lay it out"))
    _add_bp4d(layout.add_parser("bp4d", help="BP4D as its owners lay it out"))
    _add_common(layout.add_parser("fgnet", help="BP4D or DISFA, aligned as FG-Net's code has it"))
    _add_csv(layout.add_parser("csv", help="a custom corpus: a table of images"))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options of all layouts."""
    add = parser.add_argument
    add("--source", required=True, metavar="DIR", help="folder of the corpus")
    add("--data_dir", required=True, metavar="DIR", help="folder of all datasets")
    add(
        "--landmarks",
        type=Path,
        metavar="DIR",
        help="landmarks on disk, .npy of (68, 2), whose paths mirror the source's",
    )
    add(
        "--detector",
        choices=DETECTORS,
        default=sequence.PUBLISHED_DETECTOR,
        help="the face detector; default %(default)s, as in the published preparation",
    )
    add(
        "--search",
        choices=sequence.SEARCHES,
        default=sequence.SEARCHES[0],
        help="how images are searched: for all faces, of which the largest is taken, as published; or no further than "
        "to the largest, in a third of the time. Default %(default)s",
    )
    add("--predictor", type=Path, metavar="FILE", help="dlib's shape_predictor_68_face_landmarks.dat")
    add(
        "--aligned_landmarks",
        choices=(sequence.AGAIN, sequence.CARRIED),
        help="landmarks of aligned faces: detected again on them, as published, or carried over from the image",
    )
    add("--workers", type=positive, default=workers.cores(), metavar="N", help="processes; as many as cores")
    add("--report", type=Path, metavar="DIR", help="folder of the report; DATA_DIR/reports/CORPUS")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--shard",
        type=shards.parse,
        metavar="I/N",
        help="prepare the I-th of N parts of the sequences, from 1: for N machines, such as a Slurm array of 1-N",
    )
    parts.add_argument(
        "--merge",
        type=Path,
        nargs="*",
        metavar="DIR",
        help="write the dataset of all shards; folders of datasets of other machines, where they share no disk",
    )


def _add_partition(parser: argparse.ArgumentParser) -> None:
    """Add the option of custom folds."""
    parser.add_argument(
        "--partition",
        type=Path,
        metavar="FILE",
        help="JSON with a list of subjects per fold, instead of the usual folds",
    )


def _add_name(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the option that names a second corpus of a layout."""
    parser.add_argument(
        "--name", default=name, help=f"name of a second corpus of this layout, with a --partition of its own; {name}"
    )


def _add_disfa(parser: argparse.ArgumentParser) -> None:
    """Add DISFA's options."""
    _add_common(parser)
    _add_partition(parser)
    _add_name(parser, "disfa")
    parser.add_argument(
        "--aus", type=_aus(disfa.CODED), default=CORPUS_AUS["disfa"], metavar="1,2,…", help="AUs to prepare"
    )
    parser.add_argument(
        "--threshold", type=float, default=PRESENT_INTENSITY, help="intensity from which on an AU is present; 2"
    )
    parser.add_argument("--camera", choices=("left", "right"), default="left", help="which camera's videos; left")


def _add_bp4d(parser: argparse.ArgumentParser) -> None:
    """Add BP4D's options."""
    _add_common(parser)
    _add_partition(parser)
    _add_name(parser, "bp4d")
    parser.add_argument("--aus", type=_aus(None), default=CORPUS_AUS["bp4d"], metavar="1,2,…", help="AUs to prepare")
    parser.add_argument(
        "--unknown",
        choices=bp4d.UNKNOWN,
        default="mask",
        help="code 9: mask it (the default: neither trained nor tested on), take it as absent (negative: as the "
        "published label files do, which have 0 or 1 for nearly every coded frame), or drop the frame",
    )


def _add_csv(parser: argparse.ArgumentParser) -> None:
    """Add the options of custom corpora."""
    _add_common(parser)
    _add_partition(parser)
    parser.add_argument("--name", required=True, help="name of the corpus")
    parser.add_argument(
        "--folds",
        type=_folds,
        metavar="N|subjects",
        help="number of folds, or one for each subject; 3, or those of the column fold",
    )
    parser.add_argument("--threshold", type=float, help="AU columns are intensities; an AU is present from this one on")


def _aus(known: tuple[int, ...] | None) -> Callable[[str], tuple[int, ...]]:
    """Return a function that converts an argument to AU numbers, of `known` ones unless that is None."""

    def parse(text: str) -> tuple[int, ...]:
        aus = tuple(int(part) for part in text.split(",") if part.strip().isdecimal())
        bad = len(aus) != text.count(",") + 1 or len(set(aus)) != len(aus)
        if bad or (known and not set(aus) <= set(known)):
            among = f" among {', '.join(map(str, known))}" if known else ""
            raise argparse.ArgumentTypeError(f"expected AU numbers{among}, such as 1,2,4; got {text!r}")
        return aus

    return parse


def _folds(text: str) -> int | str:
    """Convert an argument to a number of folds, or to the word for one fold per subject."""
    if text == "subjects":
        return text
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected 2 or more, or subjects, got {text!r}")
    return int(text)


def _stop(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt on a signal."""
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())

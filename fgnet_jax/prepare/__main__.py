"""Corpora from their owners' folders to aligned faces with labels, as TFDS datasets that training and evaluation open.

    python -m fgnet_jax.prepare disfa --source DISFA --data_dir data
    python -m fgnet_jax.prepare bp4d --source BP4D --data_dir data
    python -m fgnet_jax.prepare fgnet --source FOLDER_WITH_BP4D_AND_DISFA --data_dir data
    python -m fgnet_jax.prepare csv --source table.csv --name my_corpus --data_dir data

A file that cannot be used costs itself and is reported; a folder of another layout stops the command before any work.
Stopped half-way, the same command goes on and ends with the same bytes. At the end there is a report: in the terminal,
and as report.txt, report.json and report.png in the folder that it names.

Exit status: 0 if the dataset is there, 1 if no face came out or the disk is full, 2 for a wrong command line, folder or
detector, 130 if interrupted.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from fgnet_jax.aus import CORPUS_AUS, PRESENT_INTENSITY
from fgnet_jax.data import schema
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.dlib_detector import LICENCE
from fgnet_jax.prepare import builders, pool, report, report_figure, sequence, settings
from fgnet_jax.prepare.layouts import bp4d, csv_table, disfa, fgnet, records
from fgnet_jax.prepare.layouts.records import CorpusRecords, LayoutError
from fgnet_jax.runtime.files import NotWritableError, check_writable, write_text
from fgnet_jax.runtime.workers import WorkerEnded

Options = argparse.Namespace


class NoFaceError(Exception):
    """A preparation that ended with nothing."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        for found, known in _read(options):
            prepare(found, known, options)
        return 0
    except (LayoutError, DetectorError, NotWritableError) as error:
        _say(f"error: {error}")
        return 2
    except NoFaceError as error:
        _say(f"error: {error}")
        return 1
    except WorkerEnded:
        _say(
            "error: a worker was killed, for want of memory perhaps (--workers 1 takes least); the same command goes on"
        )
        return 1
    except OSError as error:
        _say(f"error: {error}; what is done stays, and the same command goes on")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; what is done stays, and the same command goes on")
        return 130


def prepare(found: CorpusRecords, known: dict[str, Any], options: Options) -> None:
    """Prepares one corpus, or finds that it is there; writes the report.

    Raises:
      LayoutError: for a source without anything to prepare, or a dataset that is there of another source.
    """
    settings.check(found)
    builders.builder_class(found.corpus)
    data_dir = Path(options.data_dir)
    is_aligned = options.layout == "fgnet"
    landmarks = options.landmarks or (fgnet.landmarks_beside(found) if is_aligned else None)
    how = settings.settings(found, landmarks, options.predictor, options.aligned_landmarks, is_aligned)
    if how.predictor:
        _say(f"Faces are found by dlib. Note: {LICENCE}.")
    preparation = settings.preparation(found, how, known)
    there = builders.prepared_as(found.corpus, data_dir)
    if there is not None:
        return _already_there(found.corpus, data_dir, there, preparation)
    check_writable(data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # a log would have thousands of its lines
    folder = data_dir / found.corpus
    with schema.only_writer(folder):
        todo = builders.DatasetPlan(found, folder / f".work-{preparation['source'][:12]}", preparation)
        pace = report.ProcessingSpeed(
            *pool.process_all(found.sequences, how, todo.work, options.workers), options.workers
        )
        values, samples = report.collect(todo, preparation, pace)
        _write_report(options.report or data_dir / "reports" / found.corpus, values, samples)
        if not values["faces"]:
            raise NoFaceError(f"no face of {found.corpus} could be prepared; see the report")
        builders.write(todo, data_dir)
        shutil.rmtree(todo.work)


def _already_there(name: str, data_dir: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Leaves what was prepared from the same source in the same way; refuses anything else."""
    if there == wanted:
        _say(f"{data_dir / name} is prepared already, from this source and with these options")
        return
    differ = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
    lines = [f"{key}: {there.get(key)!r} there, {wanted.get(key)!r} here" for key in differ]
    text = "\n  ".join(lines)
    raise LayoutError(
        f"{data_dir / name} was prepared from another source or with other options; remove it, or choose another "
        f"--data_dir\n  {text}"
    )


def _write_report(folder: Path, values: dict[str, Any], samples: list[report.Sample]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = report.text(values)
    print(text)
    write_text(folder / "report.txt", text)
    write_text(folder / "report.json", json.dumps(values, indent=1) + "\n")
    (folder / "report.png").write_bytes(report_figure.draw(values, samples))
    print(f"report: {folder}")


def _read(options: Options) -> list[tuple[CorpusRecords, dict[str, Any]]]:
    """What was found in the source, with the options that decide what is made of it."""
    source = Path(options.source)
    if options.layout == "fgnet":
        folders = fgnet.corpora_in(source)
        return [(fgnet.read(folder, name), {"layout": "fgnet"}) for name, folder in sorted(folders.items())]
    partition = records.read_partition(options.partition) if options.partition else None
    known: dict[str, Any] = {"layout": options.layout, "partition": "own" if partition else "standard"}
    if options.layout == "disfa":
        known |= {"threshold": options.threshold, "camera": options.camera}
        return [(disfa.read(source, partition, options.aus, options.threshold, options.camera), known)]
    if options.layout == "bp4d":
        return [(bp4d.read(source, partition, options.aus, options.unknown), known | {"unknown": options.unknown})]
    known |= {"threshold": options.threshold}
    return [(csv_table.read(_table(source), options.name, partition, options.threshold), known)]


def _table(source: Path) -> Path:
    """The table named, or the only one in the folder named."""
    if not source.is_dir():
        return source
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise LayoutError(f"{source} must hold one table, *.csv, or --source name it; found: {names}")
    return tables[0]


def _parser() -> argparse.ArgumentParser:
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m fgnet_jax.prepare",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    layout = parser.add_subparsers(dest="layout", required=True, metavar="disfa|bp4d|fgnet|csv")
    _add_disfa(layout.add_parser("disfa", help="DISFA as its owners lay it out", allow_abbrev=False))
    _add_bp4d(layout.add_parser("bp4d", help="BP4D as its owners lay it out", allow_abbrev=False))
    _add_common(layout.add_parser("fgnet", help="BP4D or DISFA, aligned as FG-Net's code has it", allow_abbrev=False))
    _add_csv(layout.add_parser("csv", help="a corpus of your own, a table of images", allow_abbrev=False))
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--source", required=True, metavar="DIR", help="where the corpus is")
    add("--data_dir", required=True, metavar="DIR", help="folder of all datasets")
    add(
        "--landmarks", type=Path, metavar="DIR", help="landmarks on disk, mirroring the source's paths; .npy of (68, 2)"
    )
    add("--predictor", type=Path, metavar="FILE", help="dlib's shape_predictor_68_face_landmarks.dat")
    add(
        "--aligned_landmarks",
        choices=(sequence.AGAIN, sequence.CARRIED),
        help="detected again on the aligned face, as published, or carried over from the image",
    )
    add("--workers", type=_positive, default=os.cpu_count() or 1, metavar="N", help="processes; as many as cores")
    add("--report", type=Path, metavar="DIR", help="where the report goes; DATA_DIR/reports/CORPUS")


def _add_partition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--partition", type=Path, metavar="FILE", help="JSON of three lists of subjects, in place of the standard folds"
    )


def _add_disfa(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_partition(parser)
    parser.add_argument(
        "--aus", type=_aus(disfa.CODED), default=CORPUS_AUS["disfa"], metavar="1,2,…", help="AUs to keep"
    )
    parser.add_argument(
        "--threshold", type=float, default=PRESENT_INTENSITY, help="intensity from which on an AU is present; 2"
    )
    parser.add_argument("--camera", choices=("left", "right"), default="left", help="whose videos; left")


def _add_bp4d(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_partition(parser)
    parser.add_argument("--aus", type=_aus(None), default=CORPUS_AUS["bp4d"], metavar="1,2,…", help="AUs to keep")
    parser.add_argument(
        "--unknown",
        choices=bp4d.UNKNOWN,
        default="mask",
        help="code 9: mask it (the default: neither trained nor tested on), take it as absent (negative: published, as "
        "far as label files of 0 and 1 for nearly every coded frame tell), or drop the frame",
    )


def _add_csv(parser: argparse.ArgumentParser) -> None:
    _add_common(parser)
    _add_partition(parser)
    parser.add_argument("--name", required=True, help="what the corpus is to be called")
    parser.add_argument("--threshold", type=float, help="AU columns are intensities, present from here on")


def _aus(known: tuple[int, ...] | None):
    def parse(text: str) -> tuple[int, ...]:
        aus = tuple(int(part) for part in text.split(",") if part.strip().isdecimal())
        bad = len(aus) != text.count(",") + 1 or len(set(aus)) != len(aus)
        if bad or (known and not set(aus) <= set(known)):
            among = f" among {', '.join(map(str, known))}" if known else ""
            raise argparse.ArgumentTypeError(f"expected AU numbers{among}, such as 1,2,4; got {text!r}")
        return aus

    return parse


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def _stop(number: int, frame: object) -> None:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    raise SystemExit(main())

"""How well a trained network tells action units: figures with intervals, in the paper's layout.

    python -m fgnet_jax.evaluate --weights runs/bp4d_f0/best --corpus bp4d --split fold_0 --data_dir data
    python -m fgnet_jax.evaluate protocol within --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol cross --source bp4d --target disfa --runs 'runs/bp4d_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol efficiency --corpus disfa --runs 'runs/disfa_f*' --data_dir data
    python -m fgnet_jax.evaluate protocol all --config configs/synthetic.py --output results

`within` tests each of three runs on the fold that it left out; `cross` tests fold 0 on fold 0 of the other corpus,
as published, and all three on the whole of it; `efficiency` draws F1 over the number of training samples; `all` trains
what these need on the synthetic corpora and does all of it, and goes on where it was stopped.

Exit status: 0, or 2 for what cannot be evaluated, such as people whom the network has seen in training.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from fgnet_jax.evaluate import all_protocols, frame_predictions, leakage, report, report_folder, runs
from fgnet_jax.evaluate import protocols as protocols_lib
from fgnet_jax.evaluate.protocols import EvalOptions
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds
from fgnet_jax.models import weights
from fgnet_jax.runtime import files, logs
from fgnet_jax.train.config import ConfigError

REFUSALS = (
    runs.EvaluationError,
    leakage.LeakageError,
    weights.WeightsError,
    thresholds.ThresholdsError,
    frame_predictions.FramePredictionsError,
    files.NotWritableError,
    ConfigError,
    FileNotFoundError,
)
"""What is said in one line, without a traceback."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parser().parse_args(argv)
    logs.setup_logging()
    try:
        arguments.run(arguments)
    except REFUSALS as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line's parser: options of one evaluation, and a subcommand for protocols."""
    description, _, details = (__doc__ or "").partition("\n\n")
    options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = argparse.ArgumentParser("python -m fgnet_jax.evaluate", description=description, **options)
    top.add_argument("--weights", metavar="DIR", help="weights, or the workdir of a run")
    top.add_argument("--corpus", metavar="NAME", help="a prepared corpus: disfa, bp4d, synthetic_disfa, …")
    top.add_argument("--split", default="fold_0", metavar="NAME", help="fold_0, or several: fold_0+fold_1")
    _common(top)
    top.set_defaults(run=_single)
    protocols = top.add_subparsers(title="protocols", metavar="protocol within|cross|efficiency|all")
    kinds = protocols.add_parser("protocol", **options).add_subparsers(required=True)
    parts = [_protocol(kinds, name, fn, options) for name, fn in _PROTOCOLS.items()]
    parts.append(_all(kinds, options))
    top.epilog = details + "\n" + "".join(part.format_usage() for part in parts)
    return top


def _protocol(kinds, name: str, run, options: dict) -> argparse.ArgumentParser:
    part = kinds.add_parser(name, **options)
    for word in ("source", "target") if name == "cross" else ("corpus",):
        part.add_argument(f"--{word}", required=True, metavar="NAME", help="a prepared corpus")
    part.add_argument("--runs", required=True, metavar="PATTERN", help="workdirs of the runs, such as 'runs/disfa_f*'")
    _common(part)
    part.set_defaults(run=run)
    return part


def _all(kinds, options: dict) -> argparse.ArgumentParser:
    part = kinds.add_parser("all", **options)
    part.add_argument("--config", default="configs/synthetic.py", metavar="FILE", help="what is trained, and how long")
    part.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of runs and reports")
    part.add_argument("--data_dir", type=Path, metavar="DIR", help="folder of the corpora; OUTPUT/data if not given")
    part.add_argument("--resamples", type=_count, default=1000, metavar="N", help="draws of subjects")
    part.set_defaults(run=_run_all)
    return part


def _common(part: argparse.ArgumentParser) -> None:
    part.add_argument("--data_dir", type=Path, default=Path("data"), metavar="DIR", help="folder of prepared corpora")
    part.add_argument("--output", type=Path, metavar="DIR", help="folder for the report, images and predictions")
    part.add_argument("--thresholds", type=Path, metavar="FILE", help="JSON of thresholds by AU; 0 if not given")
    part.add_argument(
        "--fit_thresholds", action="store_true", help="fit thresholds to each run's held-out training subjects"
    )
    part.add_argument("--trained_fold", type=int, metavar="N", help="the fold left out, for converted weights")
    part.add_argument("--resamples", type=_count, default=1000, metavar="N", help="draws of subjects for intervals")
    part.add_argument("--seed", type=_count, default=0, metavar="N", help="of the draws")
    part.add_argument("--batch_size", type=_count, default=16, metavar="N", help="frames of a batch")
    part.add_argument("--threads", type=_count, default=4, metavar="N", help="threads that decode images")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
    return int(text)


def _setup(arguments: argparse.Namespace) -> tuple[EvalData, EvalOptions]:
    if arguments.fit_thresholds and arguments.thresholds:
        raise runs.EvaluationError("--thresholds and --fit_thresholds: one or the other")
    if arguments.output:
        files.check_writable(arguments.output)
    kept = arguments.output / "predictions" if arguments.output else None
    setup = EvalData(arguments.data_dir, kept, max(1, arguments.batch_size), max(1, arguments.threads))
    return setup, EvalOptions(arguments.resamples, arguments.seed, arguments.fit_thresholds, arguments.thresholds)


def _single(arguments: argparse.Namespace) -> None:
    if not arguments.weights or not arguments.corpus:
        raise runs.EvaluationError("expected --weights and --corpus, or `protocol …`; see --help")
    setup, how = _setup(arguments)
    run = runs.open_run(arguments.weights, arguments.trained_fold)
    made, tested = protocols_lib.single(setup, how, run, arguments.corpus, arguments.split)
    _leave(arguments.output, setup, made, tested)


def _within(arguments: argparse.Namespace) -> None:
    setup, how = _setup(arguments)
    runs = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    _leave(arguments.output, setup, *protocols_lib.within(setup, how, runs, arguments.corpus))


def _cross(arguments: argparse.Namespace) -> None:
    setup, how = _setup(arguments)
    runs = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    _leave(arguments.output, setup, *protocols_lib.cross(setup, how, runs, arguments.source, arguments.target))


def _efficiency(arguments: argparse.Namespace) -> None:
    setup, how = _setup(arguments)
    runs = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    made, tested, curves = protocols_lib.efficiency(setup, how, runs, arguments.corpus)
    if arguments.output:
        made = report_folder.draw_curve(made, curves, arguments.output)
    _leave(arguments.output, setup, made, tested)


def _leave(folder: Path | None, setup: EvalData, made: report.Report, tested: list[protocols_lib.TestedRun]) -> None:
    """Prints a report, and writes it with its images where a folder is named."""
    print("\n" + report.as_text(made) + "\n", flush=True)
    if folder:
        report_folder.write(made, setup, tested, folder)
        print(f"{folder}: report.md, report.json, table.csv, figures.csv, predictions/, images", flush=True)


def _run_all(arguments: argparse.Namespace) -> None:
    files.check_writable(arguments.output)
    how = dataclasses.replace(EvalOptions(), resamples=arguments.resamples)
    print(all_protocols.run(arguments.config, arguments.output, arguments.data_dir or arguments.output / "data", how))


_PROTOCOLS = {"within": _within, "cross": _cross, "efficiency": _efficiency}

if __name__ == "__main__":
    sys.exit(main())

"""What the evaluation command does once its arguments are parsed: one run, a protocol, or all of them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from fgnet_jax.evaluate import all_protocols, frame_predictions, leakage, report_folder, runs
from fgnet_jax.evaluate import protocols as protocols_lib
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.protocols import EvalOptions
from fgnet_jax.evaluate.report import Report
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds
from fgnet_jax.models import weights
from fgnet_jax.runtime import files
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
"""Errors that are reported in one line, without a traceback."""


def _data_and_options(arguments: argparse.Namespace) -> tuple[EvalData, EvalOptions]:
    if arguments.fit_thresholds and arguments.thresholds:
        raise runs.EvaluationError("--thresholds and --fit_thresholds: one or the other")
    if arguments.output:
        files.check_writable(arguments.output)
    data = EvalData(
        data_dir=arguments.data_dir,
        predictions=arguments.output / "predictions" if arguments.output else None,
        batch_size=max(1, arguments.batch_size),
        threads=max(1, arguments.threads),
    )
    options = EvalOptions(
        resamples=arguments.resamples,
        seed=arguments.seed,
        fit_thresholds=arguments.fit_thresholds,
        thresholds_file=arguments.thresholds,
    )
    return data, options


def single(arguments: argparse.Namespace) -> None:
    """Evaluate one run, or converted weights, on a corpus."""
    if not arguments.weights or not arguments.corpus:
        raise runs.EvaluationError("expected --weights and --corpus, or `protocol …`; see --help")
    data, options = _data_and_options(arguments)
    run = runs.open_run(arguments.weights, arguments.trained_fold)
    report, tested = protocols_lib.single(data, options, run=run, corpus=arguments.corpus, split=arguments.split)
    _print_and_write(report, data, tested=tested, folder=arguments.output)


def within(arguments: argparse.Namespace) -> None:
    """Evaluate each run on the fold that was left out of its training."""
    data, options = _data_and_options(arguments)
    trained = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    report, tested = protocols_lib.within(data, options, runs=trained, corpus=arguments.corpus)
    _print_and_write(report, data, tested=tested, folder=arguments.output)


def cross(arguments: argparse.Namespace) -> None:
    """Evaluate runs trained on one corpus on another."""
    data, options = _data_and_options(arguments)
    trained = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    report, tested = protocols_lib.cross(data, options, runs=trained, source=arguments.source, target=arguments.target)
    _print_and_write(report, data, tested=tested, folder=arguments.output)


def efficiency(arguments: argparse.Namespace) -> None:
    """Evaluate runs by their number of training samples, and plot the curve."""
    data, options = _data_and_options(arguments)
    trained = protocols_lib.find_runs(arguments.runs, arguments.trained_fold)
    report, tested, curves = protocols_lib.efficiency(data, options, runs=trained, corpus=arguments.corpus)
    if arguments.output:
        report = report_folder.draw_curve(report, curves, arguments.output)
    _print_and_write(report, data, tested=tested, folder=arguments.output)


def _print_and_write(
    report: Report, data: EvalData, *, tested: Sequence[protocols_lib.TestedRun], folder: Path | None
) -> None:
    """Print a report, and write it with its images where a folder is given."""
    print("\n" + report_lib.as_text(report) + "\n", flush=True)
    if folder:
        report_folder.write(report, data=data, tested=tested, folder=folder)
        print(f"{folder}: report.md, report.json, table.csv, figures.csv, predictions/, images", flush=True)


def protocol_all(arguments: argparse.Namespace) -> None:
    """Train and evaluate every protocol on the synthetic corpora."""
    files.check_writable(arguments.output)
    summary = all_protocols.run(
        arguments.config,
        output=arguments.output,
        data_dir=arguments.data_dir or arguments.output / "data",
        options=EvalOptions(resamples=arguments.resamples),
    )
    print(summary)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "single": single,
    "within": within,
    "cross": cross,
    "efficiency": efficiency,
    "all": protocol_all,
}
"""What is done, by the name that the parser gives it."""

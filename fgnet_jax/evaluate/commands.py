"""What the evaluation command does once its arguments are parsed: one run, a protocol, or a report again."""

import argparse
from collections.abc import Callable
from pathlib import Path

from fgnet_jax.data.corpus import CorpusError
from fgnet_jax.evaluate import (
    all_protocols,
    comparison_report,
    evaluation,
    frame_predictions,
    from_predictions,
    leakage,
    report_folder,
    request,
    runs,
    study,
)
from fgnet_jax.evaluate import compare as compare_lib
from fgnet_jax.evaluate import protocols as protocols_lib
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate import reproduce as reproduce_lib
from fgnet_jax.evaluate.methods import MethodOptions
from fgnet_jax.evaluate.protocols import Evaluation
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds
from fgnet_jax.models import weights
from fgnet_jax.runtime import files
from fgnet_jax.train.config import ConfigError

REFUSALS = (
    runs.EvaluationError,
    leakage.LeakageError,
    weights.WeightsError,
    CorpusError,
    thresholds.ThresholdsError,
    frame_predictions.FramePredictionsError,
    files.NotWritableError,
    ConfigError,
    FileNotFoundError,
)
"""Errors that are reported in one line, without a traceback."""


def evaluate(arguments: argparse.Namespace) -> int:
    """Evaluate one run, or runs by a protocol; print the report, and write it where a folder is given."""
    options = _options(arguments)
    spec = _request(arguments, options)
    if arguments.output:
        files.check_writable(arguments.output)
    data = EvalData(
        data_dir=arguments.data_dir,
        predictions=arguments.output / report_folder.PREDICTIONS if arguments.output else None,
        batch_size=max(1, arguments.batch_size),
        threads=max(1, arguments.threads),
    )
    _print_and_write(evaluation.by_networks(data, spec), data, arguments.output)
    return 0


def _options(arguments: argparse.Namespace) -> EvalOptions:
    """Return how predictions are thresholded and measured; a file of thresholds that cannot be read is refused here."""
    if arguments.fit_thresholds and arguments.thresholds:
        raise runs.EvaluationError("--thresholds and --fit_thresholds: one or the other")
    if arguments.thresholds:
        thresholds.read(arguments.thresholds)
    return EvalOptions(
        resamples=arguments.resamples,
        seed=arguments.seed,
        fit_thresholds=arguments.fit_thresholds,
        thresholds_file=arguments.thresholds,
    )


def _request(arguments: argparse.Namespace, options: EvalOptions) -> Request:
    """Return what the arguments ask for, with the runs that they name."""
    if arguments.run == request.SINGLE:
        if not arguments.weights or not arguments.corpus:
            raise runs.EvaluationError("expected --weights and --corpus, or `protocol …`; see --help")
        run = runs.open_run(arguments.weights, arguments.trained_fold)
        return Request(request.SINGLE, (run,), arguments.corpus, split=arguments.split, options=options)
    trained = tuple(protocols_lib.find_runs(arguments.runs, arguments.trained_fold))
    if arguments.run == request.STUDY:
        study.check_finished(trained)
        source = trained[0].meta.corpus or ""
        return Request(request.STUDY, trained, arguments.corpus or source, source=source, options=options)
    if arguments.run == request.CROSS:
        return Request(request.CROSS, trained, arguments.target, source=arguments.source, options=options)
    return Request(arguments.run, trained, arguments.corpus, options=options)


def _print_and_write(done: Evaluation, data: EvalData | None, folder: Path | None) -> None:
    """Print a report, and write it with its images where a folder is given."""
    print("\n" + report_lib.as_text(done.report) + "\n", flush=True)
    if folder:
        report_folder.write(done, data=data, folder=folder)
        parts = "report.md, report.json, table.csv, figures.csv, images" + (", predictions/" if data else "")
        print(f"{folder}: {parts}", flush=True)


def protocol_all(arguments: argparse.Namespace) -> int:
    """Train and evaluate every protocol on the corpora of the configurations; or print the plan alone."""
    texts = arguments.config or [all_protocols.DEFAULT]
    plan = all_protocols.make_plan(texts, arguments.output, arguments.data_dir)  # before a folder is created
    all_protocols.print_plan(plan)
    if arguments.dry_run:
        return 0
    files.check_writable(arguments.output)
    print(all_protocols.run(plan, output=arguments.output, options=EvalOptions(resamples=arguments.resamples)))
    return 0


def reproduce(arguments: argparse.Namespace) -> int:
    """Evaluate a report again from what it records, and compare; 0 if every figure has the same bits, else 1."""
    folder = arguments.report
    compared = reproduce_lib.reproduce(folder, data_dir=arguments.data_dir, pattern=arguments.runs)
    for line in [*compared.environment, *compared.figures]:
        print(line, flush=True)
    if compared.figures:
        print(f"{folder}: {len(compared.figures)} figures differ", flush=True)
        return 1
    print(f"{folder}: every figure again, bit for bit", flush=True)
    return 0


def from_stored(arguments: argparse.Namespace) -> int:
    """Make the report of kept predictions, without weights and corpora."""
    stored = from_predictions.collect(arguments.paths)
    done = from_predictions.evaluate(
        stored, protocol=arguments.protocol, resamples=arguments.resamples, seed=arguments.seed
    )
    if arguments.output:
        files.check_writable(arguments.output)
    _print_and_write(done, None, arguments.output)
    print("Without sheets of mistakes: these need the images of the faces.", flush=True)
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Compare two methods; print the report, and write it where a folder is given."""
    options = compare_lib.CompareOptions(
        metrics=tuple(dict.fromkeys(arguments.metrics)),
        corpus=arguments.corpus,
        data_dir=arguments.data_dir,
        over_folds=arguments.over_folds,
        resamples=arguments.resamples,
        permutations=arguments.permutations,
        seed=arguments.seed,
    )
    inputs, thresholds_of = (_for_both(arguments, name) for name in ("inputs", "threshold"))
    parts = zip(arguments.names or ("", ""), inputs, thresholds_of, strict=True)
    read_by = [MethodOptions(name, pattern, threshold) for name, pattern, threshold in parts]
    if arguments.output:
        files.check_writable(arguments.output)
    done = compare_lib.compare((arguments.first, arguments.second), read_by, options)
    print("\n" + comparison_report.as_text(done) + "\n", flush=True)
    if arguments.output:
        comparison_report.write(done, arguments.output)
        print(f"{arguments.output}: report.md, report.json, table.csv, charts", flush=True)
    return 0


def _for_both(arguments: argparse.Namespace, name: str) -> tuple[str, str]:
    """Return an option's values for both methods, of which one or two are given."""
    given = getattr(arguments, name)
    if len(given) > 2:
        raise runs.EvaluationError(f"--{name}: expected one, or one for each of two methods, got {len(given)}")
    return (given[0], given[-1]) if given else ("", "")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    **dict.fromkeys(request.PROTOCOLS, evaluate),
    "all": protocol_all,
    "reproduce": reproduce,
    "from-predictions": from_stored,
    "compare": compare,
}
"""What is done, by the name that the parser gives it; returns the exit status."""

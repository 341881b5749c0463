"""FG-Net's protocols over several runs: one run on given splits, within a corpus, across corpora.

Every function takes predictions of each run (`tested.Predictor`), measures (`bootstrap`), and returns a `report.Report`
with the predictions that it is about. Each run left one fold of its corpus out of training: one of three, or of as many
as a corpus of one's own has. The curve over the number of training samples is in `efficiency`.
"""

import dataclasses
import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data.folds import NUM_FOLDS, base_name, is_published, split_name
from fgnet_jax.evaluate import intensity, leakage, published, review
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.report import Report, ReportRow, notes
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, describe, open_run
from fgnet_jax.evaluate.tested import Predictor, TestedRun
from fgnet_jax.metrics import bootstrap
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.models import lineage

Curves = dict[str, list[tuple[int, MeasuredMetrics]]]
"""Points of the data-efficiency curve by line: training frames, and metrics."""

LEFT_OUT = "left_out"
"""Key of report.json for runs that were found, but not evaluated, with the reason."""

PART_OF_SAMPLES = "they were trained on a part of the samples"
"""Why a run is no part of the three folds."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
      report: The report.
      tested: The predictions that it is about.
      curves: The data-efficiency curve; empty for other protocols.
    """

    report: Report
    tested: tuple[TestedRun, ...]
    curves: Curves = dataclasses.field(default_factory=dict)


def find_runs(pattern: str | Sequence[str], trained_fold: int | None = None) -> list[EvaluatedRun]:
    """Open the runs whose folder matches a pattern (`runs/disfa_f*`), or one of several, by name.

    Raises:
      EvaluationError: None does; the message names a folder that has no best weights yet.
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    folders = sorted({Path(path) for one in patterns for path in glob.glob(one)})
    trained = [path for path in folders if (path / "best").is_dir() or (path / "meta").is_dir()]
    if not trained:
        unfinished = f"; {folders[0]} has no best/ (yet)" if folders else ""
        raise EvaluationError(f"no trained run matches {' or '.join(map(repr, patterns))}{unfinished}")
    return _with_own_names([open_run(path, trained_fold) for path in trained])


def _with_own_names(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Put a run's parent folder before its name where several have the same name: files are named by it."""
    counts = Counter(run.name for run in runs)
    return [dataclasses.replace(run, name=_long_name(run)) if counts[run.name] > 1 else run for run in runs]


def _long_name(run: EvaluatedRun) -> str:
    workdir = run.weights.absolute()
    workdir = workdir.parent if workdir.name == "best" else workdir
    return f"{workdir.parent.name}_{run.name}"


def by_fold(
    runs: Sequence[EvaluatedRun], corpus: str, needed: Sequence[int] = range(NUM_FOLDS)
) -> dict[int, EvaluatedRun]:
    """Return one run per fold, ascending, of those trained on all samples of a corpus.

    Raises:
      EvaluationError: A needed fold has no run, a fold has several, or a run is of another corpus.
    """
    chosen: dict[int, EvaluatedRun] = {}
    for run in (run for run in runs if not run.trained_on.get("samples")):
        fold = left_out(run, corpus)
        if fold in chosen:
            both = f"{chosen[fold].weights} and {run.weights}"
            hint = "name one of them with --runs, or evaluate several seeds by `evaluate study`"
            raise EvaluationError(f"two runs of fold {fold}: {both}; {hint}")
        chosen[fold] = run
    missing = [fold for fold in needed if fold not in chosen]
    if missing:
        others = ", ".join(f"{fold} ({run.name})" for fold, run in chosen.items()) or "none"
        raise EvaluationError(f"no run left out fold {', '.join(map(str, missing))} of {corpus}; there is: {others}")
    return dict(sorted(chosen.items()))


def left_out(run: EvaluatedRun, corpus: str) -> int:
    """Return the fold of a corpus that was left out of a run's training; of a student, out of its teachers'.

    Raises:
      EvaluationError: The run is of another corpus, or does not say it.
    """
    fold = run.fold
    if not leakage.same_corpus(run.meta.corpus or "", corpus):
        links = lineage.links(run.meta) if lineage.is_student(run.meta) else ()
        of_teachers = [link for link in links if leakage.same_corpus(link.corpus or "", corpus)]
        if not of_teachers:
            raise EvaluationError(f"{run.weights} was trained on {run.meta.corpus}, not on {corpus}")
        fold = run.trained_fold if of_teachers[-1].fold is None else of_teachers[-1].fold
    if fold is None:
        raise EvaluationError(f"{run.weights} does not say which fold was left out of its training: --trained_fold")
    return fold


def measure(options: EvalOptions, predictions: FramePredictions) -> MeasuredMetrics:
    """Measure all metrics of predictions, in the order of AU numbers, without the AUs that are coded in no frame."""
    known = [k for k in np.argsort(predictions.aus).tolist() if (predictions.labels[:, k] >= 0).any()]
    if not known:
        raise EvaluationError("no frame has a known label for any of the AUs")
    resamples = options.resamples if _can_be_resampled(predictions) else 0
    return bootstrap.measure(
        predictions.scores[:, known],
        predictions.labels[:, known],
        subjects=predictions.subjects,
        aus=[predictions.aus[k] for k in known],
        thresholds=predictions.thresholds[:, known],
        resamples=resamples,
        seed=options.seed,
    )


def single(predictor: Predictor, options: EvalOptions, *, run: EvaluatedRun, corpus: str, split: str) -> Evaluation:
    """Evaluate one network on one split, or on several (`fold_0+fold_1`)."""
    tested = predictor.tested(run, corpus=corpus, splits=split.split("+"))
    name = f"{run.name} on {base_name(corpus)} {split}"
    row = make_row(name, measure(options, tested.predictions), [tested], agreement=_agreement(options, tested))
    return make_evaluation(name, [row], options, tested=[tested], source=run.meta.corpus, target=corpus)


def within(predictor: Predictor, options: EvalOptions, *, runs: Sequence[EvaluatedRun], corpus: str) -> Evaluation:
    """Evaluate each run on the fold that it left out; the mean over the folds is what tables report.

    Where a fold is a single subject, the report is about all frames at once: in a mean over such folds, F1 of an AU
    is 0 wherever the subject never shows it, and has no interval (Forman and Scholz, SIGKDD Explorations 12(1), 2010).
    """
    chosen = by_fold(runs, corpus, predictor.folds(corpus))
    tested = [predictor.tested(run, corpus=corpus, splits=[split_name(fold)]) for fold, run in chosen.items()]
    of_folds = options_of_folds(options, tested)
    has_lone = not all(_can_be_resampled(fold.predictions) for fold in tested)
    folds = [measure(of_folds, fold.predictions) for fold in tested]
    names = [f"{base_name(corpus)} {split_name(fold)}" for fold in chosen]
    agreements = [_agreement(of_folds, fold) for fold in tested]
    measured = zip(names, folds, tested, agreements, strict=True)
    rows = [make_row(name, metrics, [fold], agreement=agreement) for name, metrics, fold, agreement in measured]
    for name, by_frames in (("mean of folds", False), ("mean of folds, by frames", True)):
        mean = intensity.average(agreements, by_frames=by_frames)
        rows.append(make_row(name, bootstrap.average(folds, by_frames), tested, agreement=mean))
    pooled = join([fold.predictions for fold in tested])
    agreement = intensity.measure(pooled, resamples=options.resamples, seed=options.seed)
    rows.append(make_row("all frames at once", measure(options, pooled), tested, agreement=agreement))
    evaluation = make_evaluation(
        f"Within {base_name(corpus)}, {'three' if len(folds) == NUM_FOLDS else len(folds)} folds",
        rows,
        options,
        tested=tested,
        headline=len(rows) - 1 if has_lone else len(folds),
        source=corpus,
        target=corpus,
    )
    return with_left_out(evaluation, runs, PART_OF_SAMPLES)


def options_of_folds(options: EvalOptions, tested: Sequence[TestedRun]) -> EvalOptions:
    """Return the options by which folds are measured whose mean is taken: no draws where one is a single subject."""
    is_drawn = all(_can_be_resampled(fold.predictions) for fold in tested)
    return options if is_drawn else dataclasses.replace(options, resamples=0)


def _can_be_resampled(predictions: FramePredictions) -> bool:
    """Return whether there are subjects to draw: of a single one, every draw would be the same."""
    return len(set(predictions.subjects.tolist())) > 1


def cross(
    predictor: Predictor, options: EvalOptions, *, runs: Sequence[EvaluatedRun], source: str, target: str
) -> Evaluation:
    """Evaluate fold 0's run on fold 0 of another corpus, as published, and every run on all folds, with their mean.

    Fold 0's run alone is enough: the published weights are of that fold.
    """
    folds = by_fold(runs, source, needed=[0])
    splits = [split_name(fold) for fold in predictor.folds(target)]
    tested = [predictor.tested(run, corpus=target, splits=splits) for run in folds.values()]
    first = dataclasses.replace(tested[0], predictions=tested[0].predictions.of_split(splits[0]))
    as_published = ", as published" if is_published(source) and is_published(target) else ""
    name = f"fold 0 on {splits[0].replace('_', ' ')}{as_published}"
    rows = [make_row(name, measure(options, first.predictions), [first], agreement=_agreement(options, first))]
    each = [measure(options, fold.predictions) for fold in tested]
    agreements = [_agreement(options, fold) for fold in tested]
    for k, metrics, fold, agreement in zip(folds, each, tested, agreements, strict=True):
        rows.append(make_row(f"fold {k} on the whole", metrics, [fold], agreement=agreement))
    if len(each) > 1:
        name, mean = f"mean of {len(each)} folds on the whole", intensity.average(agreements)
        rows.append(make_row(name, bootstrap.average(each), tested, agreement=mean))
    title = f"{base_name(source)} to {base_name(target)}"
    evaluation = make_evaluation(title, rows, options, tested=tested, source=source, target=target)
    return with_left_out(evaluation, runs, PART_OF_SAMPLES)


def _without_intervals(rows: Sequence[ReportRow]) -> tuple[str, ...]:
    """Name the rows that have no intervals, since a single subject cannot be resampled."""
    names = [row.name for row in rows if not len(row.metrics.resampled["f1"])]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return (f"No intervals where a fold is a single subject, who cannot be resampled: {shown}.",) if names else ()


def with_left_out(evaluation: Evaluation, runs: Sequence[EvaluatedRun], reason: str) -> Evaluation:
    """Name the runs that were found, but are not evaluated, in a report."""
    used = {tested.run.weights for tested in evaluation.tested}
    return name_left_out(evaluation, [run.name for run in runs if run.weights not in used], reason)


def name_left_out(evaluation: Evaluation, names: Sequence[str], reason: str) -> Evaluation:
    """Name runs that are left out of an evaluation in its report's notes, and in report.json; nothing without any."""
    if not names:
        return evaluation
    report = evaluation.report
    notes = (*report.notes, f"Left out, since {reason}: {', '.join(names)}.")
    extra = report.extra | {LEFT_OUT: {"runs": list(names), "reason": reason}}
    return dataclasses.replace(evaluation, report=dataclasses.replace(report, notes=notes, extra=extra))


def _agreement(options: EvalOptions, tested: TestedRun) -> MeasuredMetrics | None:
    """Measure how a run's intensities agree with coded ones; None where run or corpus know none."""
    resamples = options.resamples if _can_be_resampled(tested.predictions) else 0
    return intensity.measure(tested.predictions, resamples=resamples, seed=options.seed)


def average_agreement(options: EvalOptions, tested: Sequence[TestedRun]) -> MeasuredMetrics | None:
    """Average the agreement of intensities over several runs; None where one of them, or a corpus, knows none."""
    return intensity.average([_agreement(options, member) for member in tested])


def make_row(
    name: str,
    metrics: MeasuredMetrics,
    tested: Sequence[TestedRun],
    *,
    agreement: MeasuredMetrics | None = None,
    **details: object,
) -> ReportRow:
    """Make a report's row, with where its metrics come from and further details."""
    where = {"runs": [_run_details(run) for run in tested]} | details
    return ReportRow(name=name, metrics=metrics, details=where, agreement=agreement)


def _run_details(tested: TestedRun) -> dict[str, Any]:
    predictions = tested.predictions
    return describe(tested.run) | {
        "tested_on": tested.corpus,
        "splits": sorted(set(predictions.splits.tolist())),
        "frames": len(predictions),
        "subjects": sorted(set(predictions.subjects.tolist())),
        "thresholds": dict(zip(map(str, predictions.aus), tested.thresholds.tolist(), strict=True)),
    }


def make_evaluation(
    title: str,
    rows: Sequence[ReportRow],
    options: EvalOptions,
    *,
    tested: Sequence[TestedRun],
    headline: int = 0,
    source: str | None,
    target: str,
) -> Evaluation:
    """Make the report of rows, with all statements that a reader needs.

    Args:
      title: Title of the report.
      rows: Its rows.
      options: How predictions were measured.
      tested: The predictions that it is about.
      headline: Index of the row that the report is about.
      source: The corpus trained on, if it is known.
      target: The corpus tested on.
    """
    published_row = published.row(source or "", target)
    statements = notes(
        thresholds=" / ".join(dict.fromkeys(run.thresholds_text for run in tested)),
        selections=[run["selection"] for row in rows for run in row.details["runs"]],
        resamples=options.resamples,
        seed=options.seed,
    )
    statements += _without_intervals(rows) if options.resamples else ()
    statements += intensity.notes([run.predictions for run in tested], [run.run for run in tested], base_name(target))
    if published_row:
        statements += ("Published rows: each network's epoch was selected on the test fold.",)
    report = Report(
        title=title,
        rows=tuple(rows),
        headline=headline,
        published=(published_row,) if published_row else (),
        notes=(*statements, *review.lineages(tested), *review.rare_aus(rows)),
        warnings=review.warnings(rows, headline, tested),
        corpora=tuple(dict.fromkeys(identity for run in tested for identity in run.identities)),
    )
    return Evaluation(report=report, tested=tuple(tested))

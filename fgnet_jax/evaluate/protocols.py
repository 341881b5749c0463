"""FG-Net's protocols over several runs: within a corpus, across corpora, and with few training samples.

Every function predicts with the network of each run (`scoring`), measures (`bootstrap`), and returns a `report.Report`
with the predictions that it is about. There are three folds, and each run left one of them out of training.
"""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data.folds import NUM_FOLDS, base_name, split_name
from fgnet_jax.evaluate import leakage, published, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.report import Report, ReportRow, notes
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, describe, open_run
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import bootstrap, thresholds
from fgnet_jax.metrics.bootstrap import MeasuredMetrics

SAMPLES = (100, 1000, 5000, 10000, 0)
"""Training frames of the data-efficiency curve; 0: all."""

PUBLISHED_UPDATES, EQUAL_UPDATES = "published updates", "equal updates"
"""The two lines of the curve: epochs as long as the samples allow, or as many updates as with all samples."""

Curves = dict[str, list[tuple[int, MeasuredMetrics]]]
"""Points of the data-efficiency curve by line: training frames, and metrics."""


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How predictions are thresholded and measured.

    Attributes:
      resamples: Bootstrap resamples of subjects, for the intervals.
      seed: Seed of the resampling.
      fit_thresholds: Whether thresholds are fitted to each run's held-out training subjects.
      thresholds_file: A file of thresholds to use, or None.
    """

    resamples: int = bootstrap.RESAMPLES
    seed: int = 0
    fit_thresholds: bool = False
    thresholds_file: Path | None = None

    @property
    def thresholds_text(self) -> str:
        """The thresholds' description in reports."""
        if self.fit_thresholds:
            return f"fitted, {thresholds.RULE} of each run"
        return f"those of {self.thresholds_file}" if self.thresholds_file else "0, as published"


@dataclasses.dataclass(frozen=True)
class TestedRun:
    """A run's predictions for some splits of a corpus, at thresholds (K,)."""

    run: EvaluatedRun
    corpus: str
    predictions: FramePredictions
    thresholds: np.ndarray


def find_runs(pattern: str, trained_fold: int | None = None) -> list[EvaluatedRun]:
    """Open the runs whose folder matches a pattern (`runs/disfa_f*`), by name.

    Raises:
      EvaluationError: None does; the message names a folder that has no best weights yet.
    """
    folders = sorted(Path(path) for path in glob.glob(pattern))
    trained = [path for path in folders if (path / "best").is_dir() or (path / "meta").is_dir()]
    if not trained:
        unfinished = f"; {folders[0]} has no best/ (yet)" if folders else ""
        raise EvaluationError(f"no trained run matches {pattern!r}{unfinished}")
    return [open_run(path, trained_fold) for path in trained]


def by_fold(
    runs: Sequence[EvaluatedRun], corpus: str, needed: Sequence[int] = range(NUM_FOLDS)
) -> dict[int, EvaluatedRun]:
    """Return one run per fold, ascending, of those trained on all samples of a corpus.

    Raises:
      EvaluationError: A needed fold has no run, a fold has several, or a run is of another corpus.
    """
    chosen: dict[int, EvaluatedRun] = {}
    for run in (run for run in runs if not run.trained_on.get("samples")):
        if not leakage.same_corpus(run.meta.corpus or "", corpus):
            raise EvaluationError(f"{run.weights} was trained on {run.meta.corpus}, not on {corpus}")
        if run.fold is None:
            raise EvaluationError(f"{run.weights} does not say which fold was left out of its training: --trained_fold")
        if run.fold in chosen:
            both = f"{chosen[run.fold].weights} and {run.weights}"
            raise EvaluationError(f"two runs of fold {run.fold}: {both}; name one of them with --runs")
        chosen[run.fold] = run
    missing = [fold for fold in needed if fold not in chosen]
    if missing:
        others = ", ".join(f"{fold} ({run.name})" for fold, run in chosen.items()) or "none"
        raise EvaluationError(f"no run left out fold {', '.join(map(str, missing))} of {corpus}; there is: {others}")
    return dict(sorted(chosen.items()))


def predict_splits(
    data: EvalData, options: EvalOptions, *, run: EvaluatedRun, corpus: str, splits: Sequence[str]
) -> TestedRun:
    """Predict splits of a corpus with a run's network, at the thresholds of the options."""
    parts = [scoring.predict_split_cached(data, run, corpus=corpus, split=split) for split in splits]
    values = _thresholds(data, options, run, parts[0].aus)
    at_thresholds = [
        scoring.apply_thresholds(data, run, corpus=corpus, split=split, predictions=part, thresholds=values)
        for split, part in zip(splits, parts, strict=True)
    ]
    return TestedRun(run=run, corpus=corpus, predictions=join(at_thresholds), thresholds=values)


def _thresholds(data: EvalData, options: EvalOptions, run: EvaluatedRun, aus: Sequence[int]) -> np.ndarray:
    """Return the thresholds (K,) of a run's AUs, float64."""
    if options.fit_thresholds:
        held_out = scoring.predict_held_out(data, run)
        fitted = dict(zip(held_out.aus, thresholds.fit(held_out.scores, held_out.labels), strict=True))
        return np.array([fitted[au] for au in aus])
    if options.thresholds_file:
        return thresholds.load(options.thresholds_file, aus)
    return np.full(len(aus), thresholds.PUBLISHED)


def measure(options: EvalOptions, predictions: FramePredictions) -> MeasuredMetrics:
    """Measure all metrics of predictions, in the order of AU numbers, without the AUs that are coded in no frame."""
    known = [k for k in np.argsort(predictions.aus).tolist() if (predictions.labels[:, k] >= 0).any()]
    if not known:
        raise EvaluationError("no frame has a known label for any of the AUs")
    return bootstrap.measure(
        predictions.scores[:, known],
        predictions.labels[:, known],
        subjects=predictions.subjects,
        aus=[predictions.aus[k] for k in known],
        thresholds=predictions.thresholds[:, known],
        resamples=options.resamples,
        seed=options.seed,
    )


def single(
    data: EvalData, options: EvalOptions, *, run: EvaluatedRun, corpus: str, split: str
) -> tuple[Report, list[TestedRun]]:
    """Evaluate one network on one split, or on several (`fold_0+fold_1`)."""
    tested = predict_splits(data, options, run=run, corpus=corpus, splits=split.split("+"))
    name = f"{run.name} on {base_name(corpus)} {split}"
    row = _row(name, measure(options, tested.predictions), [tested])
    return _report(name, [row], options, source=run.meta.corpus, target=corpus), [tested]


def within(
    data: EvalData, options: EvalOptions, *, runs: Sequence[EvaluatedRun], corpus: str
) -> tuple[Report, list[TestedRun]]:
    """Evaluate each run on the fold that it left out; the mean over the folds is what tables report."""
    tested = [
        predict_splits(data, options, run=run, corpus=corpus, splits=[split_name(fold)])
        for fold, run in by_fold(runs, corpus).items()
    ]
    folds = [measure(options, fold.predictions) for fold in tested]
    names = [f"{base_name(corpus)} {split_name(fold)}" for fold in range(NUM_FOLDS)]
    rows = [_row(name, metrics, [fold]) for name, metrics, fold in zip(names, folds, tested, strict=True)]
    rows.append(_row("mean of folds", bootstrap.average(folds), tested))
    rows.append(_row("mean of folds, by frames", bootstrap.average(folds, by_frames=True), tested))
    pooled = measure(options, join([fold.predictions for fold in tested]))
    rows.append(_row("all frames at once", pooled, tested))
    title = f"Within {base_name(corpus)}, three folds"
    return _report(title, rows, options, headline=NUM_FOLDS, source=corpus, target=corpus), tested


def cross(
    data: EvalData, options: EvalOptions, *, runs: Sequence[EvaluatedRun], source: str, target: str
) -> tuple[Report, list[TestedRun]]:
    """Evaluate fold 0's run on fold 0 of another corpus, as published, and every run on all folds, with their mean.

    Fold 0's run alone is enough: the published weights are of that fold.
    """
    folds = by_fold(runs, source, needed=[0])
    splits = [split_name(fold) for fold in range(NUM_FOLDS)]
    tested = [predict_splits(data, options, run=run, corpus=target, splits=splits) for run in folds.values()]
    first = dataclasses.replace(tested[0], predictions=tested[0].predictions.of_split(splits[0]))
    rows = [_row("fold 0 on fold 0, as published", measure(options, first.predictions), [first])]
    each = [measure(options, fold.predictions) for fold in tested]
    rows += [_row(f"fold {k} on the whole", m, [fold]) for k, m, fold in zip(folds, each, tested, strict=True)]
    if len(each) > 1:
        rows.append(_row(f"mean of {len(each)} folds on the whole", bootstrap.average(each), tested))
    title = f"{base_name(source)} to {base_name(target)}"
    return _report(title, rows, options, source=source, target=target), tested


def efficiency(
    data: EvalData, options: EvalOptions, *, runs: Sequence[EvaluatedRun], corpus: str
) -> tuple[Report, list[TestedRun], Curves]:
    """Evaluate runs on few and on all samples, each on the fold that it left out: a curve per way to count updates.

    Returns:
      The report, the predictions, and the points of the curves.
    """
    groups = _efficiency_groups(runs, corpus)
    tested: dict[Path, TestedRun] = {}
    rows, curves = [], {}
    for line, points in groups.items():
        for samples, members in points.items():
            for run in members:
                if run.weights not in tested:
                    splits = [split_name(_fold(run))]
                    tested[run.weights] = predict_splits(data, options, run=run, corpus=corpus, splits=splits)
            row = _efficiency_row(options, [tested[run.weights] for run in members], samples=samples, line=line)
            rows.append(row)
            curves.setdefault(line, []).append((row.details["frames"], row.metrics))
    title = f"Data efficiency on {base_name(corpus)}"
    report = _report(title, rows, options, headline=len(rows) - 1, source=corpus, target=corpus)
    extra = {"curve": [_curve_point(row) for row in rows]}
    return dataclasses.replace(report, extra=extra), list(tested.values()), curves


def _efficiency_row(options: EvalOptions, tested: Sequence[TestedRun], *, samples: int, line: str) -> ReportRow:
    """Make the row of one point of the curve, the mean over its runs."""
    mean = bootstrap.average([measure(options, member.predictions) for member in tested])
    frames = round(float(np.mean([member.run.trained_on["frames"] for member in tested])))
    updates = round(float(np.mean([member.run.trained_on["updates"] for member in tested])))
    name = f"{f'{samples:,}' if samples else 'all'}, {line} ({updates:,})"
    return _row(name, mean, tested, samples=samples, frames=frames, updates=updates, line=line)


def _curve_point(row: ReportRow) -> dict[str, Any]:
    """Return a point of the curve as report.json has it."""
    details = {key: row.details[key] for key in ("samples", "frames", "updates", "line")}
    mean = {"name": row.name, "mean_f1": row.metrics.mean("f1")}
    return mean | details | {"mean_f1_interval": list(row.metrics.mean_interval("f1"))}


def _efficiency_groups(runs: Sequence[EvaluatedRun], corpus: str) -> dict[str, dict[int, list[EvaluatedRun]]]:
    """Group runs by line and number of samples, ascending; a run of as many updates as with all is in both lines."""
    for run in runs:
        if "frames" not in run.trained_on or not leakage.same_corpus(run.meta.corpus or "", corpus):
            raise EvaluationError(f"{run.weights} was not trained on {corpus} by a version that counts its samples")
    records = [(run, run.trained_on) for run in runs]
    most = max((record["updates"] for _, record in records if not record["samples"]), default=None)
    if most is None or all(not record["samples"] for _, record in records):
        raise EvaluationError(
            f"a curve needs runs on few and on all samples; train with samples={SAMPLES[0]} and so on"
        )
    groups: dict[str, dict[int, list[EvaluatedRun]]] = {PUBLISHED_UPDATES: {}, EQUAL_UPDATES: {}}
    for run, record in sorted(records, key=lambda pair: pair[1]["samples"] or np.inf):
        lines = [EQUAL_UPDATES] if record["equal_updates"] else [PUBLISHED_UPDATES]
        for line in groups if record["updates"] == most and not record["equal_updates"] else lines:
            groups[line].setdefault(record["samples"], []).append(run)
    for line, points in groups.items():
        for samples, members in points.items():
            _check_one_per_fold(members, f"{samples or 'all'} samples, {line}")
    return groups


def _check_one_per_fold(runs: Sequence[EvaluatedRun], what: str) -> None:
    if len({run.fold for run in runs}) < len(runs):
        raise EvaluationError(f"several runs of one fold with {what}: {', '.join(run.name for run in runs)}")


def _fold(run: EvaluatedRun) -> int:
    if run.fold is None:
        raise EvaluationError(f"{run.weights} does not say which fold was left out of its training")
    return run.fold


def _row(name: str, metrics: MeasuredMetrics, tested: Sequence[TestedRun], **details: object) -> ReportRow:
    """Make a report's row, with where its metrics come from and further details."""
    return ReportRow(name=name, metrics=metrics, details={"runs": [_run_details(run) for run in tested]} | details)


def _run_details(tested: TestedRun) -> dict[str, Any]:
    predictions = tested.predictions
    return describe(tested.run) | {
        "tested_on": tested.corpus,
        "splits": sorted(set(predictions.splits.tolist())),
        "frames": len(predictions),
        "subjects": sorted(set(predictions.subjects.tolist())),
        "thresholds": dict(zip(map(str, predictions.aus), tested.thresholds.tolist(), strict=True)),
    }


def _report(
    title: str, rows: Sequence[ReportRow], options: EvalOptions, *, headline: int = 0, source: str | None, target: str
) -> Report:
    published_row = published.row(source or "", target)
    selections = [run["selection"] for row in rows for run in row.details["runs"]]
    statements = notes(
        thresholds=options.thresholds_text, selections=selections, resamples=options.resamples, seed=options.seed
    )
    if published_row:
        statements += ("Published rows: each network's epoch was selected on the test fold.",)
    return Report(
        title=title,
        rows=tuple(rows),
        headline=headline,
        published=(published_row,) if published_row else (),
        notes=statements,
    )

"""FG-Net's data-efficiency curve: mean F1 over the number of training frames, on the same folds at every point."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgnet_jax.data.folds import base_name, split_name
from fgnet_jax.evaluate import leakage
from fgnet_jax.evaluate.protocols import (
    Curves,
    Evaluation,
    average_agreement,
    make_evaluation,
    make_row,
    measure,
    options_of_folds,
    with_left_out,
)
from fgnet_jax.evaluate.report import ReportRow
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import Predictor, TestedRun
from fgnet_jax.metrics import bootstrap

SAMPLES = (100, 1000, 5000, 10000, 0)
"""Training frames of the data-efficiency curve; 0: all."""

PUBLISHED_UPDATES, EQUAL_UPDATES = "published updates", "equal updates"
"""The two lines of the curve: epochs as long as the samples allow, or as many updates as with all samples."""

Groups = dict[str, dict[int, list[EvaluatedRun]]]
"""Runs by line and number of samples: one for each fold."""


def efficiency(predictor: Predictor, options: EvalOptions, *, runs: Sequence[EvaluatedRun], corpus: str) -> Evaluation:
    """Evaluate runs on few and on all samples, each on the fold that it left out: a curve per way to count updates.

    Every point is the mean over the same folds: those that have a run at every point. Other runs are left out, and
    named in the report; so are those of all seeds but the first that has runs on few samples.
    """
    groups = group_runs(of_one_seed(runs), corpus)
    folds = common_folds(groups)
    rows: list[ReportRow] = []
    curves: Curves = {}
    tested: dict[str, TestedRun] = {}
    for line, points in groups.items():
        for samples, group in points.items():
            members = [run for fold in folds for run in group if run.fold == fold]
            for run in members:
                if str(run.weights) not in tested:
                    splits = [split_name(fold_of(run))]
                    tested[str(run.weights)] = predictor.tested(run, corpus=corpus, splits=splits)
            row = _row(options, [tested[str(run.weights)] for run in members], samples=samples, line=line)
            rows.append(row)
            curves.setdefault(line, []).append((row.details["frames"], row.metrics))
    evaluation = make_evaluation(
        f"Data efficiency on {base_name(corpus)}, {folds_text(folds)}",
        rows,
        options,
        tested=list(tested.values()),
        headline=len(rows) - 1,
        source=corpus,
        target=corpus,
    )
    extra = {"folds": folds, "curve": [_curve_point(row) for row in rows]}
    evaluation = dataclasses.replace(
        evaluation, report=dataclasses.replace(evaluation.report, extra=extra), curves=curves
    )
    other = "they are of another seed, or " if len({run.seed for run in runs}) > 1 else ""
    return with_left_out(evaluation, runs, f"{other}their fold has no run at every point of the curve")


def folds_text(folds: Sequence[int]) -> str:
    """Return folds in words: `fold 0`, or `folds 0, 1, 2`."""
    return f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"


def of_one_seed(runs: Sequence[EvaluatedRun]) -> list[EvaluatedRun]:
    """Return the runs of the lowest seed that has runs on few samples; of the lowest of all if none has."""
    with_few = {run.seed for run in runs if run.trained_on.get("samples")}
    seed = min(with_few or {run.seed for run in runs}, default=0)
    return [run for run in runs if run.seed == seed]


def group_runs(runs: Sequence[EvaluatedRun], corpus: str) -> Groups:
    """Group runs by line and number of samples, ascending; a run of as many updates as with all is in both lines.

    Raises:
      EvaluationError: There are no runs on few samples, or none on all; or a run is of another corpus.
    """
    for run in runs:
        if "frames" not in run.trained_on or not leakage.same_corpus(run.meta.corpus or "", corpus):
            raise EvaluationError(f"{run.weights} was not trained on {corpus} by a version that counts its samples")
    records = [(run, run.trained_on) for run in runs]
    # Small corpora have fewer batches than an epoch, and their folds different numbers of them.
    most = {run.fold: record["updates"] for run, record in records if not record["samples"]}
    if not most or all(not record["samples"] for _, record in records):
        raise EvaluationError(
            f"a curve needs runs on few and on all samples; train with samples={SAMPLES[0]} and so on"
        )
    groups: Groups = {PUBLISHED_UPDATES: {}, EQUAL_UPDATES: {}}
    for run, record in sorted(records, key=lambda pair: pair[1]["samples"] or np.inf):
        lines = [EQUAL_UPDATES] if record["equal_updates"] else [PUBLISHED_UPDATES]
        for line in groups if record["updates"] == most.get(run.fold) and not record["equal_updates"] else lines:
            groups[line].setdefault(record["samples"], []).append(run)
    for (line, samples), members in _points(groups).items():
        if len({run.fold for run in members}) < len(members):
            names = ", ".join(run.name for run in members)
            raise EvaluationError(f"several runs of one fold with {samples or 'all'} samples, {line}: {names}")
    return groups


def common_folds(groups: Groups) -> list[int]:
    """Return the folds, ascending, that have a run at every point of the curve.

    Raises:
      EvaluationError: No fold has; the message names the folds of each point.
    """
    folds = {point: sorted(map(fold_of, members)) for point, members in _points(groups).items()}
    common = sorted(set.intersection(*map(set, folds.values())))
    if not common:
        points = "; ".join(f"{n or 'all'} samples, {line}: {folds_text(of)}" for (line, n), of in folds.items())
        raise EvaluationError(f"no fold has a run at every point of the curve, so that points compare: {points}")
    return common


def _points(groups: Groups) -> dict[tuple[str, int], list[EvaluatedRun]]:
    """Return the runs of every point, by its line and samples."""
    return {(line, n): members for line, points in groups.items() for n, members in points.items()}


def fold_of(run: EvaluatedRun) -> int:
    """Return the fold that a run left out of its training.

    Raises:
      EvaluationError: It is not known.
    """
    if run.fold is None:
        raise EvaluationError(f"{run.weights} does not say which fold was left out of its training")
    return run.fold


def _row(options: EvalOptions, tested: Sequence[TestedRun], *, samples: int, line: str) -> ReportRow:
    """Make the row of one point of the curve, the mean over its runs."""
    options = options_of_folds(options, tested)
    mean = bootstrap.average([measure(options, member.predictions) for member in tested])
    counts = [member.run.trained_on["frames"] for member in tested]
    updates = round(float(np.mean([member.run.trained_on["updates"] for member in tested])))
    folds = [fold_of(member.run) for member in tested]
    name = f"{frames_text(counts, samples)}, {line} ({updates:,}), {folds_text(folds)}"
    frames = round(float(np.mean(counts)))
    details = {"samples": samples, "frames": frames, "updates": updates, "line": line, "folds": folds}
    return make_row(name, mean, tested, agreement=average_agreement(options, tested), **details)


def frames_text(counts: Sequence[int], samples: int) -> str:
    """Return the number of training frames in words: the real one, which is lower than `samples` of a small corpus."""
    text = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    if not samples:
        return f"all ({text})"
    return text if max(counts) == samples else f"{text} (samples={samples:,})"


def _curve_point(row: ReportRow) -> dict[str, Any]:
    """Return a point of the curve as report.json has it."""
    details = {key: row.details[key] for key in ("samples", "frames", "updates", "line", "folds")}
    mean = {"name": row.name, "mean_f1": row.metrics.mean("f1")}
    return mean | details | {"mean_f1_interval": list(row.metrics.mean_interval("f1"))}

"""A study: the same configuration trained with several seeds on every fold, and what its seeds agree in.

Rows are the runs, each fold's mean over seeds, and the mean over folds. Two spreads are told apart: the standard
deviation over seeds, and the interval over subjects, for which the seeds' metrics are averaged within each draw.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.folds import base_name, split_name
from fgnet_jax.evaluate import intensity, leakage
from fgnet_jax.evaluate.frame_predictions import join
from fgnet_jax.evaluate.protocols import Evaluation, average_agreement, make_evaluation, make_row, measure
from fgnet_jax.evaluate.report import ReportRow
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import Predictor, TestedRun
from fgnet_jax.metrics import bootstrap, f1_table
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import workdirs

KEY, SEEDS = "study", "seeds"
"""Key of report.json for the spread over seeds, and the stem of its table's file."""

_SEVERAL_SEEDS = (
    "F1 and its standard deviation over seeds",
    "± is the sample standard deviation (n - 1) over seeds: within a fold, and in the last row that of each seed's "
    "mean over folds. Intervals are over subjects: the seeds' metrics are averaged within each draw.",
)
_ONE_SEED = ("", "One seed: how much the metrics vary with the seed is not known.")

_OF_A_RUN = ("name", "seed", "data.fold", *config_lib.RESUMABLE_KEYS)
"""Keys of configurations that differ within a study, or change no number."""

Grid = dict[tuple[int, int], EvaluatedRun]
"""Runs by fold and seed."""


@dataclasses.dataclass(frozen=True)
class _Measured:
    """A run's test.

    Attributes:
      tested: Its predictions.
      metrics: Their metrics.
      agreement: How intensities agree with coded ones; None where they are not known.
    """

    tested: TestedRun
    metrics: MeasuredMetrics
    agreement: MeasuredMetrics | None


def study(
    predictor: Predictor, options: EvalOptions, *, runs: Sequence[EvaluatedRun], source: str, target: str
) -> Evaluation:
    """Evaluate every run of a study on the fold that it left out, or on the whole of another corpus.

    Args:
      predictor: Where predictions come from.
      options: How they are measured.
      runs: Runs of one configuration; every seed has one of each fold.
      source: The corpus that they were trained on.
      target: The corpus to test on.

    Raises:
      EvaluationError: The runs differ in more than fold and seed, or one is missing; the message names what.
    """
    check_same(runs)
    folds = predictor.folds(source)
    grid = by_fold_and_seed(runs, source, folds)
    seeds = sorted({seed for _, seed in grid})
    is_within = leakage.same_corpus(source, target)
    tested = {
        place: predictor.tested(run, corpus=target, splits=_splits(predictor, place[0], target, is_within))
        for place, run in sorted(grid.items(), key=lambda item: item[0][::-1])
    }
    has_lone = any(len(set(run.predictions.subjects.tolist())) < 2 for run in tested.values())
    measured = {
        place: _measure(dataclasses.replace(options, resamples=0) if has_lone else options, run)
        for place, run in tested.items()
    }
    name = base_name(target) if is_within else f"{base_name(source)} to {base_name(target)}"
    rows = _rows(name, measured, is_within=is_within)
    if has_lone and is_within:
        rows.append(_pooled(options, tested))
    evaluation = make_evaluation(
        f"Study of {name}: {len(folds)} folds, {len(seeds)} seed{'s' * (len(seeds) > 1)}",
        [row.row for row in rows],
        options,
        tested=list(tested.values()),
        headline=len(rows) - 1,
        source=source,
        target=target,
    )
    return _with_spread(evaluation, rows, seeds)


def check_finished(runs: Sequence[EvaluatedRun]) -> None:
    """Refuse runs whose training goes on: the best epoch may still be to come.

    Raises:
      EvaluationError: One has no results.json; the message names all of them.
    """
    going_on = [run.name for run in runs if not (run.weights.parent / workdirs.RESULTS).exists()]
    if going_on:
        raise EvaluationError(f"not finished, no {workdirs.RESULTS} (yet): {', '.join(going_on)}")


def check_same(runs: Sequence[EvaluatedRun]) -> None:
    """Refuse runs that differ in more than fold and seed: their mean would be of no method.

    Raises:
      EvaluationError: Two do; the message names them and what differs. Or one has no configuration.
    """
    unknown = [str(run.weights) for run in runs if run.config is None]
    if unknown:
        raise EvaluationError(f"{', '.join(unknown)}: no {workdirs.CONFIG} beside the weights, so no run of a study")
    first, *others = runs
    for other in others:
        lines = [line for line in _differences(first, other) if line.partition(":")[0] not in _OF_A_RUN]
        if lines:
            both = f"{first.name} (there) and {other.name} (here)"
            raise EvaluationError(
                f"{both} differ in more than fold and seed: {'; '.join(lines)}. Name others with --runs"
            )


def _differences(first: EvaluatedRun, other: EvaluatedRun) -> list[str]:
    return config_lib.differences(config_lib.as_now(first.config or {}), config_lib.as_now(other.config or {}))


def by_fold_and_seed(runs: Sequence[EvaluatedRun], corpus: str, folds: Sequence[int]) -> Grid:
    """Return runs by fold and seed.

    Raises:
      EvaluationError: A run is of another corpus, two are of one fold and seed, or a seed has no run of a fold.
    """
    grid: Grid = {}
    for run in runs:
        if not leakage.same_corpus(run.meta.corpus or "", corpus) or run.fold is None:
            raise EvaluationError(f"{run.weights} was trained on {run.meta.corpus}, not on a fold of {corpus}")
        place = run.fold, run.seed
        if place in grid:
            both = f"{grid[place].weights} and {run.weights}"
            raise EvaluationError(f"two runs of fold {place[0]} with seed {place[1]}: {both}; name one with --runs")
        grid[place] = run
    seeds = sorted({seed for _, seed in grid})
    missing = [f"fold {fold} with seed {seed}" for seed in seeds for fold in folds if (fold, seed) not in grid]
    if missing:
        raise EvaluationError(
            f"no run of {', '.join(missing)} among the {len(runs)} of {corpus}: every seed needs all of its folds. "
            "Train what is missing, or name the runs of fewer seeds with --runs"
        )
    return grid


def _splits(predictor: Predictor, fold: int, target: str, is_within: bool) -> list[str]:
    return [split_name(k) for k in ([fold] if is_within else predictor.folds(target))]


def _measure(options: EvalOptions, tested: TestedRun) -> _Measured:
    return _Measured(tested, measure(options, tested.predictions), average_agreement(options, [tested]))


Spread = dict[str, dict[str, float]]
"""Sample standard deviation (n - 1) over seeds by metric, then by AU ("AU01") and "mean"."""


@dataclasses.dataclass(frozen=True)
class _StudyRow:
    """A row with the spread over its seeds, which is empty for a row of one run."""

    row: ReportRow
    spread: Spread = dataclasses.field(default_factory=dict)


def _rows(name: str, measured: Mapping[tuple[int, int], _Measured], *, is_within: bool) -> list[_StudyRow]:
    """Return the rows of single runs, of folds over the seeds, and of the mean over folds."""
    folds, seeds = (sorted({place[k] for place in measured}) for k in (0, 1))
    names = {fold: f"{name} {split_name(fold)}" if is_within else f"{name}, fold {fold} left out" for fold in folds}
    rows = []
    for fold in folds:
        for seed in seeds:
            one = measured[fold, seed]
            title = f"{names[fold]}, seed {seed}"
            row = make_row(title, one.metrics, [one.tested], agreement=one.agreement, fold=fold, seed=seed)
            rows.append(_StudyRow(row))
    for fold in folds:
        of_fold = [measured[fold, seed] for seed in seeds]
        rows.append(_over_seeds(f"{names[fold]}, {_of_seeds(seeds)}", of_fold, [one.tested for one in of_fold]))
    by_seed = [_over_folds([measured[fold, seed] for fold in folds]) for seed in seeds]
    tested = [one.tested for one in measured.values()]
    return [*rows, _over_seeds(f"mean of {len(folds)} folds, {_of_seeds(seeds)}", by_seed, tested)]


def _of_seeds(seeds: Sequence[int]) -> str:
    return f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]} alone"


def _over_folds(of_seed: Sequence[_Measured]) -> _Measured:
    """Average the folds of one seed; the first one's predictions stand for all."""
    metrics = bootstrap.average([one.metrics for one in of_seed])
    return _Measured(of_seed[0].tested, metrics, intensity.average([one.agreement for one in of_seed]))


def _over_seeds(name: str, parts: Sequence[_Measured], tested: Sequence[TestedRun]) -> _StudyRow:
    """Return the row of a mean over seeds, draw by draw, with the spread over them."""
    metrics = _mean([one.metrics for one in parts])
    known = [one.agreement for one in parts if one.agreement is not None]
    agreement = _mean(known) if len(known) == len(parts) else None
    row = make_row(name, metrics, tested, agreement=agreement)
    spread = _spread([one.metrics for one in parts]) | (_spread(known) if agreement else {})
    return _StudyRow(row, spread)


def _mean(parts: Sequence[MeasuredMetrics]) -> MeasuredMetrics:
    """Average seeds, with the counts of one of them: all have tested the same frames."""
    mean = bootstrap.average(parts)
    return dataclasses.replace(mean, frames=parts[0].frames, positives=parts[0].positives)


def _spread(parts: Sequence[MeasuredMetrics]) -> Spread:
    """Return the spread over seeds of every metric; NaN for one seed, and where one of them has no value."""
    names = [*map(au_label, parts[0].aus), "mean"]
    spread = {}
    for metric in parts[0].values:
        values = np.stack([[*part.values[metric], part.mean(metric)] for part in parts])
        deviations = values.std(axis=0, ddof=1) if len(parts) > 1 else np.full(len(names), np.nan)
        spread[metric] = dict(zip(names, deviations.tolist(), strict=True))
    return spread


def _pooled(options: EvalOptions, tested: Mapping[tuple[int, int], TestedRun]) -> _StudyRow:
    """Return the row of all frames at once, where folds are single subjects: see `protocols.within`."""
    by_seed: dict[int, list[TestedRun]] = {}
    for (_, seed), run in tested.items():
        by_seed.setdefault(seed, []).append(run)
    parts = []
    for of_seed in by_seed.values():
        pooled = join([run.predictions for run in of_seed])
        parts.append(_measure(options, dataclasses.replace(of_seed[0], predictions=pooled)))
    return _over_seeds(f"all frames at once, {_of_seeds([*by_seed])}", parts, [*tested.values()])


def _with_spread(evaluation: Evaluation, rows: Sequence[_StudyRow], seeds: Sequence[int]) -> Evaluation:
    """Return an evaluation with the spread over seeds, as a table, in a note and in report.json."""
    report = evaluation.report
    rows = [row for row in rows if row.spread]
    caption, note = _ONE_SEED if len(seeds) == 1 else _SEVERAL_SEEDS
    tables = {caption: (SEEDS, spread_cells([(row.row, row.spread) for row in rows]))} if len(seeds) > 1 else {}
    study_json = {"seeds": list(seeds), "standard_deviation": {row.row.name: _or_none(row.spread) for row in rows}}
    changed = dataclasses.replace(
        report, tables=tables, notes=(note, *report.notes), extra=report.extra | {KEY: study_json}
    )
    return dataclasses.replace(evaluation, report=changed)


def spread_cells(rows: Sequence[tuple[ReportRow, Spread]]) -> f1_table.Cells:
    """Return mean and standard deviation of F1 in percent: a line per row, a column per AU and one for the mean."""
    aus = sorted({au for row, _ in rows for au in row.metrics.aus})
    lines = [["F1, %", *map(au_label, aus), "mean"]]
    for row, spread in rows:
        values = dict(zip(map(au_label, row.metrics.aus), row.metrics.values["f1"].tolist(), strict=True))
        values["mean"] = row.metrics.mean("f1")
        cells = [(values.get(name), spread["f1"].get(name)) for name in lines[0][1:]]
        lines.append([row.name, *(f"{f1_table.percent(mean)} ± {f1_table.percent(sd)}" for mean, sd in cells)])
    return lines


def _or_none(spread: Spread) -> dict[str, dict[str, float | None]]:
    """Return the spread as JSON has it: None where there is no value."""
    return {
        metric: {name: None if np.isnan(sd) else sd for name, sd in by_au.items()} for metric, by_au in spread.items()
    }

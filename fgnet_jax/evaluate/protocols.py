"""FG-Net's protocols over several runs: within a corpus, across corpora, and with few samples.

Every function answers with the network of each run (`scoring`), measures (`intervals`), and returns a `report.Report`
and the answers that it is of. Three folds: each run left one of them out.
"""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.data.folds import NUM_FOLDS, split_name
from fgnet_jax.evaluate import leakage, published, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.report import Report, ReportRow, notes
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, describe, open_run
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import bootstrap, thresholds
from fgnet_jax.metrics.bootstrap import MeasuredMetrics

SAMPLES = (100, 1000, 5000, 10000, 0)
"""Training frames of the data-efficiency curve; 0: all."""


@dataclasses.dataclass(frozen=True)
class EvalOptions:
    """How answers are measured.

    Attributes:
      resamples: Draws of subjects for the intervals.
      seed: Of the draws.
      fit: Whether thresholds are fitted to each run's held-out training subjects.
      file: A file of thresholds to use, or None.
    """

    resamples: int = bootstrap.RESAMPLES
    seed: int = 0
    fit: bool = False
    file: Path | None = None

    @property
    def words(self) -> str:
        """How reports name the thresholds."""
        if self.fit:
            return f"fitted, {thresholds.RULE} of each run"
        return f"those of {self.file}" if self.file else "0, as published"


@dataclasses.dataclass(frozen=True)
class TestedRun:
    """A run's answers to some splits, and where its thresholds are from."""

    run: EvaluatedRun
    corpus: str
    answers: FramePredictions
    thresholds: np.ndarray


def find_runs(pattern: str, trained_fold: int | None = None) -> list[EvaluatedRun]:
    """The runs whose folder matches a pattern (`runs/disfa_f*`), by name.

    Raises:
      EvaluationError: where none does, naming a folder that has no best weights yet.
    """
    folders = sorted(Path(path) for path in glob.glob(pattern))
    runs = [path for path in folders if (path / "best").is_dir() or (path / "meta").is_dir()]
    if not runs:
        unfinished = f"; {folders[0]} has no best/ (yet)" if folders else ""
        raise EvaluationError(f"no trained run matches {pattern!r}{unfinished}")
    return [open_run(path, trained_fold) for path in runs]


def by_fold(
    runs: Sequence[EvaluatedRun], corpus: str, needed: Sequence[int] = range(NUM_FOLDS)
) -> dict[int, EvaluatedRun]:
    """One run a fold, ascending, of those trained on all samples of a corpus.

    Raises:
      EvaluationError: where a fold that is needed has none, one has several, or a run is of another corpus.
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
        there = ", ".join(f"{fold} ({run.name})" for fold, run in chosen.items()) or "none"
        raise EvaluationError(f"no run left out fold {', '.join(map(str, missing))} of {corpus}; there is: {there}")
    return dict(sorted(chosen.items()))


def predict_splits(
    setup: EvalData, how: EvalOptions, run: EvaluatedRun, corpus: str, splits: Sequence[str]
) -> TestedRun:
    """A run's answers to splits of a corpus, at the thresholds asked for."""
    parts = [scoring.predict_split_cached(setup, run, corpus, split) for split in splits]
    values = np.full(len(parts[0].aus), thresholds.PUBLISHED)
    if how.fit:
        held_out = scoring.predict_held_out(setup, run)
        fitted = dict(zip(held_out.aus, thresholds.fit(held_out.scores, held_out.labels), strict=True))
        values = np.array([fitted[au] for au in parts[0].aus])
    elif how.file:
        values = thresholds.load(how.file, parts[0].aus)
    pairs = zip(splits, parts, strict=True)
    decided = [scoring.apply_thresholds(setup, run, corpus, split, part, values) for split, part in pairs]
    return TestedRun(run, corpus, join(decided), values)


def base_name(corpus: str) -> str:
    """A corpus' name without the preparation: `disfa` for `disfa/left`."""
    return corpus.split("/")[0]


def measured(how: EvalOptions, answers: FramePredictions) -> MeasuredMetrics:
    """All figures of answers, in the order of AU numbers; without the AUs that nobody coded."""
    known = [k for k in np.argsort(answers.aus).tolist() if (answers.labels[:, k] >= 0).any()]
    if not known:
        raise EvaluationError("no frame has a known label for any of the AUs")
    aus = [answers.aus[k] for k in known]
    columns = (answers.scores[:, known], answers.labels[:, known])
    at = answers.thresholds[:, known]
    return bootstrap.measure(*columns, answers.subjects, aus, at, resamples=how.resamples, seed=how.seed)


def single(
    setup: EvalData, how: EvalOptions, run: EvaluatedRun, corpus: str, split: str
) -> tuple[Report, list[TestedRun]]:
    """One network on one split."""
    tested = predict_splits(setup, how, run, corpus, split.split("+"))
    name = f"{run.name} on {base_name(corpus)} {split}"
    row = _row(name, measured(how, tested.answers), [tested])
    return _report(name, [row], 0, how, run.meta.corpus, corpus), [tested]


def within(
    setup: EvalData, how: EvalOptions, runs: Sequence[EvaluatedRun], corpus: str
) -> tuple[Report, list[TestedRun]]:
    """Each run on the fold that it left out; the mean over the folds is what tables report."""
    tested = [
        predict_splits(setup, how, run, corpus, [split_name(fold)]) for fold, run in by_fold(runs, corpus).items()
    ]
    folds = [measured(how, one.answers) for one in tested]
    names = [f"{base_name(corpus)} {split_name(fold)}" for fold in range(NUM_FOLDS)]
    rows = [_row(name, m, [one]) for name, m, one in zip(names, folds, tested, strict=True)]
    rows += _means("folds", folds, tested)
    rows.append(_row("all frames at once", measured(how, join([one.answers for one in tested])), tested))
    return _report(f"Within {base_name(corpus)}, three folds", rows, NUM_FOLDS, how, corpus, corpus), tested


def cross(
    setup: EvalData, how: EvalOptions, runs: Sequence[EvaluatedRun], source: str, target: str
) -> tuple[Report, list[TestedRun]]:
    """Fold 0 on fold 0, as published; and every run on the whole target, and their mean.

    Fold 0's run alone will do: that is what the published weights are of.
    """
    folds = by_fold(runs, source, needed=[0])
    splits = [split_name(fold) for fold in range(NUM_FOLDS)]
    whole = [predict_splits(setup, how, run, target, splits) for run in folds.values()]
    first = dataclasses.replace(whole[0], answers=whole[0].answers.of_split(splits[0]))
    rows = [_row("fold 0 on fold 0, as published", measured(how, first.answers), [first])]
    each = [measured(how, one.answers) for one in whole]
    rows += [_row(f"fold {f} on the whole", m, [one]) for f, m, one in zip(folds, each, whole, strict=True)]
    if len(each) > 1:
        rows.append(_row(f"mean of {len(each)} folds on the whole", bootstrap.average(each), whole))
    return _report(f"{base_name(source)} to {base_name(target)}", rows, 0, how, source, target), whole


def efficiency(
    setup: EvalData, how: EvalOptions, runs: Sequence[EvaluatedRun], corpus: str
) -> tuple[Report, list[TestedRun], dict[str, list[tuple[int, MeasuredMetrics]]]]:
    """Runs on few and on all samples, each on the fold that it left out, as a curve a way of counting updates.

    Returns:
      The report; the answers; and per line of the curve the points (training frames, figures).
    """
    groups = _efficiency_groups(runs, corpus)
    asked: dict[Path, TestedRun] = {}
    rows, curves = [], {}
    for line, points in groups.items():
        for samples, members in points.items():
            for run in members:
                if run.weights not in asked:
                    asked[run.weights] = predict_splits(setup, how, run, corpus, [split_name(_fold(run))])
            tested = [asked[run.weights] for run in members]
            mean = bootstrap.average([measured(how, one.answers) for one in tested])
            frames = round(float(np.mean([run.trained_on["frames"] for run in members])))
            updates = round(float(np.mean([run.trained_on["updates"] for run in members])))
            name = f"{f'{samples:,}' if samples else 'all'}, {line} ({updates:,})"
            rows.append(_row(name, mean, tested, samples=samples, frames=frames, updates=updates, line=line))
            curves.setdefault(line, []).append((frames, mean))
    report = _report(f"Data efficiency on {base_name(corpus)}", rows, len(rows) - 1, how, corpus, corpus)
    curve = [{"name": r.name, "mean_f1": r.measured.mean("f1")} | _curve_point(r) for r in rows]
    return dataclasses.replace(report, extra={"curve": curve}), list(asked.values()), curves


PUBLISHED_UPDATES, EQUAL_UPDATES = "published updates", "equal updates"


def _efficiency_groups(runs: Sequence[EvaluatedRun], corpus: str) -> dict[str, dict[int, list[EvaluatedRun]]]:
    """Runs by line and number of samples, ascending; a run with as many updates as with all is in both lines."""
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
            _check_one_a_fold(members, f"{samples or 'all'} samples, {line}")
    return groups


def _check_one_a_fold(runs: Sequence[EvaluatedRun], what: str) -> None:
    if len({run.fold for run in runs}) < len(runs):
        raise EvaluationError(f"several runs of one fold with {what}: {', '.join(run.name for run in runs)}")


def _fold(run: EvaluatedRun) -> int:
    if run.fold is None:
        raise EvaluationError(f"{run.weights} does not say which fold was left out of its training")
    return run.fold


def _curve_point(row: ReportRow) -> dict[str, Any]:
    kept = {key: row.details[key] for key in ("samples", "frames", "updates", "line")}
    return kept | {"mean_f1_interval": list(row.measured.mean_interval("f1"))}


def _means(what: str, parts: Sequence[MeasuredMetrics], tested: Sequence[TestedRun]) -> list[ReportRow]:
    return [
        _row(f"mean of {what}", bootstrap.average(parts), tested),
        _row(f"mean of {what}, by frames", bootstrap.average(parts, by_frames=True), tested),
    ]


def _row(name: str, figures: MeasuredMetrics, tested: Sequence[TestedRun], **more: Any) -> ReportRow:
    runs = [
        describe(one.run)
        | {"tested_on": one.corpus, "splits": sorted(set(one.answers.splits.tolist()))}
        | {"frames": len(one.answers), "subjects": sorted(set(one.answers.subjects.tolist()))}
        | {"thresholds": dict(zip(map(str, one.answers.aus), one.thresholds.tolist(), strict=True))}
        for one in tested
    ]
    return ReportRow(name, figures, {"runs": runs} | more)


def _report(
    title: str, rows: Sequence[ReportRow], headline: int, how: EvalOptions, source: str | None, target: str
) -> Report:
    of_paper = published.row(source or "", target)
    rules = [run["selection"] for row in rows for run in row.details["runs"]]
    said = list(notes(how.words, rules, how.resamples, how.seed))
    if of_paper:
        said.append("Published rows: each network's epoch was selected on the test fold.")
    return Report(title, tuple(rows), headline, (of_paper,) if of_paper else (), tuple(said))

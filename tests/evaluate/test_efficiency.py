"""The data-efficiency curve: which runs make its points, on which folds, and how these are named."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.evaluate import efficiency
from fgnet_jax.evaluate.efficiency import EQUAL_UPDATES, PUBLISHED_UPDATES
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.models.weights import WeightsMeta


def _run(name: str, fold: int | None, corpus: str = "disfa", **trained_on: object) -> EvaluatedRun:
    record = {"subjects": {}, **trained_on} if trained_on else {}
    meta = WeightsMeta(aus=(1,), corpus=corpus, extra={"trained_on": record, "selection": "held out"})
    return EvaluatedRun(name, Path(name), meta, config=None, fold=fold, recorded_sha256=name * 20)


def _trained(name: str, samples: int, updates: int, fold: int = 0, equal: bool = False) -> EvaluatedRun:
    return _run(name, fold, samples=samples, updates=updates, frames=samples or 500, equal_updates=equal)


def test_runs_are_grouped_for_the_efficiency_curve():
    """Group by line and samples, ascending; a run of as many updates as with all samples is in both lines."""
    runs = [_trained("all", 0, 80), _trained("k", 1000, 80), _trained("few", 100, 8), _trained("eq", 100, 80, 0, True)]
    groups = efficiency.group_runs(runs, "disfa")
    names = {line: {n: [run.name for run in group] for n, group in points.items()} for line, points in groups.items()}
    assert names == {
        PUBLISHED_UPDATES: {100: ["few"], 1000: ["k"], 0: ["all"]},
        EQUAL_UPDATES: {100: ["eq"], 1000: ["k"], 0: ["all"]},
    }
    assert [list(points) for points in groups.values()] == [[100, 1000, 0]] * 2


def test_folds_of_different_lengths_are_in_both_lines():
    """Small corpora have fewer batches than an epoch: each fold's run on all samples has updates of its own."""
    updates = {0: 300, 1: 297, 2: 305}
    runs = [_trained(f"f{fold}", 0, count, fold) for fold, count in updates.items()]
    runs += [_trained(f"f{fold}_n100", 100, 8, fold) for fold in updates]
    groups = efficiency.group_runs(runs, "disfa")
    assert {line: {n: len(group) for n, group in points.items()} for line, points in groups.items()} == {
        PUBLISHED_UPDATES: {100: 3, 0: 3},
        EQUAL_UPDATES: {0: 3},
    }
    assert efficiency.common_folds(groups) == [0, 1, 2]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([_trained("all", 0, 80)], "needs runs on few and on all samples; train with samples=100"),
        ([_trained("few", 100, 8)], "needs runs on few and on all samples"),
        ([_trained("all", 0, 80), _trained("a", 100, 8), _trained("b", 100, 8)], "several runs of one fold with 100"),
        ([_run("old", 0)], "old was not trained on disfa by a version that counts its samples"),
    ],
)
def test_runs_that_make_no_curve_are_refused(runs, message):
    """Report what is missing, or twice there."""
    with pytest.raises(EvaluationError, match=message):
        efficiency.group_runs(runs, "disfa")


class _KnownPredictor:
    """Predicts AU 1 rightly in fold 0, and never in other folds, of six frames each."""

    def folds(self, corpus: str) -> tuple[int, ...]:
        return (0, 1, 2)

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        labels = np.array([[1], [0], [1], [0], [1], [1]], np.int8)
        scores = (labels if list(splits) == ["fold_0"] else -np.ones_like(labels)).astype(np.float32)
        names = np.array([f"{splits[0]}{letter}" for letter in "aabbcc"])
        predictions = FramePredictions(
            aus=(1,),
            splits=np.full(6, splits[0]),
            subjects=names,
            sequences=names,
            frames=np.arange(6),
            labels=labels,
            scores=scores,
            thresholds=np.zeros((6, 1)),
        )
        return TestedRun(run=run, corpus=corpus, predictions=predictions, thresholds=np.zeros(1))


def test_every_point_is_of_the_same_folds():
    """Leave out folds 1 and 2, which have no run on few samples, and say so; named in title, rows and report.json."""
    runs = [_trained(f"f{fold}", 0, 80, fold) for fold in range(3)] + [_trained("f0_n100", 100, 8)]
    done = efficiency.efficiency(_KnownPredictor(), EvalOptions(resamples=5), runs=runs, corpus="disfa")
    assert [point["mean_f1"] for point in done.report.extra["curve"]] == [1.0, 1.0, 1.0]
    assert done.report.extra["folds"] == [0] and {tuple(p["folds"]) for p in done.report.extra["curve"]} == {(0,)}
    assert done.report.title == "Data efficiency on disfa, fold 0"
    assert all(row.name.endswith(", fold 0") for row in done.report.rows)
    assert "Left out, since their fold has no run at every point of the curve: f1, f2." in done.report.notes
    assert [tested.run.name for tested in done.tested] == ["f0_n100", "f0"]


def test_a_study_of_several_seeds_makes_a_curve_of_the_first():
    """Studies keep their seeds in one folder; the first is that which has runs on few samples."""
    runs = [_trained("few_s1", 100, 8), *(_trained(name, 0, 80) for name in ("all", "all_s1", "all_s2"))]
    seeds = {"few_s1": 1, "all_s1": 1, "all_s2": 2}
    seeded = [dataclasses.replace(run, config={"seed": seeds.get(run.name, 0)}) for run in runs]
    assert [run.name for run in efficiency.of_one_seed(seeded)] == ["few_s1", "all_s1"]
    assert [run.name for run in efficiency.of_one_seed(runs)] == [run.name for run in runs]
    assert efficiency.of_one_seed([]) == []


def test_a_curve_without_a_fold_at_every_point_is_refused():
    """Report the folds of each point."""
    runs = [_trained("f1", 0, 80, 1), _trained("f0_n100", 100, 8)]
    with pytest.raises(
        EvaluationError, match="no fold has a run at every point.*100 samples, published updates: fold 0"
    ):
        efficiency.efficiency(_KnownPredictor(), EvalOptions(), runs=runs, corpus="disfa")


def test_points_are_named_by_the_frames_that_there_were():
    """Name 8,000 frames where samples=10000 were spec of a corpus of 8,000."""
    assert efficiency.frames_text([100, 100], 100) == "100"
    assert efficiency.frames_text([8000], 10000) == "8,000 (samples=10,000)"
    assert efficiency.frames_text([8000, 7950], 0) == "all (7,950 to 8,000)"

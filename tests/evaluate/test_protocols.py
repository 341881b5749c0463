"""FG-Net's protocols: which runs they take, and how thresholds and metrics are described.

What they compute is tested in test_main.py, on trained runs.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.evaluate import protocols
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.models.weights import WeightsMeta


def _run(name: str, fold: int | None, corpus: str = "disfa", **trained_on: object) -> EvaluatedRun:
    meta = WeightsMeta(aus=(1,), corpus=corpus, extra={"trained_on": trained_on})
    return EvaluatedRun(name=name, weights=Path(name), meta=meta, config=None, fold=fold)


def test_runs_are_found_by_pattern(tmp_path):
    """Refuse a pattern without trained runs, naming a folder that has no weights yet."""
    (tmp_path / "disfa_f0").mkdir()
    with pytest.raises(EvaluationError, match=r"no trained run matches .*disfa_f0 has no best/ \(yet\)"):
        protocols.find_runs(str(tmp_path / "disfa_*"))
    with pytest.raises(EvaluationError, match="no trained run matches .*bp4d"):
        protocols.find_runs(str(tmp_path / "bp4d_*"))


def test_runs_of_the_same_name_are_named_with_their_parent():
    """Name each by the folder above it, too: files of predictions and images are named by runs."""
    places = ("x/disfa/best", "y/disfa/best", "y/bp4d/best", "z/bp4d")
    runs = [dataclasses.replace(_run(place.split("/")[1], 0), weights=Path(place)) for place in places]
    assert [run.name for run in protocols._with_own_names(runs[:3])] == ["x_disfa", "y_disfa", "bp4d"]
    assert [run.name for run in protocols._with_own_names(runs[2:])] == ["y_bp4d", "z_bp4d"]


def test_one_run_per_fold_is_taken():
    """Take runs on all samples, ascending by fold, whatever preparation of the corpus is named."""
    runs = [_run("c", 2), _run("a", 0), _run("few", 0, samples=100), _run("b", 1, corpus="disfa/left")]
    assert {fold: run.name for fold, run in protocols.by_fold(runs, "disfa/left").items()} == {0: "a", 1: "b", 2: "c"}
    assert list(protocols.by_fold(runs[:2], "disfa", needed=[0])) == [0, 2]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([_run("a", 0), _run("b", 0)], "two runs of fold 0: a and b; name one of them with --runs"),
        ([_run("a", None)], "a does not say which fold was left out of its training: --trained_fold"),
        ([_run("a", 0, corpus="bp4d")], "a was trained on bp4d, not on disfa"),
        ([_run("a", 0)], r"no run left out fold 1, 2 of disfa; there is: 0 \(a\)"),
        ([], "no run left out fold 0, 1, 2 of disfa; there is: none"),
    ],
)
def test_runs_that_do_not_make_three_folds_are_refused(runs, message):
    """Report what is missing, or wrong."""
    with pytest.raises(EvaluationError, match=message):
        protocols.by_fold(runs, "disfa")


def _predictions(labels: list[list[int]]) -> FramePredictions:
    names = np.array(["a", "a", "b"])
    return FramePredictions(
        aus=(12, 1, 4),
        splits=names,
        subjects=names,
        sequences=names,
        frames=np.arange(3),
        labels=np.array(labels, np.int8),
        scores=np.array([[0.5, -0.5, 0.1]] * 3, np.float32),
        thresholds=np.zeros((3, 3)),
    )


def test_metrics_are_of_the_aus_that_are_coded():
    """Measure them in the order of AU numbers; refuse predictions without any known label."""
    metrics = protocols.measure(EvalOptions(resamples=5), _predictions([[1, 0, -1], [1, 1, -1], [0, -1, -1]]))
    assert metrics.aus == (1, 12) and metrics.frames.tolist() == [2, 3]
    assert metrics.values["f1"].tolist() == [0, 0.8] and metrics.resampled["f1"].shape == (5, 2)
    with pytest.raises(EvaluationError, match="no frame has a known label"):
        protocols.measure(EvalOptions(), _predictions([[-1] * 3] * 3))


class _OneSubjectPerFold:
    """Predicts ten frames of one subject per fold, of five; AU 2 is present in two of the subjects."""

    def folds(self, corpus: str) -> tuple[int, ...]:
        return tuple(range(5))

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        return TestedRun(run, corpus, join([self._of_fold(split) for split in splits]), np.zeros(2))

    def _of_fold(self, split: str) -> FramePredictions:
        labels = np.array([[1, int(split in ("fold_0", "fold_1"))]] * 4 + [[0, 0]] * 6, np.int8)
        names = np.full(10, split)
        scores = np.where(np.arange(10)[:, None] == 9, 0.5, labels - 0.5).astype(np.float32)  # one mistake each
        numbers = np.arange(10)
        return FramePredictions((1, 2), names, names, names, numbers, labels, scores, np.zeros((10, 2)))


def test_as_many_folds_as_the_corpus_has():
    """A subject each: the report is about all frames, single folds have no intervals, and both are said."""
    trained = [dataclasses.replace(_run(f"mine_f{k}", k, "mine"), recorded_sha256="x") for k in range(5)]
    done = protocols.within(_OneSubjectPerFold(), EvalOptions(resamples=20), runs=trained, corpus="mine")
    report = done.report
    assert report.title == "Within mine, 5 folds" and len(report.rows) == 5 + 3
    assert [row.name for row in report.rows[:2]] == ["mine fold_0", "mine fold_1"]
    assert report.main.name == "all frames at once"
    np.testing.assert_allclose(report.main.metrics.values["f1"], [2 * 20 / (2 * 20 + 5), 2 * 8 / (2 * 8 + 5)])
    np.testing.assert_allclose(report.rows[5].metrics.values["f1"], [8 / 9, 2 / 5 * 8 / 9])
    assert (
        np.isnan(report.rows[0].metrics.interval("f1")).all()
        and np.isnan(report.rows[5].metrics.mean_interval("f1")).all()
    )
    assert np.isfinite(report.main.metrics.interval("f1")).all()
    (note,) = [line for line in report.notes if line.startswith("No intervals")]
    assert "a single subject, who cannot be resampled: mine fold_0, mine fold_1, mine fold_2 and 4 more." in note
    bare = protocols.within(_OneSubjectPerFold(), EvalOptions(resamples=0), runs=trained, corpus="mine").report
    assert bare.main.name == "all frames at once"
    with pytest.raises(EvaluationError, match="no run left out fold 4 of mine; there is: 0"):
        protocols.within(_OneSubjectPerFold(), EvalOptions(), runs=trained[:4], corpus="mine")


def test_no_fold_is_drawn_where_one_is_a_single_subject():
    """Draws of all folds are averaged one by one, so all must have as many."""
    run, options = _run("mine_f0", 0, "mine"), EvalOptions(resamples=7)
    one = _OneSubjectPerFold().tested(run, corpus="mine", splits=["fold_0"])
    two = _OneSubjectPerFold().tested(run, corpus="mine", splits=["fold_1", "fold_2"])
    assert protocols.options_of_folds(options, [two, two]) == options
    assert protocols.options_of_folds(options, [one, two]).resamples == 0


def test_a_corpus_of_many_folds_is_tested_across():
    """On all of its folds; nothing is called published that is not."""
    run = dataclasses.replace(_run("disfa_f0", 0), recorded_sha256="x")
    report = protocols.cross(
        _OneSubjectPerFold(), EvalOptions(resamples=5), runs=[run], source="disfa", target="mine"
    ).report
    assert [row.name for row in report.rows] == ["fold 0 on fold 0", "fold 0 on the whole"]
    assert report.rows[1].metrics.frames.tolist() == [50, 50]

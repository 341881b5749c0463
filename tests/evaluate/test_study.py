"""A study: mean and spread over seeds, mean over folds, intervals over subjects, and which runs are none."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

from fgnet_jax.evaluate import evaluation, report, request, study
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.metrics import bootstrap
from fgnet_jax.train import defaults
from tests.evaluate import untrained
from tests.evaluate.untrained import FRAMES, Predictor

OPTIONS = EvalOptions(resamples=50)


def _run(
    fold: int, seed: int = 0, name: str = "", corpus: str = "disfa", changes: dict[str, Any] | None = None
) -> EvaluatedRun:
    config = defaults.published("disfa", f"fold={fold},seed={seed}")
    config.update_from_flattened_dict(changes or {})
    return untrained.run(config, name, corpus)


def _grid(folds=3, seeds=3) -> list[EvaluatedRun]:
    return [_run(fold, seed) for fold in range(folds) for seed in range(seeds)]


def _study(runs, target="disfa", **options):
    spec = Request(request.STUDY, tuple(runs), target, source="disfa", options=dataclasses.replace(OPTIONS, **options))
    return evaluation.evaluate(Predictor(), spec)


def _f1(fold: int, seed: int) -> np.ndarray:
    predictions = Predictor().tested(_run(fold, seed), corpus="disfa", splits=[f"fold_{fold}"]).predictions
    return np.array([sk.f1_score(*pair) for pair in zip(predictions.labels.T, predictions.scores.T > 0, strict=True)])


def test_means_and_standard_deviations_are_those_of_numpy():
    """Of scikit-learn's F1: over seeds within folds, over folds, and of each seed's mean over folds."""
    done = _study(_grid()).report
    by_run = np.array([[_f1(fold, seed) for seed in range(3)] for fold in range(3)])  # fold, seed, AU
    rows = {row.name: row for row in done.rows}
    spread = done.extra["study"]["standard_deviation"]
    for fold in range(3):
        name = f"disfa fold_{fold}, mean of 3 seeds"
        np.testing.assert_allclose(rows[name].metrics.values["f1"], by_run[fold].mean(0), atol=1e-12)
        assert rows[name].metrics.mean("f1") == pytest.approx(by_run[fold].mean(), abs=1e-12)
        expected = [*by_run[fold].std(0, ddof=1), by_run[fold].mean(1).std(ddof=1)]
        np.testing.assert_allclose([*spread[name]["f1"].values()], expected, atol=1e-12)
    assert done.main.name == "mean of 3 folds, mean of 3 seeds" and done.headline == len(done.rows) - 1
    assert done.main.metrics.mean("f1") == pytest.approx(by_run.mean(), abs=1e-12)
    expected = [*by_run.mean(0).std(0, ddof=1), by_run.mean((0, 2)).std(ddof=1)]
    np.testing.assert_allclose([*spread[done.main.name]["f1"].values()], expected, atol=1e-12)
    assert spread[done.main.name]["f1"].keys() == {"AU01", "AU02", "AU04", "mean"}


def test_intervals_are_over_subjects_with_the_seeds_averaged_within_each_draw():
    """All seeds of a fold are drawn alike; folds are drawn apart."""
    metrics = _study(_grid()).report.main.metrics
    by_fold = []
    for fold in range(3):
        of_fold = [Predictor().tested(_run(fold, seed), corpus="disfa", splits=[f"fold_{fold}"]) for seed in range(3)]
        names = of_fold[0].predictions.subjects
        drawn = bootstrap.draws(sorted(set(names.tolist())), 50, 0)
        member = np.unique(names, return_inverse=True)[1]
        by_seed = []
        for one in of_fold:
            labels, predicted = one.predictions.labels == 1, one.predictions.scores > 0
            weights = drawn[:, member].astype(float)  # (draws, frames)
            tp, both = weights @ (labels & predicted), weights @ labels + weights @ predicted
            by_seed.append(2 * tp / both)
        by_fold.append(np.mean(by_seed, 0))
    expected = np.mean(by_fold, 0)
    np.testing.assert_allclose(metrics.resampled["f1"], expected, atol=1e-12)
    assert metrics.mean_interval("f1") == pytest.approx(tuple(np.quantile(expected.mean(1), (0.025, 0.975))))


def test_frames_are_counted_once():
    """Not once for every seed."""
    done = _study(_grid()).report
    assert done.main.metrics.frames.tolist() == [3 * FRAMES] * 3
    assert next(row for row in done.rows if row.name == "disfa fold_1, mean of 3 seeds").metrics.frames[0] == FRAMES


def test_the_report_has_a_table_of_spreads_and_the_published_row(tmp_path):
    """As text, Markdown, CSV and JSON."""
    done = _study(_grid()).report
    text = report.as_text(done)
    assert "Study of disfa: 3 folds, 3 seeds" in text and "F1 and its standard deviation over seeds:" in text
    mean, sd = done.main.metrics.mean("f1"), done.extra["study"]["standard_deviation"][done.main.name]["f1"]["mean"]
    assert f"{100 * mean:.1f} ± {100 * sd:.1f}" in text and "FG-Net, DISFA" in text and "disfa fold_2, seed 1" in text
    assert "± is the sample standard deviation (n - 1) over seeds" in text
    report.write(done, tmp_path)
    assert f"{100 * mean:.1f} ± {100 * sd:.1f}" in (tmp_path / "seeds.csv").read_text()
    assert "± " in (tmp_path / "report.md").read_text() and report.damage(tmp_path, {}) == []


def test_one_seed_has_no_spread():
    """And says so, where a reader may take one run for a distribution."""
    done = _study(_grid(seeds=1)).report
    assert not done.tables and "One seed: how much the metrics vary with the seed is not known." in done.notes
    assert done.main.name == "mean of 3 folds, seed 0 alone"
    assert done.extra["study"]["standard_deviation"][done.main.name]["f1"]["mean"] is None


def test_another_corpus_is_tested_on_as_a_whole():
    """By every run, on all of its folds."""
    done = _study(_grid(), target="bp4d").report
    assert (
        done.title == "Study of disfa to bp4d: 3 folds, 3 seeds" and done.published[0].name == "FG-Net, DISFA to BP4D"
    )
    first = done.rows[0]
    assert first.name == "disfa to bp4d, fold 0 left out, seed 0"
    assert first.details["runs"][0]["splits"] == ["fold_0", "fold_1", "fold_2"]
    assert done.main.metrics.frames.tolist() == [9 * FRAMES] * 3, "every fold's run has seen all of them"


def test_folds_of_one_subject_are_pooled():
    """Their mean has no interval; that of all frames at once has."""
    spec = Request(request.STUDY, tuple(_grid()), "disfa", source="disfa", options=OPTIONS)
    done = evaluation.evaluate(Predictor(subjects=1), spec).report
    assert done.main.name == "all frames at once, mean of 3 seeds"
    assert done.main.metrics.resampled["f1"].shape == (50, 3) and done.main.metrics.frames[0] == 3 * FRAMES
    assert done.rows[-2].name.startswith("mean of 3 folds") and not len(done.rows[-2].metrics.resampled["f1"])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([*_grid(), _run(0, 3, name="x", changes={"optim.lr": 0.5})], r"optim.lr: 5e-05 there, 0.5 here\. Name others"),
        (
            [*_grid(), _run(0, name="x", changes={"data.samples": 100})],
            "differ in more than fold and seed: data.samples: 0",
        ),
        ([*_grid(), _run(0, 3, name="x", changes={"data.seed": 1})], "data.seed: 0 there, 1 here"),
        ([*_grid(), _run(0, name="x", corpus="bp4d")], "was trained on bp4d, not on a fold of disfa"),
        ([*_grid(), _run(1, 2, name="x")], "two runs of fold 1 with seed 2: disfa_f1_s2/best and x/best"),
        (_grid()[:-1], "no run of fold 2 with seed 2 among the 8 of disfa"),
        (_grid(folds=2, seeds=2), "no run of fold 2 with seed 0, fold 2 with seed 1 among the 4"),
        ([dataclasses.replace(_run(0), config=None)], "disfa_f0/best: no config.json beside the weights"),
    ],
)
def test_what_is_no_study_is_refused(runs, message):
    """Mixtures, and missing runs; the message names them."""
    with pytest.raises(EvaluationError, match=message):
        _study(runs)


def test_what_changes_no_number_may_differ():
    """Where the corpora are, and how many threads read them; and keys that an earlier version did not have."""
    runs = _grid()
    runs[0] = _run(0, 0, changes={"data.dir": "elsewhere", "data.threads": 9})
    older = _run(0, 1).config or {}
    del older["centres"], older["train"]["patience"]
    runs[1] = dataclasses.replace(runs[1], config=older)
    assert _study(runs).report.main.name == "mean of 3 folds, mean of 3 seeds"


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    """Its best epoch may be still to come."""
    runs = [dataclasses.replace(_run(fold), weights=tmp_path / str(fold) / "best") for fold in range(3)]
    for run in runs[:2]:
        run.weights.mkdir(parents=True)
        (run.weights.parent / "results.json").write_text("{}")
    study.check_finished(runs[:2])
    with pytest.raises(EvaluationError, match=r"not finished, no results.json \(yet\): disfa_f2"):
        study.check_finished(runs)

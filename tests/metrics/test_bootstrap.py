"""Metrics and their confidence intervals, against scikit-learn and a resampling frame by frame."""

import numpy as np
import pytest
import sklearn.metrics as sk

from fgnet_jax.metrics import bootstrap, drawn_ranks

AUS = (1, 2, 4, 12)


def _frames(seed: int = 0, count: int = 400, subjects: int = 9):
    """Return scores with ties and labels, a fifth unknown, of subjects who differ, also in their numbers of frames."""
    rng = np.random.default_rng(seed)
    member = np.sort(rng.choice(subjects, count, p=rng.dirichlet(np.full(subjects, 3.0))))
    scores = np.round(rng.normal(size=(count, 4)) + rng.normal(size=(subjects, 4))[member] / 2, 1)
    labels = (scores + rng.normal(size=scores.shape) > 0.4).astype(np.int8)
    labels[rng.random(labels.shape) < 0.2] = -1
    return scores, labels, np.array([f"S{number:02d}" for number in member])


def _by_scikit_learn(scores, labels, threshold) -> dict[str, float]:
    """Compute all metrics of one AU over its known frames; NaN where scikit-learn has no value."""
    known = labels >= 0
    truth, ranks = labels[known], scores[known]
    predicted = (ranks > threshold).astype(int)
    both = len(set(truth.tolist())) == 2
    zero: dict = {"zero_division": 0}
    return {
        "f1": sk.f1_score(truth, predicted, **zero),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted", **zero),
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted)
        if both
        else float(np.mean(truth == predicted)),
        "precision": sk.precision_score(truth, predicted, **zero),
        "recall": sk.recall_score(truth, predicted, **zero),
        "auc": sk.roc_auc_score(truth, ranks) if both else np.nan,
        "average_precision": sk.average_precision_score(truth, ranks) if truth.any() else np.nan,
        "base_rate": float(truth.mean()),
    }  # pyright: ignore


@pytest.mark.parametrize("thresholds", [0.0, np.array([-0.3, 0.1, 0.0, 0.4])], ids=["published", "per AU"])
def test_metrics_equal_scikit_learn(thresholds):
    """Per AU over its known frames, and the mean, to 1e-9."""
    scores, labels, subjects = _frames()
    measured = bootstrap.measure(scores, labels, subjects=subjects, aus=AUS, thresholds=thresholds, resamples=0)
    by_au = np.broadcast_to(thresholds, 4)
    reference = [_by_scikit_learn(scores[:, k], labels[:, k], by_au[k]) for k in range(4)]
    assert set(reference[0]) == set(bootstrap.METRICS)
    for name in bootstrap.METRICS:
        expected = [metrics[name] for metrics in reference]
        np.testing.assert_allclose(measured.values[name], expected, rtol=0, atol=1e-9, err_msg=name)
        assert abs(measured.mean(name) - np.mean(expected)) < 1e-9
    assert measured.frames.tolist() == (labels >= 0).sum(0).tolist()
    assert measured.positives.tolist() == (labels == 1).sum(0).tolist()


def test_intervals_equal_a_direct_computation(monkeypatch):
    """Every draw as a list of frames, those of a subject drawn twice repeated, through scikit-learn."""
    monkeypatch.setattr(drawn_ranks, "_STEPS", 30)  # several blocks
    scores, labels, subjects = _frames(1, 200)
    measured = bootstrap.measure(scores, labels, subjects=subjects, aus=AUS, thresholds=0.1, resamples=40, seed=3)
    names = sorted(set(subjects))
    drawn = []
    for times in bootstrap.draws(names, 40, 3):
        rows = np.concatenate([np.repeat(np.flatnonzero(subjects == n), t) for n, t in zip(names, times, strict=True)])
        drawn.append([_by_scikit_learn(scores[rows, k], labels[rows, k], 0.1) for k in range(4)])
    for name in bootstrap.METRICS:
        values = np.array([[metrics[name] for metrics in draw] for draw in drawn])
        np.testing.assert_allclose(measured.resampled[name], values, rtol=0, atol=1e-9, err_msg=name)
        ends = np.nanquantile(values, (0.025, 0.975), axis=0)
        np.testing.assert_allclose(measured.interval(name), ends, rtol=0, atol=1e-9, err_msg=name)
        mean_ends = np.quantile(values.mean(1), (0.025, 0.975))
        np.testing.assert_allclose(measured.mean_interval(name), mean_ends, rtol=0, atol=1e-9, err_msg=name)


def test_draws_are_of_subjects():
    """As many as there are, with replacement; by seed and names, not by order of calls."""
    times = bootstrap.draws(["a", "b", "c"], 500, 0)
    assert (times.sum(1) == 3).all() and times.max() == 3 and times.min() == 0
    np.testing.assert_array_equal(times, bootstrap.draws(["a", "b", "c"], 500, 0))
    assert (times != bootstrap.draws(["a", "b", "d"], 500, 0)).any()
    assert (times != bootstrap.draws(["a", "b", "c"], 500, 1)).any()


def test_one_subject_has_no_uncertainty():
    """Every draw is of the same subject."""
    scores, labels, _ = _frames()
    measured = bootstrap.measure(scores, labels, subjects=np.full(len(scores), "S"), aus=AUS, resamples=20)
    np.testing.assert_array_equal(*measured.interval("f1"))


def test_the_mean_over_folds():
    """Plain, or by known frames; intervals are those of the mean."""
    folds = []
    for seed, count in ((1, 100), (2, 300)):
        scores, labels, subjects = _frames(seed, count)
        labels[:, 3] = -1 if seed == 1 else labels[:, 3]  # AU12 has no labels in the first fold
        folds.append(bootstrap.measure(scores, labels, subjects=subjects + str(seed), aus=AUS, resamples=50))
    plain, weighted = bootstrap.average(folds), bootstrap.average(folds, by_frames=True)
    a, b = (fold.values["f1"] for fold in folds)
    np.testing.assert_allclose(plain.values["f1"][:3], ((a + b) / 2)[:3])
    shares = folds[0].frames / (folds[0].frames + folds[1].frames)
    np.testing.assert_allclose(weighted.values["f1"][:3], (a * shares + b * (1 - shares))[:3])
    assert plain.values["f1"][3] == b[3], "the fold that has it"
    both = (folds[0].resampled["f1"][:, 0] + folds[1].resampled["f1"][:, 0]) / 2
    np.testing.assert_allclose([x[0] for x in plain.interval("f1")], np.quantile(both, (0.025, 0.975)))


def test_what_has_no_value_is_nan():
    """An AU without labels, and one that is never present; the mean is over the others."""
    scores, labels, subjects = _frames()
    labels[:, 0], labels[:, 1] = -1, np.minimum(labels[:, 1], 0)
    measured = bootstrap.measure(scores, labels, subjects=subjects, aus=AUS, resamples=20)
    assert np.isnan([measured.values[name][0] for name in bootstrap.METRICS]).all()
    assert measured.values["f1"][1] == 0 and np.isnan(measured.values["auc"][1])
    assert np.isnan(measured.interval("auc")[0][:2]).all()
    assert measured.mean("auc") == pytest.approx(measured.values["auc"][2:].mean())
    assert measured.mean("f1") == pytest.approx(measured.values["f1"][1:].mean())


def test_one_rule_for_aus_that_are_rare():
    """Count F1 0 of a fold without positives in every mean; leave out a fold that does not have the AU coded."""
    folds = []
    for seed in (1, 2, 3):
        scores, labels, subjects = _frames(seed)
        labels[:, 0] = np.minimum(labels[:, 0], 0) if seed == 2 else labels[:, 0]
        chosen = [0, 1, 2] if seed == 3 else [0, 1, 2, 3]  # AU12 is coded in no frame of the third fold
        aus = [AUS[k] for k in chosen]
        folds.append(bootstrap.measure(scores[:, chosen], labels[:, chosen], subjects=subjects, aus=aus, resamples=20))
    mean = bootstrap.average(folds)
    a, b, c = (fold.values["f1"] for fold in folds)
    assert mean.aus == AUS and b[0] == 0
    np.testing.assert_allclose(mean.values["f1"][0], (a[0] + 0 + c[0]) / 3)
    np.testing.assert_allclose(mean.values["f1"][3], (a[3] + b[3]) / 2)
    assert mean.frames[3] == folds[0].frames[3] + folds[1].frames[3]
    assert mean.resampled["f1"].shape == (20, 4) and np.isfinite(mean.interval("f1")[0]).all()
    frames = [fold.frames[0] for fold in folds]
    by_frames = bootstrap.average(folds, by_frames=True).values["f1"][0]
    np.testing.assert_allclose(by_frames, (a[0] * frames[0] + c[0] * frames[2]) / sum(frames))

"""Two methods on the same frames: figures by direct computation and SciPy, and how often like methods differ."""

import itertools

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from sklearn import metrics as sklearn_metrics

from fgnet_jax.metrics import bootstrap, paired
from fgnet_jax.metrics.paired import ScoredFrames

AUS = (1, 12)
FRAMES = 25


def _method(subjects: int = 6, *, seed: int, noise: float = 1.0, labels_seed: int = 0) -> ScoredFrames:
    """Scores of two AUs with a bias and noise of each subject's own; labels depend on `labels_seed` alone."""
    names = np.repeat([f"s{k:02d}" for k in range(subjects)], FRAMES)
    rng = np.random.default_rng([labels_seed, subjects])
    labels = (rng.random((len(names), 2)) < np.repeat(rng.uniform(0.1, 0.5, (subjects, 2)), FRAMES, 0)).astype(np.int8)
    labels[rng.random(labels.shape) < 0.05] = -1
    rng = np.random.default_rng([seed, subjects, 1])
    bias = np.repeat(rng.normal(0, 0.5, (subjects, 2)), FRAMES, 0)
    scores = np.round(1.2 * (labels == 1) - 0.6 + bias + rng.normal(0, noise, labels.shape), 2)
    return ScoredFrames(names, labels, scores > 0, scores)


def _direct(name: str, method: ScoredFrames, rows: np.ndarray) -> np.ndarray:
    """A metric by AU over these rows, by scikit-learn."""
    values = []
    for k in range(2):
        chosen = rows[method.labels[rows, k] >= 0]
        labels, present = method.labels[chosen, k], method.present[chosen, k]
        if name == "f1":
            values.append(sklearn_metrics.f1_score(labels, present))
        elif name == "balanced_accuracy":
            values.append(sklearn_metrics.balanced_accuracy_score(labels, present))
        else:
            compute = {
                "auc": sklearn_metrics.roc_auc_score,
                "average_precision": sklearn_metrics.average_precision_score,
            }
            values.append(compute[name](labels, method.scores[chosen, k]))
    return np.array(values)


def _swapped(first: ScoredFrames, second: ScoredFrames, subjects: list[str]) -> ScoredFrames:
    """The first method, with the predictions of the second for these subjects."""
    chosen = np.isin(first.subjects, subjects)[:, None]
    present = np.where(chosen, second.present, first.present)
    return ScoredFrames(first.subjects, first.labels, present, np.where(chosen, second.scores, first.scores))


@pytest.mark.parametrize("name", paired.METRICS)
def test_values_intervals_and_p_are_those_of_a_direct_computation(name):
    """Scores have ties; draws repeat a subject's frames, and swaps exchange them."""
    first, second = _method(seed=1, noise=1.5), _method(seed=2, noise=0.7)
    found = paired.compare(first, second, aus=AUS, metrics=[name], resamples=60).differences[name]
    every = np.arange(len(first.subjects))
    np.testing.assert_allclose(found.first, _direct(name, first, every), atol=1e-12)
    np.testing.assert_allclose(found.second, _direct(name, second, every), atol=1e-12)
    names = np.unique(first.subjects)
    drawn = []
    for weights in bootstrap.draws(names.tolist(), 60, seed=0):
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(first.subjects == s), n) for s, n in zip(names, weights, strict=True)]
        )
        drawn.append(_direct(name, second, rows) - _direct(name, first, rows))
    np.testing.assert_allclose(found.interval, np.quantile(drawn, (0.025, 0.975), axis=0), atol=1e-12)
    np.testing.assert_allclose(found.corrected, np.quantile(drawn, (0.0125, 0.9875), axis=0), atol=1e-12)
    means = np.mean(drawn, 1)
    np.testing.assert_allclose(found.mean_interval, np.quantile(means, (0.025, 0.975)), atol=1e-12)


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy"])
def test_p_is_that_of_every_swap(name):
    """By SciPy's permutation test of paired samples, which are the subjects' counts; and by swapping the frames."""
    first, second = _method(seed=1, noise=1.2), _method(seed=2, noise=0.9)
    comparison = paired.compare(first, second, aus=AUS, metrics=[name], resamples=0)
    found, names = comparison.differences[name], np.unique(first.subjects).tolist()
    assert comparison.is_exact and comparison.swaps == 2 ** (len(names) - 1)
    every = np.arange(len(first.subjects))

    def difference(swaps: tuple[int, ...]) -> np.ndarray:
        chosen = [s for s, is_swapped in zip(names, swaps, strict=True) if is_swapped]
        a, b = _swapped(first, second, chosen), _swapped(second, first, chosen)
        return _direct(name, b, every) - _direct(name, a, every)

    after = np.array([difference(swaps) for swaps in itertools.product((0, 1), repeat=len(names))])
    observed = after[0]
    np.testing.assert_allclose(found.difference, observed, atol=1e-12)
    np.testing.assert_allclose(found.p, (np.abs(after) >= np.abs(observed) - 1e-9).mean(0))
    np.testing.assert_allclose(found.mean_p, (np.abs(after.mean(1)) >= np.abs(observed.mean()) - 1e-9).mean())

    def statistic(of_first: np.ndarray, of_second: np.ndarray) -> float:
        """`of_first` and `of_second` are subjects, those of the second method numbered on."""
        both = [first, second]

        def value(members: np.ndarray) -> float:
            parts = [both[int(m >= len(names))] for m in members]
            rows = [
                np.flatnonzero(p.subjects == names[int(m) % len(names)]) for p, m in zip(parts, members, strict=True)
            ]
            arrays = [
                [getattr(p, key)[r] for p, r in zip(parts, rows, strict=True)]
                for key in ("subjects", "labels", "present", "scores")
            ]
            subjects, labels, present, scores = map(np.concatenate, arrays)
            joined = ScoredFrames(subjects, labels, present, scores)
            return _direct(name, joined, np.arange(len(joined.subjects)))[0]

        return value(of_second) - value(of_first)

    members = np.arange(len(names), dtype=float)
    tested = scipy.stats.permutation_test(
        (members, members + len(names)), statistic, permutation_type="samples", n_resamples=2**20, vectorized=False
    )
    np.testing.assert_allclose(found.p[0], tested.pvalue, atol=1e-12)


def test_random_swaps_count_the_observed_one():
    """Where there are more swaps than are tried; and p is near that of all of them."""
    first, second = _method(12, seed=1, noise=1.1), _method(12, seed=2, noise=0.9)
    exact, drawn = (
        paired.compare(first, second, aus=AUS, metrics=["f1"], resamples=0, permutations=n) for n in (2048, 2000)
    )
    assert exact.is_exact and not drawn.is_exact and drawn.swaps == 2000
    np.testing.assert_allclose(drawn.differences["f1"].p, exact.differences["f1"].p, atol=0.04)
    assert (drawn.differences["f1"].p * 2001 % 1).round(6).max() in (0, 1) and drawn.smallest_p == 1 / 2001
    assert exact.smallest_p == 1 / 2048


def test_holm():
    """Step by step, and never falling; what is not tested does not count."""
    np.testing.assert_allclose(paired.holm(np.array([0.01, 0.04, np.nan, 0.03])), [0.03, 0.06, np.nan, 0.06])
    np.testing.assert_allclose(paired.holm(np.array([0.5, 0.9])), [1, 1])


def test_scores_on_another_scale_are_the_same_method():
    """Ranks alone count, after swaps too."""
    first = _method(seed=1)
    second = ScoredFrames(first.subjects, first.labels, first.present, np.exp(3 * first.scores) + 100)
    comparison = paired.compare(first, second, aus=AUS, resamples=20)
    for found in comparison.differences.values():
        np.testing.assert_array_equal(found.difference, 0)
        np.testing.assert_array_equal([*found.p, found.mean_p], 1)


def test_repeats_are_one_method():
    """Networks that predict alike give the figures of one of them, beside a method of one network."""
    first, second = _method(seed=1), _method(seed=2)
    arrays = (np.repeat(getattr(first, name), 3, 0) for name in ("subjects", "labels", "present", "scores"))
    single, repeated = (
        paired.compare(method, second, aus=AUS, resamples=50) for method in (first, ScoredFrames(*arrays, repeats=3))
    )
    assert (
        repeated.frames.tolist() == single.frames.tolist() and repeated.positives.tolist() == single.positives.tolist()
    )
    for name in paired.METRICS:
        one, three = single.differences[name], repeated.differences[name]
        for field in ("first", "second", "interval", "p", "p_holm"):
            np.testing.assert_allclose(getattr(three, field), getattr(one, field), atol=1e-9, err_msg=f"{name} {field}")


def test_means_over_folds():
    """Values and draws are those of the folds' reports."""
    first, second = _method(seed=1), _method(seed=2)
    folds = np.array([0, 1, 0, 1, 0, 1])
    found = paired.compare(first, second, aus=AUS, metrics=["f1", "auc"], folds=folds, resamples=40).differences
    reports = []
    for method in (first, second):
        of_frame = np.repeat(folds, FRAMES)
        parts = [
            bootstrap.measure(
                method.scores[rows], method.labels[rows], subjects=method.subjects[rows], aus=AUS, resamples=40
            )
            for rows in (of_frame == 0, of_frame == 1)
        ]
        reports.append(bootstrap.average(parts))
    for name in ("f1", "auc"):
        np.testing.assert_allclose(found[name].first, reports[0].values[name], atol=1e-12)
        drawn = reports[1].resampled[name] - reports[0].resampled[name]
        np.testing.assert_allclose(found[name].interval, np.quantile(drawn, (0.025, 0.975), axis=0), atol=1e-12)


def test_what_has_no_value_is_not_tested():
    """An AU that is never present, and the curves of a method without scores."""
    first, second = _method(seed=1), _method(seed=2)
    labels = np.where(np.arange(2) == 1, np.minimum(first.labels, 0), first.labels)
    first = ScoredFrames(first.subjects, labels, first.present, np.full(first.scores.shape, np.nan))
    second = ScoredFrames(second.subjects, labels, second.present, second.scores)
    found = paired.compare(first, second, aus=AUS, resamples=20).differences
    assert found["f1"].tests == 1 and np.isnan(found["f1"].p_holm[1]) and found["f1"].difference[1] == 0
    assert found["f1"].p_holm[0] == found["f1"].p[0]
    assert found["auc"].tests == 0 and np.isnan([*found["auc"].difference, found["auc"].mean_p]).all()


def test_one_subject_cannot_be_compared():
    """Since subjects are what is drawn; nor can methods of different ones."""
    one, others = _method(1, seed=1), _method(3, seed=1)
    for pair in ((one, one), (one, others)):
        with pytest.raises(ValueError, match="the same two or more subjects"):
            paired.compare(*pair, aus=AUS)


def _smooth(rng: np.random.Generator, frames: int, aus: int, correlation: float) -> np.ndarray:
    """Noise (frames, aus) of variance 1, neighbouring frames of which are correlated."""
    noise = rng.normal(size=(frames + 100, aus)) * np.sqrt(1 - correlation**2)
    return np.asarray(scipy.signal.lfilter([1], [1, -correlation], noise, axis=0))[100:]


def _relabelled(rng: np.random.Generator, subjects: int) -> tuple[ScoredFrames, ScoredFrames]:
    """Two noisy copies of one method on a corpus like DISFA, whose labels are swapped by a coin for each subject.

    AUs are present in 5 to 28 % of the frames, in runs, oftener in some subjects; copies share most mistakes.
    """
    frames, rates = 300, np.array([0.05, 0.15, 0.08, 0.28])
    cut = scipy.stats.norm.isf(rates)
    parts = []
    for k in range(subjects):
        latent = 0.8 * _smooth(rng, frames, 4, 0.95) + rng.normal(0, 0.6, 4)
        shared = latent + 0.5 * _smooth(rng, frames, 4, 0.9) + rng.normal(0, 0.4, 4)
        copies = [shared + 0.4 * _smooth(rng, frames, 4, 0.9) + rng.normal(0, 0.5, 4) - cut for _ in range(2)]
        order = rng.permutation(2)
        parts.append((np.full(frames, f"s{k:02d}"), (latent > cut).astype(np.int8), copies[order[0]], copies[order[1]]))
    names, labels, *scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    first, second = (ScoredFrames(names, labels, s > 0, s) for s in scores)
    return first, second


@pytest.mark.parametrize(("subjects", "metrics"), [(9, ("f1", "auc")), (27, ("f1", "balanced_accuracy"))])
def test_a_method_is_found_to_differ_from_itself_in_one_case_of_twenty(subjects, metrics):
    """Over 200 relabellings, per AU and of the mean, within the binomial interval; after Holm, of any AU."""
    rng = np.random.default_rng(7)
    of_au, of_mean, of_any = [], [], []
    for seed in range(200):
        pair = _relabelled(rng, subjects)
        result = paired.compare(*pair, aus=(1, 4, 6, 25), metrics=metrics, resamples=0, permutations=399, seed=seed)
        for found in result.differences.values():
            of_au.append(found.p <= 0.05)
            of_mean.append(found.mean_p <= 0.05)
            of_any.append((found.p_holm <= 0.05).any())
    low, high = scipy.stats.binom.interval(0.99, 200, 0.05)
    by_au = np.reshape(of_au, (200, 2, 4)).sum(0)  # of 200 each, by metric and AU
    by_mean, by_any = (np.reshape(values, (200, 2)).sum(0) for values in (of_mean, of_any))
    assert (by_au >= low).all() and (by_au <= high).all(), by_au
    assert (by_mean >= low).all() and (by_mean <= high).all(), by_mean
    assert (by_any >= 1).all() and (by_any <= high).all(), by_any


def test_a_better_method_is_found():
    """With less noise on the same frames: every AU and the mean."""
    first, second = _method(20, seed=1, noise=2.0), _method(20, seed=2, noise=0.5)
    for found in paired.compare(first, second, aus=AUS, resamples=200).differences.values():
        assert (found.difference > 0.05).all() and (found.p_holm < 0.01).all() and found.mean_p < 0.01
        assert (found.corrected[0] > 0).all() and (found.corrected[0] <= found.interval[0]).all()

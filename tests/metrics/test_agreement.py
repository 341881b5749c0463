"""Agreement of intensities: ICC(3,1), mean absolute error and Pearson's correlation, by hand and over subjects."""

import itertools

import numpy as np
import pytest
from scipy import stats

from fgnet_jax.metrics import agreement, bootstrap


def _faces(seed=0, frames=400, aus=3):
    """Return estimates, coded intensities of 0 to 5, and subjects."""
    rng = np.random.default_rng(seed)
    coded = rng.integers(0, 6, (frames, aus)).astype(np.float32)
    estimates = np.clip(0.7 * coded + rng.normal(0.5, 1, coded.shape), 0, 5)
    return estimates, coded, np.array([f"S{k % 7}" for k in range(frames)])


def _anova_icc(*raters):
    """Compute ICC(3,1) from the mean squares of a two-way analysis of variance (Shrout and Fleiss)."""
    ratings = np.stack(raters, 1).astype(np.float64)
    n, k = ratings.shape
    rows, columns = ratings.mean(1, keepdims=True), ratings.mean(0, keepdims=True)
    between = k * ((rows - ratings.mean()) ** 2).sum() / (n - 1)
    residual = ((ratings - rows - columns + ratings.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    return (between - residual) / (between + (k - 1) * residual)


def test_the_metrics_are_those_of_a_direct_computation():
    """The ICC by analysis of variance, the correlation by SciPy, the error by NumPy; to 1e-9."""
    estimates, coded, subjects = _faces()
    measured = agreement.measure(estimates, coded, subjects=subjects, aus=(1, 2, 4), resamples=0)
    for k in range(3):
        x, y = estimates[:, k], coded[:, k].astype(np.float64)
        assert measured.values["icc"][k] == pytest.approx(_anova_icc(x, y), abs=1e-9)
        assert measured.values["pearson"][k] == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-9)
        assert measured.values["mae"][k] == pytest.approx(np.abs(x - y).mean(), abs=1e-9)


def test_the_icc_is_that_of_shrout_and_fleiss():
    """The analysis of variance gives the 0.71 of their four judges; the measure is the same for each two of them."""
    judges = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]]) / 2
    assert _anova_icc(*judges) == pytest.approx(0.71, abs=0.005)
    for first, second in itertools.combinations(judges, 2):
        icc = agreement.measure(first[:, None], second[:, None], subjects=np.array(["S"] * 6), aus=(1,)).values["icc"]
        assert icc[0] == pytest.approx(_anova_icc(first, second), abs=1e-12)


def test_an_offset_costs_the_icc_nothing_and_another_scale_does():
    """It is the ICC of consistency: raters may differ by a constant."""
    coded = np.tile(np.array([0.0, 1, 2, 3]), 5)[:, None]
    subjects = np.array(["S"] * 20)
    icc = [
        agreement.measure(x, coded, subjects=subjects, aus=(1,), resamples=0).values["icc"][0]
        for x in (coded, coded + 1.5, 0.5 * coded)
    ]
    np.testing.assert_allclose(icc, [1, 1, 2 * 0.5 / (0.25 + 1)], atol=1e-12)


def test_unknown_intensities_and_missing_estimates_are_left_out():
    """The rest is measured as if they had not been there."""
    estimates, coded, subjects = _faces()
    with_gaps, gone = estimates.copy(), coded.copy()
    with_gaps[:100], gone[100:150] = np.nan, -1
    gaps = agreement.measure(with_gaps, gone, subjects=subjects, aus=(1, 2, 4), resamples=0)
    rest = agreement.measure(estimates[150:], coded[150:], subjects=subjects[150:], aus=(1, 2, 4), resamples=0)
    assert gaps.frames.tolist() == [250] * 3
    assert gaps.positives.tolist() == (coded[150:] >= 2).sum(0).tolist()
    for name in agreement.METRICS:
        np.testing.assert_allclose(gaps.values[name], rest.values[name], atol=1e-12)


def test_what_has_no_value_is_nan_and_left_out_of_the_mean():
    """Four AUs: never coded, coded always alike, estimated always alike, and one like any other."""
    estimates, coded, subjects = _faces(aus=4)
    coded[:, 0], coded[:, 1], estimates[:, 2] = -1, 1, 1.7
    measured = agreement.measure(estimates, coded, subjects=subjects, aus=(1, 2, 4, 6), resamples=20)
    icc, mae, pearson = (measured.values[name] for name in agreement.METRICS)
    assert np.isnan(icc[:2]).all()
    assert icc[2] == 0, "estimates that say nothing agree with nothing, which counts"
    assert np.isnan(pearson[:3]).all()
    assert np.isnan(mae[0])
    assert np.isfinite(mae[1:]).all()
    assert measured.mean("icc") == pytest.approx((0 + icc[3]) / 2)
    assert np.isnan(measured.interval("icc")[0][:2]).all()
    assert agreement.without_value(measured) == {1: "no frame to compare", 2: "all coded intensities are the same"}


def test_intervals_are_those_of_drawn_subjects():
    """A draw has every frame of a subject as often as the subject is drawn."""
    estimates, coded, subjects = _faces()
    measured = agreement.measure(estimates, coded, subjects=subjects, aus=(1, 2, 4), resamples=5, seed=3)
    names = sorted(set(subjects.tolist()))
    for b, times in enumerate(bootstrap.draws(names, 5, 3)):
        rows = np.concatenate([np.tile(np.flatnonzero(subjects == s), n) for s, n in zip(names, times, strict=True)])
        drawn = agreement.measure(estimates[rows], coded[rows], subjects=subjects[rows], aus=(1, 2, 4), resamples=0)
        for name in agreement.METRICS:
            np.testing.assert_allclose(measured.resampled[name][b], drawn.values[name], atol=1e-12)
    low, high = measured.interval("icc")
    assert (low < high).all()


def test_agreement_is_averaged_over_folds_like_other_metrics():
    """AU by AU; one that a fold has not coded is averaged over the others."""
    estimates, coded, subjects = _faces()
    both = agreement.measure(estimates, coded, subjects=subjects, aus=(1, 2, 4), resamples=4)
    one = agreement.measure(estimates[:, :1], coded[:, :1] * 0.5, subjects=subjects, aus=(1,), resamples=4)
    mean = bootstrap.average([both, one])
    assert mean.values["icc"][0] == pytest.approx((both.values["icc"][0] + one.values["icc"][0]) / 2)
    assert mean.values["icc"][1:].tolist() == both.values["icc"][1:].tolist()


@pytest.mark.parametrize(
    ("estimate", "coded", "expected"),
    [(5.2, 1.0, "estimated intensities must be 0 to 5"), (1.0, 6.0, "coded intensities"), (1.0, np.nan, "-1")],
)
def test_values_out_of_range_are_refused(estimate, coded, expected):
    """A score that is no intensity is no small disagreement."""
    with pytest.raises(ValueError, match=expected):
        agreement.measure(np.array([[estimate]]), np.array([[coded]]), subjects=np.array(["S"]), aus=(1,))

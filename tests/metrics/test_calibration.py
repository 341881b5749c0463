"""Calibration of scores to intensities: monotone, fitted to held-out frames, kept by weights."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from fgnet_jax.metrics import calibration
from fgnet_jax.metrics.calibration import Calibration, CalibrationError


def _held_out(frames=300, seed=0):
    """Return scores and intensities of two AUs that grow with them, with ties among the scores, and labels."""
    rng = np.random.default_rng(seed)
    coded = rng.integers(0, 6, (frames, 2)).astype(np.float32)
    return np.round(0.06 * coded - 0.1 + rng.normal(0, 0.08, coded.shape), 2), coded, (coded >= 2).astype(np.int8)


def test_isotonic_regression_is_that_of_scikit_learn():
    """Within, between and beyond the scores that it was fitted to, to 1e-9."""
    scores, coded, _ = _held_out()
    at = np.linspace(-0.5, 0.5, 2001)
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores[:, 0], coded[:, 0]).predict(at)
    np.testing.assert_allclose(np.interp(at, *calibration.isotonic(scores[:, 0], coded[:, 0])), expected, atol=1e-9)


def test_no_other_function_that_keeps_its_side_of_2_is_better():
    """At the scores that it was fitted to, against scikit-learn's regression with bounds, on either side of score 0."""
    scores, coded, labels = _held_out()
    chosen = scores[:, 0] != 0
    x, y = scores[chosen, 0], coded[chosen, 0]
    fitted = calibration.fit(x[:, None], y[:, None], labels[chosen, :1], aus=(1,)).intensities(x[:, None], (1,))[:, 0]
    for side, low, high in ((x < 0, 0, 1.999), (x > 0, 2, 5)):
        expected = IsotonicRegression(y_min=low, y_max=high).fit_transform(x[side], y[side])
        np.testing.assert_allclose(fitted[side], expected, atol=1e-6)


def test_presence_and_intensity_never_contradict_each_other():
    """A score above 0 is at least a 2, others are less, also with the three digits of tables."""
    scores, coded, labels = _held_out()
    at = np.concatenate([np.linspace(-0.4, 0.4, 999), [0.0, 1e-7, -1e-7]])
    values = calibration.fit(scores, coded, labels, aus=(1, 12)).intensities(at[:, None], (1,))[:, 0]
    np.testing.assert_array_equal(np.round(values, 3) >= 2, at > 0)


@pytest.mark.parametrize("threshold", [1, 3])
def test_a_corpus_with_another_threshold_of_presence_keeps_it(threshold):
    """Its labels say where the sign of a score changes."""
    scores, coded, _ = _held_out()
    labels = (coded >= threshold).astype(np.int8)
    at = np.array([[-0.05], [0.0], [1e-6], [0.05]])
    values = calibration.fit(scores, coded, labels, aus=(1, 12)).intensities(at, (1,))[:, 0]
    np.testing.assert_array_equal(values >= threshold, [False, False, True, True])


def test_a_corpus_of_another_threshold_that_shows_nobody_with_an_au_has_the_lowest_threshold_that_fits():
    """Absent up to 2, and never present: present from 3 on, not from 5."""
    scores, coded, _ = _held_out()
    coded = np.minimum(coded, 2)
    values = calibration.fit(scores, coded, np.zeros(coded.shape, np.int8), aus=(1, 12)).intensities(
        np.array([[0.05]]), (1,)
    )
    np.testing.assert_allclose(values, 3)


def test_a_side_without_a_held_out_frame_ends_at_2():
    """No score was above 0: nothing says how much higher intensities are there."""
    scores, coded, labels = _held_out()
    fitted = calibration.fit(scores - 1, coded, labels, aus=(1, 12))
    np.testing.assert_allclose(fitted.intensities(np.array([[0.0], [0.4]]), (1,))[:, 0], [1.999, 2], atol=1e-6)


def test_a_higher_score_is_never_a_lower_intensity_and_all_are_within_0_and_5():
    """Whatever the scores: it is monotone where held-out frames were not."""
    scores, coded, _ = _held_out()
    fitted = calibration.fit(scores, 5 - coded, (coded <= 3).astype(np.int8), aus=(1, 12))
    values = fitted.intensities(np.linspace(-1, 1, 99)[:, None], (1,))
    assert (np.diff(values[:, 0]) >= 0).all()
    assert 0 <= values.min() <= values.max() <= 5


def test_unknown_intensities_are_left_out():
    """-1 is not an intensity below 0."""
    scores, coded, labels = _held_out()
    unknown = coded.copy()
    unknown[::2] = -1
    first = calibration.fit(scores, unknown, labels, aus=(1, 12)).curves[1]
    second = calibration.fit(scores[1::2], coded[1::2], labels[1::2], aus=(1, 12)).curves[1]
    np.testing.assert_array_equal(first, second)


def test_an_au_that_held_out_frames_show_at_one_intensity_alone_has_no_intensity():
    """Not 0, which would be a made-up value."""
    scores, coded, labels = _held_out()
    coded[:, 1] = 0
    fitted = calibration.fit(scores, coded, labels, aus=(1, 12))
    assert fitted.aus == (1,)
    values = fitted.intensities(scores, (1, 12))
    assert np.isfinite(values[:, 0]).all()
    assert np.isnan(values[:, 1]).all()


def test_a_score_that_is_not_finite_has_no_intensity():
    """A face without a result."""
    fitted = calibration.fit(*_held_out(), aus=(1, 12))
    values = fitted.intensities(np.array([[np.nan, 0.1]]), (1, 12))
    assert np.isnan(values[0, 0])
    assert np.isfinite(values[0, 1])


def test_weights_give_back_the_same_function():
    """It is kept as JSON, bit for bit, with the subjects that it was fitted on."""
    scores, *coded = _held_out()
    fitted = calibration.fit(scores, *coded, aus=(1, 12), fitted_on={"disfa": ["SN001"]})
    stored = calibration.of_weights({calibration.KEY: fitted.to_dict()}, (12, 1))
    assert isinstance(stored, Calibration)
    assert stored.fitted_on == {"disfa": ["SN001"]}
    assert stored.rule == calibration.RULE
    assert stored.sha256 == fitted.sha256
    np.testing.assert_array_equal(stored.intensities(scores, (1, 12)), fitted.intensities(scores, (1, 12)))


def test_weights_that_know_presence_alone_have_none():
    """None, and no function that gives something anyway."""
    assert calibration.of_weights({"step": 3}, (1, 12)) is None


@pytest.mark.parametrize(
    "curves",
    [
        {"AU01": {"scores": [0.1, 0.0], "intensities": [1.0, 2.0]}},
        {"AU01": {"scores": [0.0, 0.1], "intensities": [2.0, 1.0]}},
        {"AU01": {"scores": [0.0, 0.1], "intensities": [1.0, 7.0]}},
        {"AU01": {"scores": [], "intensities": []}},
        {"AU43": {"scores": [0.0], "intensities": [1.0]}},
        ["AU01"],
    ],
)
def test_a_damaged_calibration_is_refused(curves):
    """Scores that do not increase, intensities that decrease or are none, an AU that the weights lack."""
    with pytest.raises(CalibrationError, match="calibration of intensities is damaged"):
        calibration.of_weights({calibration.KEY: {"curves": curves, "fitted_on": {}}}, (1, 12))

"""Confusion counts and F1, against scikit-learn and by hand."""

import numpy as np
import pytest
import sklearn.metrics

from fgnet_jax.metrics.classification import ConfusionCounts, always_present_f1, confusion, f1, mean_f1


def _predictions(frames: int = 500, aus: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores around 0 and labels, a fifth unknown; column 3 is never present nor predicted present."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(frames, aus)).astype(np.float32)
    labels = rng.choice([-1, 0, 1], size=(frames, aus), p=[0.2, 0.5, 0.3]).astype(np.int8)
    scores[:, 3], labels[:, 3] = -1, np.minimum(labels[:, 3], 0)
    return scores, labels


@pytest.mark.parametrize("thresholds", [0.0, np.linspace(-0.5, 0.5, 12)], ids=["zero", "per AU"])
def test_f1_equals_scikit_learn(thresholds):
    """Per AU over its known frames, and the mean, to 1e-9."""
    scores, labels = _predictions()
    counts = confusion(scores, labels, thresholds)
    predicted = (scores > thresholds).astype(int)
    known = [labels[:, k] >= 0 for k in range(12)]
    expected = [
        sklearn.metrics.f1_score(labels[known[k], k], predicted[known[k], k], zero_division=0)  # pyright: ignore
        for k in range(12)
    ]
    np.testing.assert_allclose(f1(counts), expected, rtol=0, atol=1e-9)
    assert abs(mean_f1(counts) - np.mean(expected)) < 1e-9
    assert f1(counts).dtype == np.float64 and f1(counts)[3] == 0


def test_an_au_without_labels_is_left_out_of_the_mean():
    """Count an AU that is coded and never present as 0, as published; leave out one that is known in no frame."""
    scores = np.array([[0.5, -0.5, 0.5], [-0.5, -0.5, 0.5]])
    labels = np.array([[1, 0, -1], [0, 0, -1]])
    assert mean_f1(confusion(scores, labels)) == 0.5
    assert np.isnan(mean_f1(confusion(scores[:, 2:], labels[:, 2:])))


def test_always_present():
    """Compare with the F1 of predicting "present" for every frame."""
    labels = np.array([[1], [0], [0], [1], [0]])
    expected = f1(confusion(np.ones((5, 1)), labels))
    np.testing.assert_allclose(always_present_f1(labels.mean(0)), expected, rtol=1e-12)


def test_counts_equal_scikit_learn():
    """All four kinds, as int64."""
    scores, labels = _predictions()
    counts = confusion(scores, labels)
    for k in range(12):
        known = labels[:, k] >= 0
        expected = sklearn.metrics.confusion_matrix(labels[known, k], scores[known, k] > 0, labels=[0, 1])
        assert [[counts.tn[k], counts.fp[k]], [counts.fn[k], counts.tp[k]]] == expected.tolist()
    assert counts.tp.dtype == np.int64


def test_counts_of_batches_add_up():
    """For any batches, padding with unknown labels included."""
    scores, labels = _predictions()
    padded = np.full((7, 12), np.nan), np.full((7, 12), -1)
    parts = [confusion(scores[k : k + 90], labels[k : k + 90]) for k in range(0, 500, 90)] + [confusion(*padded)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    np.testing.assert_array_equal(f1(total), f1(confusion(scores, labels)))


def test_a_score_at_the_threshold_is_absent():
    """An AU is predicted present strictly above its threshold."""
    counts = confusion(np.array([[0.0], [1e-30]]), np.array([[1], [1]]))
    assert (counts.tp.item(), counts.fn.item()) == (1, 1)


def test_f1_of_many_counts_at_once():
    """Leading axes stay, for resampling."""
    counts = ConfusionCounts(**{kind: np.arange(6).reshape(3, 2) for kind in ("tp", "fp", "fn", "tn")})
    assert f1(counts).shape == (3, 2)
    assert f1(counts)[0, 0] == 0 and f1(counts)[2, 1] == 0.5


def test_bad_input_is_named():
    """Shapes, values that are no labels (BP4D's 9), scores that are not finite."""
    with pytest.raises(ValueError, match=r"\(2, 3\), \(2, 2\)"):
        confusion(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"also \[9\]"):
        confusion(np.zeros((1, 2)), np.array([[0, 9]]))
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        confusion(np.array([[np.nan, np.inf]]), np.array([[-1, 1]]))

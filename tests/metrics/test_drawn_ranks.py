"""Curves over many draws of subjects, against the same frame by frame."""

import numpy as np
import pytest

from fgnet_jax.metrics import classification, drawn_ranks


def _frames(count: int = 300, subjects: int = 7):
    """Return scores with many ties, labels and subjects."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=count), 1)
    return scores, (scores + rng.normal(size=count) > 0.8).astype(np.int8), rng.integers(0, subjects, count)


@pytest.mark.parametrize("chunk", [1, 10, 192])
@pytest.mark.parametrize("times", [1, 3 * drawn_ranks._EXACT])  # beyond what float32 holds exactly
def test_every_draw_equals_its_frames(monkeypatch, chunk, times):
    """Whatever is in memory at once, and however often a subject is drawn; a draw without a class has no value."""
    monkeypatch.setattr(drawn_ranks, "_STEPS", chunk)
    monkeypatch.setattr(drawn_ranks, "_DRAWS", chunk)
    monkeypatch.setattr(drawn_ranks, "_PRODUCT", 210 * chunk)  # blocks of 30 draws, filled up
    scores, labels, member = _frames()
    labels[member == 6] = 0
    weights = np.random.default_rng(1).integers(0, 3, (20, 7)) * times
    weights[0] = 0, 0, 0, 0, 0, 0, 1
    expected = classification.rank_metrics(scores, labels, weights[:, member])
    for name in classification.RANK_METRICS:
        actual = getattr(drawn_ranks, name)(scores, labels, member, weights)
        np.testing.assert_allclose(actual, expected[name], rtol=0, atol=1e-12)
        assert np.isnan(actual[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_without_ties(dtype):
    """Scores as a network gives them, each frame a step of its own, and more draws than a block has."""
    rng = np.random.default_rng(2)
    member = rng.integers(0, 5, 2000)
    scores = rng.normal(size=2000).astype(dtype)
    labels = (rng.random(2000) < 0.3).astype(np.int8)
    weights = rng.multinomial(5, np.full(5, 0.2), size=300)
    expected = classification.rank_metrics(scores, labels, weights[:, member])
    for name in classification.RANK_METRICS:
        actual = getattr(drawn_ranks, name)(scores, labels, member, weights)
        np.testing.assert_allclose(actual, expected[name], rtol=0, atol=1e-12)


def test_nothing_is_known():
    """No frame of an AU is labelled."""
    nothing = np.zeros(0), np.zeros(0, np.int8), np.zeros(0, np.int64), np.ones((3, 2))
    assert np.isnan(drawn_ranks.auc(*nothing)).all()
    assert np.isnan(drawn_ranks.average_precision(*nothing)).all()

"""Metrics that epochs are selected by, against scikit-learn's."""

import numpy as np
import pytest

from fgnet_jax.train import evaluator
from fgnet_jax.train.evaluator import ScoredFaces

SKLEARN = {"f1": "f1_score", "balanced_accuracy": "balanced_accuracy_score"}
RANKED = {"auc": "roc_auc_score", "average_precision": "average_precision_score"}


def scored(seed=0):
    """Return scores of 60 faces and three AUs, of which some labels are unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 2, (60, 3)).astype(np.int8)
    scores = np.tanh(rng.normal(size=(60, 3)) + labels * [0.2, 0.8, 2.0]).astype(np.float32)
    return ScoredFaces(scores, labels, np.arange(60))


@pytest.mark.parametrize("metric", evaluator.METRICS)
def test_means_equal_scikit_learns(metric):
    """The plain mean over AUs, each on its known labels."""
    sklearn = pytest.importorskip("sklearn.metrics")
    faces, values = scored(), []
    for k in range(3):
        known = faces.labels[:, k] >= 0
        labels, scores = faces.labels[known, k], faces.scores[known, k]
        function = getattr(sklearn, (SKLEARN | RANKED)[metric])
        values.append(function(labels, scores if metric in RANKED else scores > 0))
    assert faces.mean(metric) == pytest.approx(np.mean(values), abs=1e-12)


def test_aus_without_a_value_are_left_out():
    """One that is always present has no AUC; an unknown one has nothing."""
    faces = scored()
    more = np.stack([np.ones(60), np.full(60, -1)], 1).astype(np.int8)
    wider = ScoredFaces(np.tile(faces.scores[:, :1], 5), np.concatenate([faces.labels, more], 1), faces.indices)
    fewer = ScoredFaces(wider.scores[:, :3], wider.labels[:, :3], faces.indices)
    assert wider.mean("auc") == fewer.mean("auc")


def test_what_can_be_selected_by():
    """AUC needs both kinds of faces of an AU, average precision a positive one, the others any label."""
    both, positive, negative, unknown = (
        np.array(rows, np.int8) for rows in ([[1, -1], [0, -1]], [[1, -1]], [[0, 0]], [[-1, -1]])
    )
    able = {
        name: [metric for metric in evaluator.METRICS if evaluator.selectable(labels, metric)]
        for name, labels in {"both": both, "positive": positive, "negative": negative, "unknown": unknown}.items()
    }
    assert able == {
        "both": ["f1", "auc", "average_precision", "balanced_accuracy"],
        "positive": ["f1", "average_precision", "balanced_accuracy"],
        "negative": ["f1", "balanced_accuracy"],
        "unknown": [],
    }

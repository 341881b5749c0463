"""Binary classification metrics of AUs: confusion counts, and the metrics computed from them or from scores.

NumPy only. Counts add up, so a metric over many batches, or many folds, is the metric of the sum of their counts. Names
and conventions are scikit-learn's, with `zero_division=0`, as in the published evaluation. One rule for what is rare:

- An AU that is coded but never present has F1, precision and recall 0, which count in every mean.
- What has no value at all (any metric of an AU without known labels, a curve over one class) is NaN, and is left out of
  every mean.
"""

import dataclasses

import numpy as np

COUNT_METRICS = ("f1", "weighted_f1", "accuracy", "balanced_accuracy", "precision", "recall", "base_rate")
"""Metrics of predictions at a threshold (`count_metrics`)."""

RANK_METRICS = ("auc", "average_precision")
"""Metrics of scores over all thresholds (`rank_metrics`)."""


@dataclasses.dataclass(frozen=True)
class ConfusionCounts:
    """Predictions of K AUs counted by kind; `a + b` counts the frames of both.

    Attributes:
      tp: int64 (K,) or (..., K): present and predicted present.
      fp: Absent, but predicted present.
      fn: Present, but predicted absent.
      tn: Absent and predicted absent.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def __add__(self, other: "ConfusionCounts") -> "ConfusionCounts":
        return ConfusionCounts(
            tp=self.tp + other.tp, fp=self.fp + other.fp, fn=self.fn + other.fn, tn=self.tn + other.tn
        )


def confusion(scores: np.ndarray, labels: np.ndarray, thresholds: float | np.ndarray = 0.0) -> ConfusionCounts:
    """Count predictions by kind; an AU is predicted present where its score is above its threshold.

    Args:
      scores: (N, K), finite wherever the label is known.
      labels: (N, K): 1 present, 0 absent, -1 unknown; unknown labels are not counted.
      thresholds: One for all AUs, (K,), or (N, K). FG-Net's is 0.

    Raises:
      ValueError: Scores and labels have different shapes, there is another label, or the score of a known label is not
        finite.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    _check(scores, labels)
    predicted = scores > np.asarray(thresholds, np.float64)
    present, absent = labels == 1, labels == 0
    return ConfusionCounts(
        tp=(present & predicted).sum(0, dtype=np.int64),
        fp=(absent & predicted).sum(0, dtype=np.int64),
        fn=(present & ~predicted).sum(0, dtype=np.int64),
        tn=(absent & ~predicted).sum(0, dtype=np.int64),
    )


def f1(counts: ConfusionCounts) -> np.ndarray:
    """Compute F1 per AU, 2 TP / (2 TP + FP + FN).

    Returns:
      float64 (K,), or of the counts' shape, in [0, 1]; 0 where an AU is neither present nor predicted present in any
      frame (`zero_division=0` in scikit-learn's terms).
    """
    hits = 2.0 * counts.tp
    total = hits + counts.fp + counts.fn
    return hits / np.maximum(total, 1)


def mean_f1(counts: ConfusionCounts) -> float:
    """Compute the plain mean of F1 over the AUs, as in the last column of FG-Net's tables.

    Returns:
      In [0, 1]; over the AUs that are known in some frame, NaN if none is.
    """
    known = (counts.tp + counts.fp + counts.fn + counts.tn) > 0
    return float(f1(counts)[known].mean()) if known.any() else float("nan")


def always_present_f1(base_rate: np.ndarray) -> np.ndarray:
    """Compute the F1 of predicting "present" for every frame, 2 r / (1 + r) at a base rate of r."""
    return 2 * base_rate / (1 + base_rate)


def count_metrics(counts: ConfusionCounts) -> dict[str, np.ndarray]:
    """Compute all metrics of predictions at a threshold, each float64 of the counts' shape.

    Returns:
      By name, as in `COUNT_METRICS`: `f1`; `weighted_f1`, the F1 of "present" and that of "absent", weighted by the
      frames of each (`average="weighted"`); `accuracy`; `balanced_accuracy`, the mean recall of the classes that occur;
      `precision`; `recall`; `base_rate`, the share of positive frames. NaN where an AU has no known frame.
    """
    present, absent = counts.tp + counts.fn, counts.fp + counts.tn
    known = present + absent
    recall, specificity = _ratio(counts.tp, present), _ratio(counts.tn, absent)
    of_absent = f1(ConfusionCounts(tp=counts.tn, fp=counts.fn, fn=counts.fp, tn=counts.tp))
    metrics = {
        "f1": f1(counts),
        "weighted_f1": _ratio(present * f1(counts) + absent * of_absent, known),
        "accuracy": _ratio(counts.tp + counts.tn, known),
        "balanced_accuracy": _ratio(recall + specificity, (present > 0) * 1 + (absent > 0)),
        "precision": _ratio(counts.tp, counts.tp + counts.fp),
        "recall": recall,
        "base_rate": _ratio(present, known),
    }
    return {name: np.where(known > 0, value, np.nan) for name, value in metrics.items()}


def rank_metrics(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Compute the area under the ROC curve, and the average precision, of one AU.

    Args:
      scores: (N,).
      labels: (N,): 1, 0 or -1; frames whose label is unknown are left out.
      weights: (B, N), how often each frame counts in each of B resamples; by default (1, N) ones.

    Returns:
      `auc` and `average_precision`, float64 (B,). Equal scores are one step of the curves. NaN where a class
      is missing (for average precision: where the AU is never present).
    """
    known = np.flatnonzero(np.asarray(labels) >= 0)
    if not known.size:
        return {name: np.full(1 if weights is None else len(weights), np.nan) for name in RANK_METRICS}
    order = known[np.argsort(-np.asarray(scores, np.float64)[known], kind="stable")]
    ends = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True))
    weighted = np.ones((1, len(order))) if weights is None else np.asarray(weights, np.float64)[:, order]
    predicted = np.cumsum(weighted, 1)[:, ends]
    hits = np.cumsum(weighted * (np.asarray(labels)[order] == 1), 1)[:, ends]
    new = np.diff(hits, axis=1, prepend=0)
    new_false = np.diff(predicted - hits, axis=1, prepend=0)
    present = hits[:, -1]
    absent = predicted[:, -1] - present
    area = ((hits - new / 2) * new_false).sum(1)
    precision = (new * hits / np.maximum(predicted, 1e-300)).sum(1)
    return {"auc": _or_nan(area, present * absent), "average_precision": _or_nan(precision, present)}


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Compute `part / total`, 0 where total is 0."""
    return np.where(np.asarray(total) > 0, part / np.maximum(total, 1), 0.0)


def _or_nan(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Compute `part / total`, NaN where total is 0."""
    return np.divide(part, total, out=np.full(len(part), np.nan), where=total > 0)


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must both be (frames, AUs); they have shapes {scores.shape}, {labels.shape}"
        )
    others = np.setdiff1d(labels, (-1, 0, 1))
    if others.size:
        raise ValueError(
            f"labels must be 1 (present), 0 (absent) or -1 (unknown); there are also {others[:5].tolist()}"
        )
    count = int((~np.isfinite(scores) & (labels >= 0)).sum())
    if count:
        raise ValueError(f"{count} of {scores.size} scores are not finite: has the network diverged?")

"""How well AUs are told: counts of right and wrong answers, and the figures that tables are of.

NumPy only. Counts add, so a figure over many batches, or many folds, is the figure of the sum of their counts. Names
and conventions are scikit-learn's, with `zero_division=0`; what has no value at all (an AU that nobody coded, a curve
over one class) is NaN.
"""

import dataclasses

import numpy as np

COUNT_METRICS = ("f1", "weighted_f1", "accuracy", "balanced_accuracy", "precision", "recall", "base_rate")
"""Figures of answers at a threshold (`count_metrics`)."""

RANK_METRICS = ("auc", "average_precision")
"""Figures of scores at all thresholds (`rank_metrics`)."""


@dataclasses.dataclass(frozen=True)
class ConfusionCounts:
    """Answers by kind, for K AUs; `a + b` counts the frames of both.

    Attributes:
      tp: int64 (K,) or (..., K): present, and said so.
      fp: Absent, but said to be present.
      fn: Present, but said to be absent.
      tn: Absent, and said so.
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def __add__(self, other: "ConfusionCounts") -> "ConfusionCounts":
        return ConfusionCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def confusion(scores: np.ndarray, labels: np.ndarray, thresholds: float | np.ndarray = 0.0) -> ConfusionCounts:
    """Counts right and wrong answers; an AU is said to be present where its score is above its threshold.

    Args:
      scores: (N, K), finite wherever the label is known.
      labels: (N, K): 1 present, 0 absent, -1 unknown; what is unknown is counted nowhere.
      thresholds: One for all AUs, or (K,). FG-Net's is 0.

    Raises:
      ValueError: for scores and labels of different shapes, another label, or a known label whose score is not finite.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    _check(scores, labels)
    said = scores > np.asarray(thresholds, np.float64)
    present, absent = labels == 1, labels == 0
    kinds = (present & said, absent & said, present & ~said, absent & ~said)
    return ConfusionCounts(*(kind.sum(0, dtype=np.int64) for kind in kinds))


def f1(counts: ConfusionCounts) -> np.ndarray:
    """F1 per AU, 2 TP / (2 TP + FP + FN).

    Returns:
      float64 (K,), or as the counts are shaped, in 0..1; 0 where an AU is neither present nor said to be in any frame
      (`zero_division=0` in scikit-learn's words).
    """
    hits = 2.0 * counts.tp
    total = hits + counts.fp + counts.fn
    return hits / np.maximum(total, 1)


def mean_f1(counts: ConfusionCounts) -> float:
    """The plain mean of F1 over the AUs, which FG-Net's tables end in; in 0..1."""
    return float(f1(counts).mean())


def count_metrics(counts: ConfusionCounts) -> dict[str, np.ndarray]:
    """All figures of answers at a threshold, each float64 shaped as the counts are.

    Returns:
      By name, as in `COUNT_METRICS`: `f1`; `weighted_f1`, the F1 of "present" and that of "absent", weighted by the frames of
      each (`average="weighted"`); `accuracy`; `balanced_accuracy`, the mean recall of the classes that are there;
      `precision`; `recall`; `base_rate`, the share of positive frames. NaN where an AU has no known frame.
    """
    present, absent = counts.tp + counts.fn, counts.fp + counts.tn
    known = present + absent
    recall, specificity = _ratio(counts.tp, present), _ratio(counts.tn, absent)
    of_absent = f1(ConfusionCounts(counts.tn, counts.fn, counts.fp, counts.tp))
    figures = {
        "f1": f1(counts),
        "weighted_f1": _ratio(present * f1(counts) + absent * of_absent, known),
        "accuracy": _ratio(counts.tp + counts.tn, known),
        "balanced_accuracy": _ratio(recall + specificity, (present > 0) * 1 + (absent > 0)),
        "precision": _ratio(counts.tp, counts.tp + counts.fp),
        "recall": recall,
        "base_rate": _ratio(present, known),
    }
    return {name: np.where(known > 0, value, np.nan) for name, value in figures.items()}


def rank_metrics(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Area under the ROC curve, and average precision, of one AU.

    Args:
      scores: (N,).
      labels: (N,): 1, 0 or -1; frames whose label is unknown are left out.
      weights: (B, N), how often each frame counts, once for each of B resamples; by default (1, N) ones.

    Returns:
      `auc` and `average_precision`, float64 (B,). Equal scores are one step of the curves. NaN where a class is
      missing (for average precision: where nothing is present).
    """
    known = np.flatnonzero(np.asarray(labels) >= 0)
    if not known.size:
        return {name: np.full(1 if weights is None else len(weights), np.nan) for name in RANK_METRICS}
    order = known[np.argsort(-np.asarray(scores, np.float64)[known], kind="stable")]
    ends = np.flatnonzero(np.append(np.diff(np.asarray(scores)[order]) != 0, True))
    weighted = np.ones((1, len(order))) if weights is None else np.asarray(weights, np.float64)[:, order]
    said = np.cumsum(weighted, 1)[:, ends]
    hits = np.cumsum(weighted * (np.asarray(labels)[order] == 1), 1)[:, ends]
    new = np.diff(hits, axis=1, prepend=0)
    new_false = np.diff(said - hits, axis=1, prepend=0)
    present = hits[:, -1]
    absent = said[:, -1] - present
    area = ((hits - new / 2) * new_false).sum(1)
    precision = (new * hits / np.maximum(said, 1e-300)).sum(1)
    return {"auc": _or_nan(area, present * absent), "average_precision": _or_nan(precision, present)}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, 0 where whole is 0."""
    return np.where(np.asarray(whole) > 0, part / np.maximum(whole, 1), 0.0)


def _or_nan(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _check(scores: np.ndarray, labels: np.ndarray) -> None:
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            f"scores and labels must both be (frames, AUs); they have shapes {scores.shape}, {labels.shape}"
        )
    odd = np.setdiff1d(labels, (-1, 0, 1))
    if odd.size:
        raise ValueError(f"labels must be 1 (present), 0 (absent) or -1 (unknown); there are also {odd[:5].tolist()}")
    lost = int((~np.isfinite(scores) & (labels >= 0)).sum())
    if lost:
        raise ValueError(f"{lost} of {scores.size} scores are not finite: has the network diverged?")

"""How well AUs are told: counts of right and wrong answers, and the F1 that FG-Net's tables are of.

NumPy only. Counts add, so a figure over many batches, or many folds, is the figure of the sum of their counts.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Counts:
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

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def confusion(scores: np.ndarray, labels: np.ndarray, thresholds: float | np.ndarray = 0.0) -> Counts:
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
    return Counts(*(kind.sum(0, dtype=np.int64) for kind in kinds))


def f1(counts: Counts) -> np.ndarray:
    """F1 per AU, 2 TP / (2 TP + FP + FN).

    Returns:
      float64 (K,), or as the counts are shaped, in 0..1; 0 where an AU is neither present nor said to be in any frame
      (`zero_division=0` in scikit-learn's words).
    """
    hits = 2.0 * counts.tp
    total = hits + counts.fp + counts.fn
    return hits / np.maximum(total, 1)


def mean_f1(counts: Counts) -> float:
    """The plain mean of F1 over the AUs, which FG-Net's tables end in; in 0..1."""
    return float(f1(counts).mean())


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

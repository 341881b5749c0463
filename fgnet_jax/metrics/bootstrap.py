"""Figures with their uncertainty: 95 % intervals by resampling subjects.

Frames of one person are anything but independent, so people are drawn, with replacement, and each brings all of their
frames (the percentile bootstrap over clusters). NumPy only.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from fgnet_jax.metrics import classification

METRICS = (*classification.COUNT_METRICS[:-1], *classification.RANK_METRICS, "base_rate")
"""Every figure that is measured, in the order of tables."""

LEVEL = 0.95
"""Share of the resamples that lies within an interval."""

RESAMPLES = 1000
"""Draws of subjects, unless asked otherwise."""

_CHUNK = 2**20  # values of (resamples, frames) that are worked on at once


@dataclasses.dataclass(frozen=True)
class MeasuredMetrics:
    """Figures of K AUs.

    Attributes:
      aus: The K AU numbers.
      frames: (K,) frames whose label is known.
      positives: (K,) of these, those in which the AU is present.
      values: Each of `METRICS` (K,), as fractions; NaN where there is no value.
      resampled: The same over B draws of subjects, (B, K).
    """

    aus: tuple[int, ...]
    frames: np.ndarray
    positives: np.ndarray
    values: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]

    def mean(self, figure: str) -> float:
        """The plain mean of a figure over the AUs that have a value."""
        return float(_mean(self.values[figure], -1))

    def interval(self, figure: str) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of a figure's intervals, (K,) each."""
        return _interval(self.resampled[figure])

    def mean_interval(self, figure: str) -> tuple[float, float]:
        """The interval of `mean`."""
        low, high = _interval(_mean(self.resampled[figure], -1)[:, None])
        return float(low[0]), float(high[0])


def measure(
    scores: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    aus: Sequence[int],
    thresholds: float | np.ndarray = 0.0,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeasuredMetrics:
    """Measures all figures of scored frames, AU by AU over its known frames.

    Args:
      scores: (N, K).
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      subjects: (N,) who each frame shows.
      aus: The K AU numbers.
      thresholds: One, (K,), or (N, K).
      resamples: B; 0 for no intervals.
      seed: Of the draws. They depend on it and on the subjects' names alone, so that two networks that are tested on
        the same people are resampled alike.

    Raises:
      ValueError: as `classification.confusion`.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    names, member = np.unique(np.asarray(subjects), return_inverse=True)
    times = draws(names.tolist(), resamples, seed)
    counts = classification.confusion(scores, labels, thresholds)
    values = classification.count_metrics(counts) | _ranks(scores, labels, member, np.ones((1, len(names))))
    values |= {name: value[0] for name, value in values.items() if name in classification.RANK_METRICS}
    by_subject = _counts_by_subject(scores, labels, thresholds, member, len(names))
    resampled = classification.count_metrics(classification.ConfusionCounts(*(times @ part for part in by_subject)))
    resampled |= _ranks(scores, labels, member, times)
    known, present = (labels >= 0).sum(0), (labels == 1).sum(0)
    return MeasuredMetrics(tuple(aus), known, present, *({k: d[k] for k in METRICS} for d in (values, resampled)))


def draws(names: Sequence[str], count: int, seed: int) -> np.ndarray:
    """How often each of these S people is drawn in each of `count` draws of S, (count, S) int64."""
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)


def average(parts: Sequence[MeasuredMetrics], by_frames: bool = False) -> MeasuredMetrics:
    """The mean over several sets (folds, or networks), and of their resamples: set by set, draw by draw.

    Args:
      parts: Of the same AUs and as many resamples.
      by_frames: Whether an AU's value in a set counts by the set's known frames; otherwise all sets count alike.

    Returns:
      Figures whose `frames` and `positives` are the sums over the sets.
    """
    frames, positives = (np.stack([getattr(p, name) for p in parts]) for name in ("frames", "positives"))
    weights = frames if by_frames else np.ones_like(frames)
    values = {k: _mean(np.stack([p.values[k] for p in parts]), 0, weights) for k in METRICS}
    resampled = {k: _mean(np.stack([p.resampled[k] for p in parts]), 0, weights[:, None]) for k in METRICS}
    return MeasuredMetrics(parts[0].aus, frames.sum(0), positives.sum(0), values, resampled)


def _counts_by_subject(scores, labels, thresholds, member: np.ndarray, subjects: int) -> list[np.ndarray]:
    """The four kinds of answers of each subject, (S, K) each, in the order of `classification.ConfusionCounts`."""
    thresholds = np.broadcast_to(np.asarray(thresholds, np.float64), scores.shape)
    own = [member == s for s in range(subjects)]
    parts = [classification.confusion(scores[mine], labels[mine], thresholds[mine]) for mine in own]
    return [np.stack([getattr(part, kind) for part in parts]) for kind in ("tp", "fp", "fn", "tn")]


def _ranks(scores: np.ndarray, labels: np.ndarray, member: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """`classification.rank_metrics` of every AU under every draw, (B, K)."""
    step = max(1, _CHUNK // max(len(member), 1))
    chunks = [times[k : k + step] for k in range(0, len(times), step)] or [times]
    columns = []
    for k in range(scores.shape[1]):
        parts = [classification.rank_metrics(scores[:, k], labels[:, k], part[:, member]) for part in chunks]
        columns.append({name: np.concatenate([part[name] for part in parts]) for name in classification.RANK_METRICS})
    return {name: np.stack([column[name] for column in columns], 1) for name in classification.RANK_METRICS}


def _interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of each column (B, K) over the draws in which it has a value; NaN where it has none."""
    ends = np.full((2, resampled.shape[1]), np.nan)
    for k, column in enumerate(resampled.T):
        there = column[np.isfinite(column)]
        if there.size:
            ends[:, k] = np.quantile(there, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return ends[0], ends[1]


def _mean(values: np.ndarray, axis: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean of what is not NaN; NaN where all is."""
    there = np.isfinite(values)
    counted = there * (1.0 if weights is None else weights)
    total = counted.sum(axis)
    summed = (np.where(there, values, 0) * counted).sum(axis)
    return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)

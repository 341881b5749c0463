"""Metrics with their uncertainty: 95 % confidence intervals by resampling subjects.

Frames of one subject are anything but independent, so subjects are drawn, with replacement, each with all of their
frames (the percentile bootstrap over clusters). NumPy only.
"""

import concurrent.futures
import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from fgnet_jax.metrics import classification, drawn_ranks
from fgnet_jax.metrics.classification import ConfusionCounts
from fgnet_jax.runtime import workers

METRICS = (*classification.COUNT_METRICS[:-1], *classification.RANK_METRICS, "base_rate")
"""Names of all metrics, in the order of tables."""

LEVEL = 0.95
"""Confidence level: the share of resamples within an interval."""

RESAMPLES = 1000
"""Default number of draws of subjects."""


@dataclasses.dataclass(frozen=True)
class MeasuredMetrics:
    """Metrics of K AUs.

    Attributes:
      aus: The K AU numbers.
      frames: Number of frames whose label is known, (K,).
      positives: Number of these in which the AU is present, (K,).
      values: Each of `METRICS`, (K,), as fractions, or of `agreement.METRICS`; NaN where there is no value.
      resampled: The same for B draws of subjects, (B, K).
    """

    aus: tuple[int, ...]
    frames: np.ndarray
    positives: np.ndarray
    values: dict[str, np.ndarray]
    resampled: dict[str, np.ndarray]

    def mean(self, metric: str) -> float:
        """Compute the plain mean of a metric over the AUs that have a value."""
        return float(_mean(self.values[metric], -1))

    def interval(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Compute the lower and upper ends of a metric's confidence intervals, (K,) each."""
        return _interval(self.resampled[metric])

    def mean_interval(self, metric: str) -> tuple[float, float]:
        """Compute the ends of the confidence interval of `mean`."""
        low, high = _interval(_mean(self.resampled[metric], -1)[:, None])
        return float(low[0]), float(high[0])


def measure(
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    subjects: np.ndarray,
    aus: Sequence[int],
    thresholds: float | np.ndarray = 0.0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> MeasuredMetrics:
    """Compute all metrics of scored frames, for each AU over the frames whose label is known.

    Args:
      scores: (N, K).
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      subjects: (N,), the subject that each frame shows.
      aus: The K AU numbers.
      thresholds: One number, (K,), or (N, K).
      resamples: Number of draws of subjects, B; 0 for no intervals.
      seed: Seed of the draws. They depend on it and on the subjects' names alone, so that two networks tested on the
        same subjects are resampled alike.

    Raises:
      ValueError: As `classification.confusion` raises it.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    names, member = np.unique(np.asarray(subjects), return_inverse=True)
    weights = draws(names.tolist(), resamples, seed)
    counts = classification.confusion(scores, labels, thresholds)
    ranked = _rank_metrics(scores, labels, member, np.concatenate([np.ones((1, len(names)), np.int64), weights]))
    values = classification.count_metrics(counts) | {name: value[0] for name, value in ranked.items()}
    by_subject = _counts_by_subject(scores, labels, np.asarray(thresholds, np.float64), member)
    resampled = classification.count_metrics(
        ConfusionCounts(**{kind: weights @ counts for kind, counts in by_subject.items()})
    )
    resampled |= {name: value[1:] for name, value in ranked.items()}
    return MeasuredMetrics(
        aus=tuple(aus),
        frames=(labels >= 0).sum(0),
        positives=(labels == 1).sum(0),
        values={name: values[name] for name in METRICS},
        resampled={name: resampled[name] for name in METRICS},
    )


def draws(names: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Draw S of these S subjects with replacement, `count` times; return how often each is drawn, (count, S) int64."""
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)


def average(parts: Sequence[MeasuredMetrics], by_frames: bool = False) -> MeasuredMetrics:
    """Average metrics over several sets (folds, or networks), and their resamples draw by draw.

    An AU's mean is over the sets in which the metric has a value: F1 is 0 in a set that has the AU coded and never
    present, and counts; a set without a known label of the AU is left out.

    Args:
      parts: Metrics with the same number of resamples. Their AUs may differ, where one is coded in some sets alone.
      by_frames: Whether an AU's value in a set is weighted by the set's known frames; otherwise all weigh the same.

    Returns:
      Metrics whose `frames` and `positives` are the sums over the sets.
    """
    aus = tuple(sorted({au for part in parts for au in part.aus}))
    if any(part.aus != parts[0].aus for part in parts):
        parts = [_with_aus(part, aus) for part in parts]
    frames, positives = (np.stack([getattr(p, name) for p in parts]) for name in ("frames", "positives"))
    weights = frames if by_frames else np.ones_like(frames)
    return MeasuredMetrics(
        aus=parts[0].aus,
        frames=frames.sum(0),
        positives=positives.sum(0),
        values={k: _mean(np.stack([p.values[k] for p in parts]), 0, weights) for k in parts[0].values},
        resampled={k: _mean(np.stack([p.resampled[k] for p in parts]), 0, weights[:, None]) for k in parts[0].values},
    )


def _with_aus(metrics: MeasuredMetrics, aus: tuple[int, ...]) -> MeasuredMetrics:
    """Return metrics of these AUs, in this order; those of an AU that is not measured are NaN over 0 frames."""
    places = [metrics.aus.index(au) if au in metrics.aus else len(metrics.aus) for au in aus]

    def chosen(values: np.ndarray, missing: float) -> np.ndarray:
        filler = np.full((*values.shape[:-1], 1), missing, values.dtype)
        return np.concatenate([values, filler], -1)[..., places]

    return MeasuredMetrics(
        aus=aus,
        frames=chosen(metrics.frames, 0),
        positives=chosen(metrics.positives, 0),
        values={name: chosen(values, np.nan) for name, values in metrics.values.items()},
        resampled={name: chosen(values, np.nan) for name, values in metrics.resampled.items()},
    )


def _counts_by_subject(
    scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray, member: np.ndarray
) -> dict[str, np.ndarray]:
    """Count predictions of each subject, (S, K) of each kind, by its name in `ConfusionCounts`."""
    thresholds = np.broadcast_to(thresholds, scores.shape)
    frames = [member == subject for subject in range(len(np.unique(member)))]
    parts = [classification.confusion(scores[rows], labels[rows], thresholds[rows]) for rows in frames]
    return {kind: np.stack([getattr(part, kind) for part in parts]) for kind in ("tp", "fp", "fn", "tn")}


def _rank_metrics(
    scores: np.ndarray, labels: np.ndarray, member: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute `classification.rank_metrics` of every AU for every draw, (B, K).

    Args:
      scores: (N, K).
      labels: (N, K).
      member: (N,), each frame's subject as an index.
      weights: (B, S), how often each subject is drawn.
    """

    def of_au(k: int) -> tuple[np.ndarray, np.ndarray]:
        known = labels[:, k] >= 0
        arguments = scores[known, k], labels[known, k], member[known], weights
        return drawn_ranks.auc(*arguments), drawn_ranks.average_precision(*arguments)

    with concurrent.futures.ThreadPoolExecutor(workers.cores()) as pool:  # NumPy computes without Python's lock
        columns = list(pool.map(of_au, range(scores.shape[1])))
    return {
        name: np.stack(values, 1)
        for name, values in zip(classification.RANK_METRICS, zip(*columns, strict=True), strict=True)
    }


def _interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the interval of each column (B, K) over the draws in which it has a value; NaN where it has none."""
    ends = np.full((2, resampled.shape[1]), np.nan)
    for k, column in enumerate(resampled.T):
        finite = column[np.isfinite(column)]
        if finite.size:
            ends[:, k] = np.quantile(finite, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return ends[0], ends[1]


def _mean(values: np.ndarray, axis: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Compute the (weighted) mean of the values that are not NaN; NaN where all are."""
    is_finite = np.isfinite(values)
    weights = is_finite * (1.0 if weights is None else weights)
    total = weights.sum(axis)
    summed = (np.where(is_finite, values, 0) * weights).sum(axis)
    return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)

"""Two methods on the same frames: the difference of their metrics, with its uncertainty over subjects.

Both methods see the same subjects, so everything is paired by subject. Frames of one subject are anything but
independent, so subjects are what is drawn or swapped, each with all of their frames:

- Intervals: percentiles of the difference over draws of subjects with replacement, the same draws for both methods (the
  paired bootstrap over clusters; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13).
- p values: approximate randomisation (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; for F1: Yeh,
  COLING 2000). Were the methods alike, their predictions of any subject could be swapped. So they are swapped for half
  of the subjects, at random, and p is the share of swaps after which the difference is at least as large, in either
  direction. It holds its level with any number of subjects, which no bootstrap does with 9 to 41 of them. All swaps
  are tried where these are few enough; else p counts the observed one too (Phipson and Smyth, SAGMB 9(1), 2010).
- Several AUs: Holm's step-down correction of p (Scandinavian Journal of Statistics 6, 1979) over the AUs of a metric,
  and intervals at the level that Bonferroni gives for as many.

NumPy only.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from fgnet_jax.metrics import bootstrap, classification, drawn_ranks
from fgnet_jax.metrics.classification import ConfusionCounts

METRICS = ("f1", "auc", "average_precision", "balanced_accuracy")
"""Metrics that are compared, in the order of tables."""

LEVEL = bootstrap.LEVEL
"""Confidence level of an interval, and of all of a metric's intervals together where they are corrected."""

RESAMPLES, PERMUTATIONS = 5_000, 4_999
"""Default numbers of draws and of swaps: corrected intervals and p values need more than single ones do."""

_STEPS = 2048  # different scores of an AU in draws and swaps of average precision; fewer frames are not rounded
_TIE = 1e-12  # differences closer than this are the same: sums of float64 in another order


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredFrames:
    """A method's predictions for the frames of a comparison.

    Attributes:
      subjects: (N,) str, the subject that each frame shows.
      labels: (N, K): 1 present, 0 absent, -1 unknown or left out.
      present: (N, K) bool, whether the AU is predicted present.
      scores: (N, K) float, for the metrics over all thresholds, which an AU with any NaN lacks.
      repeats: How often each frame comes: the number of networks that are the method, whose counts are added.
    """

    subjects: np.ndarray
    labels: np.ndarray
    present: np.ndarray
    scores: np.ndarray
    repeats: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class MetricDifference:
    """The difference of a metric between two methods, second minus first; NaN where an AU has none.

    Attributes:
      first: The metric of the first method by AU, (K,).
      second: The metric of the second.
      interval: Lower and upper end by AU, (2, K).
      corrected: The same, at the level at which all AUs' intervals hold together.
      p: By AU, (K,), not corrected; NaN for an AU that is not tested.
      p_holm: Corrected for the number of AUs that are tested.
      means: The mean over AUs of the first and of the second method.
      mean_interval: Lower and upper end of the difference of the means.
      mean_p: p of the difference of the means: one test, so not corrected.
    """

    first: np.ndarray
    second: np.ndarray
    interval: np.ndarray
    corrected: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    means: tuple[float, float]
    mean_interval: tuple[float, float]
    mean_p: float

    @property
    def difference(self) -> np.ndarray:
        """Second minus first by AU, (K,)."""
        return self.second - self.first

    @property
    def mean_difference(self) -> float:
        """Second minus first of the means."""
        return self.means[1] - self.means[0]

    @property
    def tests(self) -> int:
        """Number of AUs that are tested."""
        return int(np.isfinite(self.p).sum())


@dataclasses.dataclass(frozen=True, eq=False)
class PairedComparison:
    """Two methods compared.

    Attributes:
      aus: The K AU numbers.
      subjects: Names of the S subjects.
      frames: Number of frames of each AU whose label is known, (K,).
      positives: Number of these in which the AU is present, (K,).
      differences: By the name of the metric.
      swaps: Number of swaps that p values are over.
      is_exact: Whether these are all that there are.
    """

    aus: tuple[int, ...]
    subjects: tuple[str, ...]
    frames: np.ndarray
    positives: np.ndarray
    differences: dict[str, MetricDifference]
    swaps: int
    is_exact: bool

    @property
    def smallest_p(self) -> float:
        """The smallest p value that this number of subjects can give."""
        return max(2.0 ** (1 - len(self.subjects)), 0 if self.is_exact else 1 / (self.swaps + 1))


def compare(
    first: ScoredFrames,
    second: ScoredFrames,
    *,
    aus: Sequence[int],
    metrics: Sequence[str] = METRICS,
    folds: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PairedComparison:
    """Compare two methods.

    An AU that is present in no frame, or has no value of a metric, is not tested. Scores are compared by their ranks
    among a method's own, which changes no metric, so that scores on different scales can be swapped.

    Args:
      first: The first method.
      second: The second, for the same frames and labels.
      aus: The K AU numbers.
      metrics: Of `METRICS`.
      folds: The fold of each subject, sorted by name, (S,): metrics are then means over folds, and subjects are drawn
        within their folds. None for metrics over all frames at once.
      resamples: Number of draws of subjects.
      permutations: Number of swaps; where there are no more altogether, all are tried.
      seed: Seed of draws and swaps. Draws are those of `bootstrap.measure`.

    Raises:
      ValueError: There are fewer than two subjects, or the methods have different ones.
    """
    names = np.unique(first.subjects)
    if len(names) < 2 or not np.array_equal(names, np.unique(second.subjects)):
        raise ValueError(f"two methods are compared over the same two or more subjects, got {len(names)}")
    pool = _Pool(first, second, names, np.zeros(len(names), int) if folds is None else np.asarray(folds))
    drawn = pool.draws(resamples, seed)
    swapped, is_exact = _swaps(len(names), permutations, seed)
    known = first.labels >= 0
    positives = (first.labels == 1).sum(0) // first.repeats
    differences = {
        name: _difference(pool, name, drawn=drawn, swapped=swapped, is_exact=is_exact, is_tested=positives > 0)
        for name in metrics
    }
    return PairedComparison(
        aus=tuple(aus),
        subjects=tuple(names.tolist()),
        frames=known.sum(0) // first.repeats,
        positives=positives,
        differences=differences,
        swaps=len(swapped),
        is_exact=is_exact,
    )


def _difference(
    pool: "_Pool", name: str, *, drawn: np.ndarray, swapped: np.ndarray, is_exact: bool, is_tested: np.ndarray
) -> MetricDifference:
    """Compute everything about one metric; `drawn` (B, S) are multiplicities, `swapped` (R, S) 1 where swapped."""
    first, second = pool.values(name)
    both = np.isfinite(second - first)
    tested = is_tested & both
    drawn_difference, swapped_difference = pool.differences(name, drawn, swapped)
    p = np.where(tested, _p(swapped_difference, is_exact), np.nan)
    means = float(_mean(first[both])), float(_mean(second[both]))
    corrected = 1 - (1 - LEVEL) / max(int(tested.sum()), 1)
    mean_drawn, mean_swapped = (_mean(values[:, both], 1)[:, None] for values in (drawn_difference, swapped_difference))
    mean_p = _p(mean_swapped, is_exact)[0]
    return MetricDifference(
        first=first,
        second=second,
        interval=_interval(drawn_difference, LEVEL),
        corrected=_interval(drawn_difference, corrected),
        p=p,
        p_holm=holm(p),
        means=means,
        mean_interval=tuple(_interval(mean_drawn, LEVEL)[:, 0].tolist()),
        mean_p=float(mean_p) if tested.any() else math.nan,
    )


class _Pool:
    """Both methods' frames, as if of 2 S subjects: the S subjects as the first method sees them, then as the second.

    How often each of these counts is then all that distinguishes methods, draws and swaps.
    """

    def __init__(self, first: ScoredFrames, second: ScoredFrames, names: np.ndarray, folds: np.ndarray):
        self._names, self._folds = names, folds
        self._member = np.concatenate(
            [np.searchsorted(names, first.subjects), np.searchsorted(names, second.subjects) + len(names)]
        )
        self._labels = np.concatenate([first.labels, second.labels])
        self._ranks = np.concatenate([_ranks(first), _ranks(second)])
        common = math.lcm(first.repeats, second.repeats)
        self._scale = np.repeat([common // first.repeats, common // second.repeats], len(names))
        present = np.concatenate([first.present, second.present])
        self._counts = _counts_by_member(present, self._labels, self._member, 2 * len(names))

    def draws(self, count: int, seed: int) -> np.ndarray:
        """Draw subjects with replacement, within their folds; return how often each is drawn, (count, S)."""
        drawn = np.zeros((count, len(self._names)), np.int64)
        for fold in np.unique(self._folds):
            members = np.flatnonzero(self._folds == fold)
            drawn[:, members] = bootstrap.draws(self._names[members].tolist(), count, seed)
        return drawn

    def values(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Compute a metric of the first and of the second method, (K,) each."""
        ones = np.ones((1, len(self._names)), np.int64)
        first, second = self._metric(
            name, np.concatenate([ones, 0 * ones]), np.concatenate([0 * ones, ones]), self._ranks
        )
        return first, second

    def differences(self, name: str, drawn: np.ndarray, swapped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the difference of a metric for draws, (B, K), and after no swap and each of the swaps, (1 + R, K).

        All at once, since frames are then sorted once. For average precision, whose work grows with the number of
        different scores, there are at most `_STEPS`: its p is that of scores rounded so, and its draws are moved by
        what rounding changes of the difference itself.
        """
        ranks = np.floor(self._ranks * _STEPS) if name == "average_precision" else self._ranks
        none = np.zeros((1, len(self._names)), np.int64)
        swapped = np.concatenate([none, swapped])
        of_first = np.concatenate([drawn, 1 - swapped, 0 * drawn, swapped])
        of_second = np.concatenate([0 * drawn, swapped, drawn, 1 - swapped])
        first, second = np.split(self._metric(name, of_first, of_second, ranks), 2)
        by_draw, by_swap = np.split(second - first, [len(drawn)])
        exact = self.values(name)
        return by_draw + (exact[1] - exact[0] - by_swap[0]), by_swap

    def _metric(self, name: str, first: np.ndarray, second: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """Compute a metric for each row of multiplicities of subjects, (R, S) each, by the methods; (R, K)."""
        weights = np.concatenate([first, second], 1) * self._scale
        folds = np.tile(self._folds, 2)
        parts = [self._pooled(name, weights * (folds == fold), ranks) for fold in np.unique(folds)]
        return parts[0] if len(parts) == 1 else _mean(np.stack(parts), 0)

    def _pooled(self, name: str, weights: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        if name in classification.COUNT_METRICS:
            counts = {kind: weights @ values for kind, values in self._counts.items()}
            return classification.count_metrics(ConfusionCounts(**counts))[name]
        compute = drawn_ranks.auc if name == "auc" else drawn_ranks.average_precision
        columns = []
        for k in range(self._labels.shape[1]):
            known = self._labels[:, k] >= 0
            arguments = ranks[known, k], self._labels[known, k], self._member[known], weights
            has_scores = np.isfinite(ranks[known, k]).all()
            columns.append(compute(*arguments) if has_scores else np.full(len(weights), np.nan))
        return np.stack(columns, 1)


def _ranks(method: ScoredFrames) -> np.ndarray:
    """Return the rank of each score among the method's known frames, in (0, 1), equal ones alike; NaN without one."""
    ranks = np.full(method.scores.shape, np.nan)
    for k, column in enumerate(method.scores.T):
        known = (method.labels[:, k] >= 0) & np.isfinite(column)
        _, place, counts = np.unique(column[known], return_inverse=True, return_counts=True)
        ranks[known, k] = ((np.cumsum(counts) - counts / 2) / max(known.sum(), 1))[place]
    return ranks


def _counts_by_member(present: np.ndarray, labels: np.ndarray, member: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Count predictions of each of `size` members, (size, K) of each kind, by its name in `ConfusionCounts`."""
    kinds = {
        "tp": (labels == 1) & present,
        "fp": (labels == 0) & present,
        "fn": (labels == 1) & ~present,
        "tn": (labels == 0) & ~present,
    }
    return {
        kind: np.stack([np.bincount(member, column, size) for column in values.T.astype(np.float64)], 1)
        for kind, values in kinds.items()
    }


def _swaps(subjects: int, count: int, seed: int) -> tuple[np.ndarray, bool]:
    """Return which subjects are swapped, (R, S) of 0 and 1, and whether these are all ways to swap them.

    Swapping the others instead gives the same difference with another sign, so the last subject is never swapped.
    """
    if 2 ** (subjects - 1) <= count:
        ways = np.array(list(itertools.product((0, 1), repeat=subjects - 1)), np.int64)
        return np.pad(ways, ((0, 0), (0, 1))), True
    return np.random.default_rng([seed, subjects, 1]).integers(0, 2, (count, subjects), np.int64), False


def _p(differences: np.ndarray, is_exact: bool) -> np.ndarray:
    """Compute two-sided p values (K,) of the first of these differences (1 + R, K) by the others, after swaps."""
    observed, swapped = differences[0], differences[1:]
    as_large = (np.abs(swapped) >= np.abs(observed) - _TIE).sum(0)
    return as_large / len(swapped) if is_exact else (as_large + 1) / (len(swapped) + 1)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values for their number by Holm's method; NaN ones are no tests, and stay."""
    p = np.asarray(p, np.float64)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    stepped = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1))
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def _interval(drawn: np.ndarray, level: float) -> np.ndarray:
    """Compute the interval of each column (B, K) over the draws in which it has a value, (2, K); NaN where none has."""
    ends = np.full((2, drawn.shape[1]), np.nan)
    for k, column in enumerate(drawn.T):
        finite = column[np.isfinite(column)]
        if finite.size:
            ends[:, k] = np.quantile(finite, ((1 - level) / 2, (1 + level) / 2))
    return ends


def _mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Compute the mean of the values that are not NaN; NaN where all are."""
    is_finite = np.isfinite(values)
    count = is_finite.sum(axis)
    return np.where(count > 0, np.where(is_finite, values, 0).sum(axis) / np.maximum(count, 1), np.nan)

"""Agreement of estimated with coded AU intensities, 0 to 5: ICC(3,1), mean absolute error and Pearson's correlation.

NumPy only. Over frames, per AU, as papers on DISFA report them. A subject's sums add up, so that a draw of subjects is
a product of its multiplicities with these sums. What has no value is NaN, and is left out of every mean:

- all three of an AU without a frame that has both an estimate and a coded intensity;
- ICC and Pearson's correlation of an AU whose coded intensities are all the same: there is nothing to agree on;
- Pearson's correlation of estimates that are all the same. Their ICC is 0, and counts.
"""

from collections.abc import Sequence

import numpy as np

from fgnet_jax.aus import MAX_INTENSITY, PRESENT_INTENSITY
from fgnet_jax.metrics import bootstrap
from fgnet_jax.metrics.bootstrap import MeasuredMetrics

METRICS = ("icc", "mae", "pearson")
"""Names of the metrics, in the order of tables."""

TITLES = {"icc": "ICC(3,1)", "mae": "MAE", "pearson": "Pearson's r"}
"""Their names in tables."""

_NO_VARIANCE = 1e-12  # of intensities from 0 to 5; a single frame of a million that differs by 1 gives 1e-6


def measure(
    estimates: np.ndarray,
    intensities: np.ndarray,
    *,
    subjects: np.ndarray,
    aus: Sequence[int],
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> MeasuredMetrics:
    """Compute the agreement of each AU over the frames that have an estimate and a coded intensity.

    ICC(3,1) is Shrout and Fleiss' (Psychological Bulletin 1979): two fixed raters, single ratings, consistency. For two
    raters it is 2 cov(x, y) / (var(x) + var(y)): a constant offset costs nothing, another scale does.

    Args:
      estimates: (N, K), 0 to 5; NaN where there is none.
      intensities: (N, K), coded, 0 to 5; -1 where unknown.
      subjects: (N,), the subject that each frame shows.
      aus: The K AU numbers.
      resamples: Number of draws of subjects; 0 for no intervals.
      seed: Seed of the draws, which are those of `bootstrap.measure`.

    Returns:
      Metrics whose `values` and `resampled` have the names of `METRICS`. `frames` counts the frames compared,
      `positives` those of them with an intensity from which on an AU is present.

    Raises:
      ValueError: The shapes do not fit, or an intensity or estimate is out of 0 to 5.
    """
    estimates, intensities = np.asarray(estimates, np.float64), np.asarray(intensities, np.float64)
    _check(estimates, intensities)
    names, member = np.unique(np.asarray(subjects), return_inverse=True)
    compared = (intensities >= 0) & np.isfinite(estimates)
    sums = _sums_by_subject(estimates, intensities, compared, member == np.arange(len(names))[:, None])
    weights = bootstrap.draws(names.tolist(), resamples, seed) if resamples else np.zeros((0, len(names)))
    return MeasuredMetrics(
        aus=tuple(aus),
        frames=compared.sum(0),
        positives=(compared & (intensities >= PRESENT_INTENSITY)).sum(0),
        values=_metrics(sums.sum(1)),
        resampled=_metrics(np.einsum("bs,fsk->fbk", weights, sums)),
    )


def _sums_by_subject(
    estimates: np.ndarray, intensities: np.ndarray, compared: np.ndarray, is_of: np.ndarray
) -> np.ndarray:
    """Compute sums of 1, x, y, x², y², xy and |x - y| over each subject's compared frames, (7, S, K).

    Args:
      estimates: (N, K).
      intensities: (N, K).
      compared: (N, K) bool.
      is_of: (S, N) bool, whether a frame shows a subject.
    """
    differences = np.where(compared, np.abs(estimates - intensities), 0)
    # From the mean of all coded intensities, so that variances are no small differences of large sums.
    centre = np.where(compared, intensities, 0).sum(0) / np.maximum(compared.sum(0), 1)
    x, y = (np.where(compared, values - centre, 0) for values in (estimates, intensities))
    terms = (compared.astype(np.float64), x, y, x * x, y * y, x * y, differences)
    return np.stack([is_of.astype(np.float64) @ term for term in terms])


def _metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics of sums (7, ..., K), each (..., K)."""
    count, x, y, xx, yy, xy, absolute = sums
    total = np.maximum(count, 1)
    variance_x, variance_y = _variance(x / total, xx / total), _variance(y / total, yy / total)
    product = np.sqrt(variance_x * variance_y)
    covariance = np.where(product > 0, xy / total - (x / total) * (y / total), 0.0)
    return {
        "icc": _or_nan(2 * covariance, variance_x + variance_y, variance_y > 0),
        "mae": _or_nan(absolute, count, count > 0),
        "pearson": _or_nan(covariance, product, product > 0),
    }


def _variance(mean: np.ndarray, mean_square: np.ndarray) -> np.ndarray:
    """Compute a variance, exactly 0 where it is nothing but rounding."""
    variance = mean_square - mean * mean
    return np.where(variance > _NO_VARIANCE, variance, 0.0)


def _or_nan(part: np.ndarray, total: np.ndarray, has_value: np.ndarray) -> np.ndarray:
    """Compute `part / total`, NaN where there is no value."""
    return np.divide(part, total, out=np.full(np.shape(part), np.nan), where=has_value)


def decimal(value: float) -> str:
    """Format a value of a metric with three decimals; `-` for NaN."""
    return f"{value:.3f}" if np.isfinite(value) else "-"


def without_value(measured: MeasuredMetrics) -> dict[int, str]:
    """Return why an AU has no ICC, by AU, for those that have none."""
    reasons = {}
    for k, au in enumerate(measured.aus):
        if np.isfinite(measured.values["icc"][k]):
            continue
        reasons[au] = "all coded intensities are the same" if measured.frames[k] else "no frame to compare"
    return reasons


def _check(estimates: np.ndarray, intensities: np.ndarray) -> None:
    if estimates.ndim != 2 or estimates.shape != intensities.shape:
        raise ValueError(
            f"estimates and intensities must both be (frames, AUs); they have shapes {estimates.shape}, "
            f"{intensities.shape}"
        )
    known = intensities[intensities >= 0]
    # NaN is no unknown intensity: that is -1.
    if np.isnan(intensities).any() or (known.size and known.max() > MAX_INTENSITY):
        raise ValueError("coded intensities must be 0 to 5, or -1 where unknown")
    finite = estimates[np.isfinite(estimates)]
    if finite.size and not 0 <= finite.min() <= finite.max() <= MAX_INTENSITY:
        raise ValueError(f"estimated intensities must be 0 to 5; they are {finite.min():g} to {finite.max():g}")

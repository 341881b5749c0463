"""AU intensities over a sequence: onset, apex and offset, with given base rates and co-occurrence.

Every AU follows a smooth random track; AUs that co-occur have correlated tracks. An AU is present where its track is
above the value that the given share of all frames exceeds, so base rates hold exactly over a corpus (as far as a whole
number of frames allows). Intensity rises steeply around that value, so that few frames are ambiguous to annotate.
"""

from collections.abc import Sequence

import numpy as np

from fgnet_jax.aus import PRESENT_INTENSITY

COUPLING: dict[tuple[int, int], float] = {
    (1, 2): 0.6,
    (1, 4): 0.05,
    (4, 9): 0.4,
    (4, 7): 0.25,
    (6, 7): 0.25,
    (6, 10): 0.3,
    (6, 12): 0.6,
    (7, 10): 0.2,
    (10, 12): 0.3,
    (9, 10): 0.3,
    (12, 15): -0.4,
    (12, 24): -0.3,
    (12, 25): 0.3,
    (10, 24): -0.3,
    (14, 15): 0.05,
    (15, 17): 0.4,
    (17, 24): 0.25,
    (17, 23): 0.1,
    (23, 24): 0.1,
    (25, 26): 0.75,
    (14, 24): 0.1,
}
"""Correlation of the tracks of AUs that co-occur (or exclude each other); pairs left out are independent."""

_LENGTH = 5.0
_SUBJECT_DEVIATION = 0.35
_RISE = 0.10
_FALL = 0.09


def correlation(aus: Sequence[int]) -> np.ndarray:
    """Compute the correlation matrix of the AUs' tracks, (K, K), positive definite."""
    matrix = np.eye(len(aus))
    for i, first in enumerate(aus):
        for j, second in enumerate(aus):
            matrix[i, j] += COUPLING.get((first, second), 0.0) + COUPLING.get((second, first), 0.0)
    values, vectors = np.linalg.eigh(matrix)
    matrix = (vectors * np.maximum(values, 0.05)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / scale / scale[:, None]


def smooth_tracks(rng: np.random.Generator, frames: int, aus: Sequence[int]) -> np.ndarray:
    """Sample stationary tracks of one sequence with unit variance, correlated between AUs, (frames, K).

    A Gaussian window of 5 frames over white noise: an event lasts some ten frames from onset to offset.
    """
    reach = int(4 * _LENGTH)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _LENGTH) ** 2)
    kernel /= np.linalg.norm(kernel)
    noise = rng.standard_normal((frames + 2 * reach, len(aus)))
    smooth = np.stack([np.convolve(column, kernel, "valid") for column in noise.T], 1)
    return smooth @ np.linalg.cholesky(correlation(aus)).T


def subject_offsets(rng: np.random.Generator, aus: Sequence[int]) -> np.ndarray:
    """Sample how much more or less often than others a subject shows each AU, (K,): an offset of its tracks."""
    return _SUBJECT_DEVIATION * rng.standard_normal(len(aus))


def to_intensities(tracks: np.ndarray, rates: Sequence[float]) -> np.ndarray:
    """Compute intensities (0 to 5) of all frames of a corpus, at least `PRESENT_INTENSITY` in a share of frames per AU.

    Args:
      tracks: (frames, K) of the whole corpus.
      rates: Share of positive frames per AU, (K,), each between 0 and 1.

    Returns:
      (frames, K) float32.
    """
    count = len(tracks)
    intensities = np.empty(tracks.shape, np.float32)
    for k, rate in enumerate(rates):
        ranked = np.sort(tracks[:, k])
        positives = min(max(round(rate * count), 0), count)
        above = ranked[count - positives] if positives else np.inf
        below = ranked[count - positives - 1] if positives < count else -np.inf
        threshold = above if not np.isfinite(below) else below if not positives else (above + below) / 2
        intensities[:, k] = _intensity(tracks[:, k] - threshold, tracks[:, k] >= above)
    return intensities


def _intensity(excess: np.ndarray, present: np.ndarray) -> np.ndarray:
    high = np.maximum(excess, 0)
    rise = PRESENT_INTENSITY + 1.6 * (1 - np.exp(-high / _RISE)) + 1.4 * (1 - np.exp(-high / 0.8))
    fall = PRESENT_INTENSITY * np.exp(np.minimum(excess, 0) / _FALL)
    return np.where(present, np.clip(rise, PRESENT_INTENSITY, 5.0), np.minimum(fall, PRESENT_INTENSITY - 1e-3))

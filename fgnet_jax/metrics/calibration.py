"""Calibration of scores to AU intensities, 0 to 5: a monotone function per AU, fitted to held-out training subjects.

The function is the isotonic regression of coded intensities on scores (Barlow et al., Statistical Inference under Order
Restrictions, 1972) that gives intensities from 2 on, where an AU counts as present, for scores above 0 and lower ones
for others: of all such functions that never decrease, the one with the least squared error. So presence at threshold 0
and intensity never contradict each other. Between the scores that it was fitted to it is linear, beyond them
constant. What it gives is the mean intensity of held-out frames with such a score, moved to its side of 2.

Weights keep it in their metadata (`Calibration.to_dict`, at `KEY` of `extra`):

    {"rule": "…", "fitted_on": {"disfa": ["SN001", …]}, "curves": {"AU01": {"scores": […], "intensities": […]}, …}}
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fgnet_jax.aus import MAX_INTENSITY, PRESENT_INTENSITY
from fgnet_jax.aus import label as au_label

KEY = "intensity"
"""Key of the calibration in the metadata of weights."""

RULE = "per AU, isotonic regression of coded intensities on scores on held-out training subjects, 2 from score 0 on"
"""How `fit` calibrates, for reports."""


_BELOW = 1e-3  # by which intensities of absent AUs are below those of present ones: the last digit of tables

_STEP = 1e-9  # of a score from 0: a score that is above 0 is higher


class CalibrationError(ValueError):
    """A calibration that cannot be used; the message says why."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Functions from scores to intensities.

    Attributes:
      curves: By AU, scores in ascending order and the intensities there, which never decrease; both (M,) float64.
      fitted_on: Subjects that they were fitted on, by corpus.
      rule: How, in words.
    """

    curves: Mapping[int, tuple[np.ndarray, np.ndarray]]
    fitted_on: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    rule: str = RULE

    @property
    def aus(self) -> tuple[int, ...]:
        """The AUs that have a function."""
        return tuple(self.curves)

    @property
    def sha256(self) -> str:
        """SHA-256 of the functions: equal for equal functions."""
        curves = self.to_dict()["curves"]
        return hashlib.sha256(json.dumps(curves, sort_keys=True).encode()).hexdigest()

    def intensities(self, scores: np.ndarray, aus: Sequence[int]) -> np.ndarray:
        """Compute intensities, float32 of the scores' shape (..., K) in [0, 5].

        NaN where the AU has no function, or the score is not finite.
        """
        values = np.asarray(scores, np.float64)
        columns = [
            np.interp(values[..., k], *self.curves[au]) if au in self.curves else np.full(values.shape[:-1], np.nan)
            for k, au in enumerate(aus)
        ]
        return np.where(np.isfinite(values), np.stack(columns, -1), np.nan).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as metadata have it."""
        curves = {
            au_label(au): {"scores": scores.tolist(), "intensities": values.tolist()}
            for au, (scores, values) in self.curves.items()
        }
        fitted_on = {corpus: list(names) for corpus, names in self.fitted_on.items()}
        return {"rule": self.rule, "fitted_on": fitted_on, "curves": curves}


def of_weights(extra: Mapping[str, Any], aus: Sequence[int]) -> Calibration | None:
    """Return the calibration of weights by their metadata; None for weights that know presence alone.

    Args:
      extra: `WeightsMeta.extra`.
      aus: The AUs of the weights.

    Raises:
      CalibrationError: It is damaged.
    """
    stored = extra.get(KEY)
    if stored is None:
        return None
    by_label = {au_label(au): au for au in aus}
    try:
        curves = {by_label[name]: _curve(curve) for name, curve in stored["curves"].items()}
        fitted_on = {str(key): list(names) for key, names in stored["fitted_on"].items()}
        return Calibration(curves, fitted_on, str(stored.get("rule", RULE)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(f"the weights' calibration of intensities is damaged: {error!r}") from error


def _curve(stored: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Read a function, and check that it is one: scores that increase, intensities of 0 to 5 that never decrease."""
    scores, values = (np.array(stored[name], np.float64) for name in ("scores", "intensities"))
    is_function = scores.ndim == 1 and scores.size > 0 and scores.shape == values.shape
    if not is_function or not (np.diff(scores) > 0).all() or not (np.diff(values) >= 0).all():
        raise ValueError("scores must increase, and intensities never decrease")
    if not (np.isfinite(scores).all() and values[0] >= 0 and values[-1] <= MAX_INTENSITY):
        raise ValueError(f"intensities must be 0 to {MAX_INTENSITY}")
    return scores, values


def fit(
    scores: np.ndarray,
    intensities: np.ndarray,
    labels: np.ndarray,
    *,
    aus: Sequence[int],
    fitted_on: Mapping[str, Sequence[str]] | None = None,
) -> Calibration:
    """Fit the function of each AU; one whose coded intensities are all the same, or unknown, gets none.

    Args:
      scores: (N, K), finite.
      intensities: (N, K), coded, 0 to 5; -1 where unknown, which is left out.
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      aus: The K AU numbers.
      fitted_on: The subjects that the frames show, by corpus.
    """
    curves, threshold = {}, _presence_threshold(intensities, labels)
    for k, au in enumerate(aus):
        known = intensities[:, k] >= 0
        coded = intensities[known, k]
        if coded.size and coded.min() < coded.max():
            curves[au] = _fit_au(scores[known, k], coded, threshold)
    return Calibration(curves, dict(fitted_on or {}))


def _presence_threshold(intensities: np.ndarray, labels: np.ndarray) -> float:
    """Return the intensity from which on an AU is present: 2, unless the corpus was prepared with another one."""
    present, absent = (intensities[(labels == value) & (intensities >= 0)] for value in (1, 0))
    highest = absent.max(initial=0)
    # Without a present frame, the lowest intensity that none of the absent ones has.
    lowest = present.min() if present.size else min(max(highest + 1, PRESENT_INTENSITY), MAX_INTENSITY)
    return float(PRESENT_INTENSITY if highest < PRESENT_INTENSITY <= lowest else lowest)


def _fit_au(scores: np.ndarray, coded: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit the function of one AU: an isotonic regression on either side of score 0, within its side of the threshold.

    Both regressions, cut off at the threshold, are the best ones that keep to their sides.
    """
    absent, present = scores < 0, scores > _STEP
    below, above = max(threshold - _BELOW, 0.0), threshold
    parts = [(np.array([0.0, _STEP]), np.array([below, above]))]
    if absent.any():
        points, values = isotonic(scores[absent], coded[absent])
        parts.insert(0, (points, np.minimum(values, below)))
    if present.any():
        points, values = isotonic(scores[present], coded[present])
        parts.append((points, np.maximum(values, above)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def isotonic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the isotonic regression of `y` on `x`, (N,) each, N > 0.

    Returns:
      The ends of the runs of x on which it is constant, ascending, and its values there, both (M,) float64.
    """
    from scipy.optimize import isotonic_regression

    points, place = np.unique(np.asarray(x, np.float64), return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    means = np.bincount(place, np.asarray(y, np.float64)) / counts
    fitted = np.asarray(isotonic_regression(means, weights=counts).x)
    # Rounding in the mean of a run must not leave it out of what was coded.
    fitted = np.clip(fitted, 0.0, MAX_INTENSITY)
    is_inner = np.zeros(len(points), bool)
    is_inner[1:-1] = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    return points[~is_inner], fitted[~is_inner]

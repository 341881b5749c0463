"""Above which score an AU counts as present: 0 as published, or fitted to people held out of training.

A file of thresholds is JSON, which evaluation writes and prediction reads:

    {"thresholds": {"AU01": 0.013, …}, "rule": "…", "fitted_on": {"corpus": …, "subjects": […], "frames": …}, …}
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.metrics import classification
from fgnet_jax.runtime.files import write_text

PUBLISHED = 0.0
"""FG-Net's threshold, for every AU."""

RULE = "per AU, the threshold of the highest F1 on held-out training subjects"


class ThresholdsError(ValueError):
    """A file of thresholds that cannot be used; the message names it and says why."""


def fit(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The threshold of the highest F1 of each AU.

    Args:
      scores: (N, K).
      labels: (N, K): 1, 0 or -1 (left out).

    Returns:
      float64 (K,): half-way between two neighbouring scores, the one nearest to 0 of several as good; 0 for an AU that
      is present in no frame or in all.
    """
    return np.array([_fit_one(scores[:, k], labels[:, k]) for k in range(scores.shape[1])], np.float64)


def _fit_one(scores: np.ndarray, labels: np.ndarray) -> float:
    known = labels >= 0
    present = labels[known] == 1
    if present.all() or not present.any():  # all([]) is True
        return PUBLISHED
    values, place = np.unique(scores[known].astype(np.float64), return_inverse=True)
    tried = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [PUBLISHED]])
    above = [np.append(np.cumsum(np.bincount(place, kind, len(values))[::-1])[::-1], 0) for kind in (present, ~present)]
    at = np.searchsorted(values, tried, side="right")  # of a threshold, all values from here on lie above
    tp, fp = (part[at] for part in above)
    f1 = classification.f1(classification.ConfusionCounts(tp, fp, present.sum() - tp, (~present).sum() - fp))
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(min(tried[best], key=abs))


def save(path: str | Path, aus: Sequence[int], values: Sequence[float] | np.ndarray, about: dict[str, Any]) -> None:
    """Writes thresholds (K,) with what they are of."""
    by_au = {au_label(au): float(value) for au, value in zip(aus, values, strict=True)}
    write_text(path, json.dumps({"thresholds": by_au, "rule": RULE} | about, indent=2) + "\n")


def load(path: str | Path, aus: Sequence[int]) -> np.ndarray:
    """The thresholds (K,) of these AUs, float64.

    Raises:
      ThresholdsError: for a file that is not there or no JSON of thresholds, or that lacks one of the AUs.
    """
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))["thresholds"]
        values = {name: float(value) for name, value in given.items()}
    except OSError as error:
        raise ThresholdsError(f"{path}: cannot read thresholds: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ThresholdsError(f'{path}: expected JSON like {{"thresholds": {{"AU01": 0.0}}}}: {error!r}') from error
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise ThresholdsError(f"{path}: the threshold of {', '.join(bad)} is not finite")
    missing = [au_label(au) for au in aus if au_label(au) not in values]
    if missing:
        raise ThresholdsError(f"{path}: no threshold for {', '.join(missing)}; it has {', '.join(values)}")
    return np.array([values[au_label(au)] for au in aus], np.float64)

"""Decision thresholds: the score above which an AU is predicted present, 0 as published or fitted to held-out data.

A file of thresholds is JSON, written by evaluation and read by prediction:

    {"thresholds": {"AU01": 0.013, …}, "rule": "…", "fitted_on": {"bp4d": ["F001", …]}, …}
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.metrics import classification
from fgnet_jax.runtime.files import write_text

PUBLISHED = 0.0
"""FG-Net's threshold of every AU."""

RULE = "per AU, the threshold of the highest F1 on held-out training subjects"
"""How `fit` selects thresholds, for reports."""


class ThresholdsError(ValueError):
    """A file of thresholds that cannot be used; the message names it and says why."""


def fit(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit the threshold of each AU that gives the highest F1.

    Args:
      scores: (N, K).
      labels: (N, K): 1, 0 or -1 (left out).

    Returns:
      float64 (K,): half-way between two neighbouring scores, of several with the same F1 the one nearest to 0; 0 for an
      AU that is present in no frame or in all.
    """
    return np.array([_fit_au(scores[:, k], labels[:, k]) for k in range(scores.shape[1])], np.float64)


def _fit_au(scores: np.ndarray, labels: np.ndarray) -> float:
    known = labels >= 0
    present = labels[known] == 1
    if present.all() or not present.any():  # all([]) is True
        return PUBLISHED
    values, position = np.unique(scores[known].astype(np.float64), return_inverse=True)
    candidates = np.concatenate([[values[0] - 1e-6], (values[1:] + values[:-1]) / 2, [PUBLISHED]])
    above = [
        np.append(np.cumsum(np.bincount(position, kind, len(values))[::-1])[::-1], 0) for kind in (present, ~present)
    ]
    first_above = np.searchsorted(values, candidates, side="right")
    tp, fp = (part[first_above] for part in above)
    counts = classification.ConfusionCounts(tp=tp, fp=fp, fn=present.sum() - tp, tn=(~present).sum() - fp)
    f1 = classification.f1(counts)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(min(candidates[best], key=abs))


def save(
    path: str | Path, *, aus: Sequence[int], values: Sequence[float] | np.ndarray, metadata: Mapping[str, Any]
) -> None:
    """Write thresholds.

    Args:
      path: The file.
      aus: The K AU numbers.
      values: Their thresholds, (K,).
      metadata: Further fields: the run, and the data that the thresholds were fitted on.
    """
    by_au = {au_label(au): float(value) for au, value in zip(aus, values, strict=True)}
    write_text(path, json.dumps({"thresholds": by_au, "rule": RULE, **metadata}, indent=2) + "\n")


@dataclasses.dataclass(frozen=True)
class StoredThresholds:
    """A file of thresholds.

    Attributes:
      path: The file.
      by_au: Threshold of each AU, by its name ("AU01").
      fitted_on: Subjects that they were fitted on, by corpus; "" for a corpus that the file does not name. Empty where
        the file does not name the subjects.
    """

    path: Path
    by_au: dict[str, float]
    fitted_on: dict[str, list[str]]

    def of(self, aus: Sequence[int]) -> np.ndarray:
        """Return the thresholds of these AUs, (K,) float64.

        Raises:
          ThresholdsError: The file lacks one of them.
        """
        missing = [au_label(au) for au in aus if au_label(au) not in self.by_au]
        if missing:
            known = ", ".join(self.by_au)
            raise ThresholdsError(f"{self.path}: no threshold for {', '.join(missing)}; it has {known}")
        return np.array([self.by_au[au_label(au)] for au in aus], np.float64)


def load(path: str | Path, aus: Sequence[int]) -> np.ndarray:
    """Read the thresholds of these AUs, (K,) float64.

    Raises:
      ThresholdsError: The file cannot be read, is no JSON of thresholds, or lacks one of the AUs.
    """
    return read(path).of(aus)


def read(path: str | Path) -> StoredThresholds:
    """Read a file of thresholds.

    Raises:
      ThresholdsError: The file cannot be read, or is no JSON of thresholds.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        values = {name: float(value) for name, value in stored["thresholds"].items()}
        fitted_on = _subjects(stored.get("fitted_on") or {})
    except OSError as error:
        raise ThresholdsError(f"{path}: cannot read thresholds: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ThresholdsError(f'{path}: expected JSON like {{"thresholds": {{"AU01": 0.0}}}}: {error!r}') from error
    not_finite = [name for name, value in values.items() if not math.isfinite(value)]
    if not_finite:
        raise ThresholdsError(f"{path}: the threshold of {', '.join(not_finite)} is not finite")
    return StoredThresholds(path=Path(path), by_au=values, fitted_on=fitted_on)


def _subjects(fitted_on: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return subjects by corpus, of {"bp4d": […]} or of {"corpus": "bp4d", "subjects": […]}."""
    if "subjects" in fitted_on:
        return {str(fitted_on.get("corpus") or ""): [str(name) for name in fitted_on["subjects"]]}
    return {corpus: [str(name) for name in names] for corpus, names in fitted_on.items() if isinstance(names, list)}

"""Intensities in an evaluation: estimates of weights that know them, their agreement with coded ones, and its tables.

Weights that know presence alone have no estimates, and corpora of presence alone no coded intensities: then there is no
table of agreement, and F1 is evaluated as ever.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.metrics import agreement, bootstrap, calibration
from fgnet_jax.metrics.agreement import decimal
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.metrics.calibration import Calibration, CalibrationError
from fgnet_jax.metrics.f1_table import Cells

KEY = calibration.KEY
"""Key of agreement in report.json, and of the calibration's checksum in the metadata of kept predictions."""


def calibration_of(run: EvaluatedRun) -> Calibration | None:
    """Return the calibration of a run's scores; None for weights that know presence alone.

    Raises:
      EvaluationError: It is damaged.
    """
    try:
        return calibration.of_weights(run.meta.extra, run.meta.aus)
    except CalibrationError as error:
        raise EvaluationError(f"{run.weights}: {error}") from error


def with_intensities(
    predictions: FramePredictions, run: EvaluatedRun, corpus: Corpus, indices: np.ndarray
) -> FramePredictions:
    """Return predictions with estimated and coded intensities, if the run's weights know intensities.

    Args:
      predictions: Of faces of a corpus.
      run: The run that predicted them.
      corpus: The corpus.
      indices: (N,) places of the faces in it.
    """
    fitted = calibration_of(run)
    if fitted is None:
        return predictions
    return dataclasses.replace(
        predictions,
        intensities=corpus.index.intensities_of(indices, corpus.columns(predictions.aus)),
        estimates=fitted.intensities(predictions.scores, predictions.aus),
    )


def metadata(run: EvaluatedRun) -> dict[str, str]:
    """Return what kept predictions record of intensities: the SHA-256 of the calibration; empty without one.

    The checksum of weights is of their arrays alone.
    """
    fitted = calibration_of(run)
    return {} if fitted is None else {KEY: fitted.sha256}


def measure(predictions: FramePredictions, *, resamples: int, seed: int) -> MeasuredMetrics | None:
    """Measure the agreement of estimated with coded intensities, by AU in ascending order.

    Returns:
      None where predictions have no estimates, or no AU has a coded intensity.
    """
    if predictions.estimates is None or predictions.intensities is None:
        return None
    coded = np.any(predictions.intensities >= 0, axis=0).tolist()
    chosen = [k for k in np.argsort(predictions.aus).tolist() if coded[k]]
    if not chosen:
        return None
    return agreement.measure(
        predictions.estimates[:, chosen],
        predictions.intensities[:, chosen],
        subjects=predictions.subjects,
        aus=[predictions.aus[k] for k in chosen],
        resamples=resamples,
        seed=seed,
    )


def average(parts: Sequence[MeasuredMetrics | None], *, by_frames: bool = False) -> MeasuredMetrics | None:
    """Average agreement over several sets, as `bootstrap.average`; None where a set has none."""
    measured = [part for part in parts if part is not None]
    return bootstrap.average(measured, by_frames) if measured and len(measured) == len(parts) else None


def cells(measured: MeasuredMetrics) -> Cells:
    """Return the agreement with its intervals, a line per AU and one for the mean."""
    head = ["intensity", *(agreement.TITLES[name] for name in agreement.METRICS), "frames", "present"]
    lines = []
    for k, au in enumerate(measured.aus):
        values = []
        for name in agreement.METRICS:
            low, high = measured.interval(name)
            values.append(_with_interval(measured.values[name][k], low[k], high[k]))
        lines.append([au_label(au), *values, f"{measured.frames[k]:,}", f"{measured.positives[k]:,}"])
    means = [_with_interval(measured.mean(name), *measured.mean_interval(name)) for name in agreement.METRICS]
    return [head, *lines, ["mean", *means, "-", "-"]]


def _with_interval(value: float, low: float, high: float) -> str:
    return decimal(value) if math.isnan(low) else f"{decimal(value)} [{decimal(low)}, {decimal(high)}]"


def notes(predictions: Sequence[FramePredictions], runs: Sequence[EvaluatedRun], corpus: str) -> tuple[str, ...]:
    """Return what a reader needs to know of intensities; nothing where no weights know them.

    Args:
      predictions: All that was tested.
      runs: The run of each.
      corpus: The corpus tested on.
    """
    pairs = [(run, item) for run, item in zip(runs, predictions, strict=True) if item.estimates is not None]
    if not pairs:
        return ()
    if not any((item.intensities >= 0).any() for _, item in pairs if item.intensities is not None):
        return (f"Intensity: the weights know it, but {corpus} has no coded intensities: F1 and the like alone.",)
    rules = dict.fromkeys(fitted.rule for run, _ in pairs if (fitted := calibration_of(run)) is not None)
    fitted = f"Intensity: {' / '.join(rules)}; ICC(3,1), MAE and Pearson's r over frames with a coded intensity."
    left_out = ", ".join(run.name for run, item in zip(runs, predictions, strict=True) if item.estimates is None)
    lines = [f"Intensity: {left_out} know presence alone, so there is no mean of agreement."] if left_out else []
    return (fitted, *lines, *dict.fromkeys(line for run, item in pairs for line in _missing(run, item)))


def _missing(run: EvaluatedRun, predictions: FramePredictions) -> list[str]:
    """Say which AUs of a run's predictions have no agreement, and why; a line for each reason."""
    measured = measure(predictions, resamples=0, seed=0)
    if measured is None:
        return []
    calibrated = calibration_of(run)
    reasons: dict[str, list[int]] = {}
    for au, reason in agreement.without_value(measured).items():
        is_known = calibrated is not None and au in calibrated.aus
        text = reason if is_known else "not calibrated: its held-out subjects show no different intensities"
        reasons.setdefault(text, []).append(au)
    return [f"No ICC of {', '.join(map(au_label, aus))} by {run.name}: {reason}." for reason, aus in reasons.items()]


def to_json(measured: MeasuredMetrics | None) -> dict[str, Any]:
    """Return agreement as report.json has it, at `KEY`: `aus` and `mean`; empty for None.

    None where a metric has no value; intervals as [low, high].
    """
    if measured is None:
        return {}
    by_au: dict[str, dict[str, Any]] = {au_label(au): {} for au in measured.aus}
    mean: dict[str, Any] = {}
    for name in agreement.METRICS:
        low, high = measured.interval(name)
        for k, entry in enumerate(by_au.values()):
            entry |= _json_pair(name, measured.values[name][k], low[k], high[k])
        mean |= _json_pair(name, measured.mean(name), *measured.mean_interval(name))
    for k, entry in enumerate(by_au.values()):
        entry |= {"frames": int(measured.frames[k]), "positives": int(measured.positives[k])}
    return {KEY: {"aus": by_au, "mean": mean}}


def _json_pair(name: str, value: float, low: float, high: float) -> dict[str, Any]:
    interval = None if math.isnan(low) else [float(low), float(high)]
    return {name: None if math.isnan(value) else float(value), f"{name}_interval": interval}

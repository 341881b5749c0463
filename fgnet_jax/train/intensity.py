"""Intensities in a run: which are coded, what scores mean on the held-out subjects, how that agrees on tested ones."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.metrics import agreement, calibration, f1_table
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.evaluator import ScoredFaces
from fgnet_jax.train.splits import FaceSubset, RunData
from fgnet_jax.train.targets import INTENSITY, PRESENT_AS


def coded(corpus: Corpus, indices: np.ndarray, aus: Sequence[int]) -> np.ndarray:
    """Return the coded intensities of some faces, (N, K) float32; -1 where unknown."""
    return corpus.index.intensities_of(indices, corpus.columns(aus))


def remarks(config: Config, data: RunData) -> Iterator[str]:
    """Yield what a user should know of intensities before a run starts; nothing for targets of presence.

    Raises:
      ConfigError: No AU has coded intensities to train on, or none has different ones to calibrate on.
    """
    if config.data.target != INTENSITY:
        return
    train, select = data.train, data.select
    known = (coded(train.corpus, train.indices, data.aus) >= 0).any(0)
    if not known.any():
        raise ConfigError(
            f'data.target "{INTENSITY}": {train.corpus.name} has no coded intensities, only presence; '
            "train on presence, or prepare it from labels of intensity"
        )
    calibrated = _spread(coded(select.corpus, select.indices, data.aus))
    if not calibrated.any():
        raise ConfigError(
            f'data.target "{INTENSITY}": {select.name} show no AU at different intensities, so nothing can be '
            "calibrated on them; hold out more (data.held_out), or others (data.seed)"
        )
    yield from _presence_alone(train, data.aus)
    yield from _contradictions(select, data.aus)
    if missing := [au for au, can in zip(data.aus, calibrated, strict=True) if not can]:
        yield (
            f"{_names(missing)}: {select.name} have no different intensities, so scores are not calibrated: no "
            "intensity is predicted"
        )


def _spread(intensities: np.ndarray) -> np.ndarray:
    """Return which AUs have different intensities, (K,) bool."""
    is_known = intensities >= 0
    low, high = (np.where(is_known, intensities, fill) for fill in (np.inf, -np.inf))
    return low.min(0, initial=np.inf) < high.max(0, initial=-np.inf)


def _presence_alone(faces: FaceSubset, aus: Sequence[int]) -> Iterator[str]:
    """Yield which AUs have labels of presence without an intensity, by their share, a line each."""
    labels = faces.corpus.index.labels[faces.indices]
    labels = labels[:, list(faces.corpus.columns(aus))]
    without = ((labels >= 0) & (coded(faces.corpus, faces.indices, aus) < 0)).sum(0)
    shares = [count / max(total, 1) for count, total in zip(without, (labels >= 0).sum(0), strict=True)]
    for share in sorted({share for share in shares if share}, reverse=True):
        names = _names([au for au, other in zip(aus, shares, strict=True) if other == share])
        yield (
            f"{names}: {100 * share:.0f} % of the labels have no intensity, only presence: their targets have the "
            f"height of intensity {PRESENT_AS:g} where present, of 0 where absent"
        )


def _contradictions(faces: FaceSubset, aus: Sequence[int]) -> Iterator[str]:
    """Yield a line where an intensity counts as present on some faces and as absent on others."""
    labels = faces.corpus.index.labels[faces.indices][:, list(faces.corpus.columns(aus))]
    intensities = coded(faces.corpus, faces.indices, aus)
    present, absent = (intensities[(labels == value) & (intensities >= 0)] for value in (1, 0))
    if present.size and absent.size and absent.max() >= present.min():
        lowest, highest = present.min(), absent.max()
        yield (
            f"{faces.name}: intensity {lowest:g} counts as present on some faces, and {highest:g} as absent on others, "
            "as in corpora that were prepared with different thresholds of presence: scores are calibrated to "
            f"intensities as if an AU were present from {lowest:g} on"
        )


def _names(aus: Sequence[int]) -> str:
    return ", ".join(map(au_label, aus))


def metadata(config: Config, faces: FaceSubset, scored: ScoredFaces, aus: Sequence[int]) -> dict[str, Any]:
    """Return what weights record of intensities: the calibration of their scores; empty for targets of presence.

    Args:
      config: The run's configuration.
      faces: The held-out subjects' faces.
      scored: Their scores.
      aus: The AUs, in the scores' order.
    """
    if config.data.target != INTENSITY:
        return {}
    fitted = calibration.fit(
        scored.scores,
        coded(faces.corpus, scored.indices, aus),
        scored.labels,
        aus=aus,
        fitted_on=faces.corpus.subjects_by_corpus(scored.indices),
    )
    return {calibration.KEY: fitted.to_dict()}


def measure(meta: WeightsMeta, faces: FaceSubset, scored: ScoredFaces) -> MeasuredMetrics | None:
    """Measure how intensities agree with coded ones, without intervals; None where weights or corpus know none."""
    fitted = calibration.of_weights(meta.extra, meta.aus)
    if fitted is None:
        return None
    intensities = coded(faces.corpus, scored.indices, meta.aus)
    known = np.any(intensities >= 0, axis=0).tolist()
    if not any(known):
        return None
    return agreement.measure(
        fitted.intensities(scored.scores, meta.aus)[:, known],
        intensities[:, known],
        subjects=faces.corpus.subjects()[scored.indices],
        aus=[au for au, has in zip(meta.aus, known, strict=True) if has],
        resamples=0,
    )


def results(measured: MeasuredMetrics | None) -> dict[str, Any]:
    """Return the field `intensity` of results.json: `mean` and, by AU, each metric; None where it has no value.

    Empty where nothing is measured.
    """
    if measured is None:
        return {}
    by_au = {
        au_label(au): {name: _or_none(measured.values[name][k]) for name in agreement.METRICS}
        for k, au in enumerate(measured.aus)
    }
    mean = {name: _or_none(measured.mean(name)) for name in agreement.METRICS}
    return {calibration.KEY: {"mean": mean, "aus": by_au}}


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def table(measured: Sequence[tuple[str, MeasuredMetrics]]) -> str:
    """Format the agreement of one or more tests as text: a row for each metric, a column for each AU and the mean."""
    aus = sorted({au for _, metrics in measured for au in metrics.aus})
    cells = [["intensity", *map(au_label, aus), "mean"]]
    for name, metrics in measured:
        for metric in agreement.METRICS:
            by_au = dict(zip(metrics.aus, metrics.values[metric], strict=True))
            values = [*(by_au.get(au, np.nan) for au in aus), metrics.mean(metric)]
            cells.append([f"{name}, {agreement.TITLES[metric]}", *map(agreement.decimal, values)])
    return f1_table.as_text(cells)

"""Intensities in reports: which weights and corpora have them, and that their figures are those that were measured."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.evaluate import intensity, protocols
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.metrics import agreement, calibration
from fgnet_jax.models.weights import WeightsMeta

OPTIONS = EvalOptions(resamples=20)
CURVES = {1: (np.array([-0.1, 0.1]), np.array([0.0, 5.0])), 12: (np.array([0.0, 0.2]), np.array([1.0, 4.0]))}


def _run(curves=CURVES, name="disfa_f0") -> EvaluatedRun:
    """Return a run of AUs 12, 1 and 4; with no curves, one that knows presence alone."""
    stored = {calibration.KEY: calibration.Calibration(curves, {"disfa": ["SN001"]}).to_dict()} if curves else {}
    meta = WeightsMeta(aus=(12, 1, 4), corpus="disfa", extra=stored)
    return EvaluatedRun(name, Path(name), meta, config=None, fold=0, recorded_sha256="a" * 64)


def _predictions(run: EvaluatedRun, *, coded=True, split="fold_0") -> FramePredictions:
    """Return predictions for 60 frames of three subjects whose scores grow with the intensities."""
    rng = np.random.default_rng(ord(split[-1]))
    intensities = rng.integers(0, 6, (60, 3)).astype(np.float32)
    scores = (0.04 * intensities - 0.1 + rng.normal(0, 0.03, (60, 3))).astype(np.float32)
    names = np.repeat([f"{split}{letter}" for letter in "abc"], 20)
    predictions = FramePredictions(
        aus=(12, 1, 4),
        splits=np.full(60, split),
        subjects=names,
        sequences=names,
        frames=np.arange(60),
        labels=(intensities >= 2).astype(np.int8),
        scores=scores,
        thresholds=np.zeros((60, 3)),
    )
    fitted = intensity.calibration_of(run)
    if fitted is None:
        return predictions
    known = intensities if coded else np.full_like(intensities, -1)
    return dataclasses.replace(predictions, intensities=known, estimates=fitted.intensities(scores, (12, 1, 4)))


class _Predictor:
    """Gives the predictions of `_predictions`."""

    def __init__(self, *, coded=True):
        self._coded = coded

    def folds(self, corpus) -> tuple[int, ...]:
        return (0, 1, 2)

    def tested(self, run, *, corpus, splits) -> TestedRun:
        predictions = _predictions(run, coded=self._coded, split=splits[0])
        return TestedRun(run=run, corpus=corpus, predictions=predictions, thresholds=np.zeros(3))


def test_a_report_has_the_agreement_beside_f1(tmp_path):
    """In the text, in Markdown, in figures.csv and in report.json, with intervals; an AU without a value is None."""
    run = _run()
    done = protocols.single(_Predictor(), OPTIONS, run=run, corpus="disfa", split="fold_0")
    predictions = _predictions(run)
    assert predictions.estimates is not None and predictions.intensities is not None
    measured = agreement.measure(
        predictions.estimates[:, [1, 0]], predictions.intensities[:, [1, 0]], subjects=predictions.subjects,
        aus=(1, 12), resamples=20,
    )  # fmt: skip
    report_lib.write(done.report, tmp_path)
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["intensity"]["aus"]["AU01"]["icc"] == measured.values["icc"][0]
    assert saved["intensity"]["aus"]["AU12"]["mae_interval"] == [end[1] for end in measured.interval("mae")]
    assert saved["intensity"]["mean"]["icc"] == pytest.approx(measured.mean("icc"))
    assert saved["intensity"]["aus"]["AU04"]["icc"] is None
    assert saved["rows"][0]["intensity"] == saved["intensity"]
    assert f"{measured.values['icc'][0]:.3f} [" in report_lib.as_text(done.report)
    assert "| ICC(3,1) | MAE | Pearson's r |" in (tmp_path / "report.md").read_text()
    lines = (tmp_path / "figures.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines if ",icc," in line] == ["AU01", "AU04", "AU12", "mean"]
    notes = " ".join(done.report.notes)
    assert calibration.RULE in notes
    assert "No ICC of AU04 by disfa_f0: not calibrated" in notes


def test_weights_of_presence_have_no_table_of_intensity():
    """Nor a note: reports of such weights are as ever."""
    done = protocols.single(_Predictor(), OPTIONS, run=_run({}), corpus="disfa", split="fold_0")
    assert done.report.main.agreement is None
    assert "intensity" not in report_lib.as_json(done.report)
    assert "ntensity" not in report_lib.as_text(done.report)


def test_a_corpus_of_presence_is_evaluated_by_f1():
    """F1 is that of the same scores, and the report says why there is nothing else."""
    done = protocols.single(_Predictor(coded=False), OPTIONS, run=_run(), corpus="bp4d", split="fold_0")
    with_codes = protocols.single(_Predictor(), OPTIONS, run=_run(), corpus="disfa", split="fold_0")
    assert done.report.main.agreement is None
    assert done.report.main.metrics.mean("f1") == with_codes.report.main.metrics.mean("f1")
    assert "the weights know it, but bp4d has no coded intensities: F1 and the like alone." in " ".join(
        done.report.notes
    )


def _folds(*curves):
    runs = [dataclasses.replace(_run(c, f"disfa_f{k}"), fold=k) for k, c in enumerate(curves)]
    return protocols.within(_Predictor(), OPTIONS, runs=runs, corpus="disfa").report


def test_agreement_is_averaged_over_folds():
    """By fold, in the mean of folds, by frames, and over all frames at once."""
    report = _folds(CURVES, CURVES, CURVES)
    *folds, mean, by_frames, pooled = [row.agreement for row in report.rows if row.agreement]
    assert len(folds) == 3
    assert mean.values["icc"][0] == pytest.approx(np.mean([fold.values["icc"][0] for fold in folds]))
    assert by_frames.values["mae"][0] == pytest.approx(mean.values["mae"][0]), "as many frames in each"
    assert pooled.frames[0] == sum(fold.frames[0] for fold in folds)


def test_folds_of_which_one_knows_presence_alone_have_no_mean():
    """A mean over two of three would be read as one over all."""
    report = _folds(CURVES, {}, CURVES)
    assert [row.agreement is None for row in report.rows] == [False, True, False, True, True, True]
    assert "disfa_f1 know presence alone, so there is no mean of agreement" in " ".join(report.notes)


def test_a_damaged_calibration_is_refused():
    """By the name of the weights."""
    meta = WeightsMeta(aus=(1,), extra={calibration.KEY: {"curves": {"AU01": {}}, "fitted_on": {}}})
    with pytest.raises(EvaluationError, match="disfa_f0: the weights' calibration of intensities is damaged"):
        intensity.calibration_of(dataclasses.replace(_run(), meta=meta))


def test_kept_predictions_are_of_one_calibration():
    """The checksum of weights is of their arrays: another calibration of the same arrays has another one of its own."""
    other = {**CURVES, 1: (np.array([-0.1, 0.1]), np.array([0.0, 4.0]))}
    assert intensity.metadata(_run()) == intensity.metadata(_run()) != intensity.metadata(_run(other))
    assert intensity.metadata(_run({})) == {}

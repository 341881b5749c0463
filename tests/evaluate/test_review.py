"""What a reviewer would object to: flagged in the report, where it strikes."""

from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import protocols, review, runs
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluatedRun
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.models import lineage
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta

HELD_OUT = {"selection": "best epoch on 2 held-out training subjects (SN003, SN004)"}


def _run(fold: int, corpus: str = "disfa", **extra: object) -> EvaluatedRun:
    meta = WeightsMeta(aus=(1, 12, 26), corpus=corpus, extra=extra)
    return EvaluatedRun(f"f{fold}", Path(f"f{fold}"), meta, config=None, fold=fold, recorded_sha256="a" * 64)


class _Predictor:
    """Predicts 60 frames of three subjects rightly; AU12 is never present in fold 1, and AU26 not coded there."""

    def __init__(self, **fields: object):
        self._fields = fields

    def folds(self, corpus) -> tuple[int, ...]:
        return (0, 1, 2)

    def tested(self, run, *, corpus, splits) -> TestedRun:
        labels = np.tile(np.arange(60)[:, None] % 2, (1, 3)).astype(np.int8)
        if splits == ["fold_1"]:
            labels[:, 1], labels[:, 2] = 0, -1
        names = np.array([f"{splits[0]}{letter}" for letter in "abc" for _ in range(20)])
        predictions = FramePredictions(
            aus=(1, 12, 26),
            splits=np.full(60, splits[0]),
            subjects=names,
            sequences=names,
            frames=np.arange(60),
            labels=labels,
            scores=(labels - 0.5).astype(np.float32),
            thresholds=np.zeros((60, 3)),
        )
        fields: dict = self._fields
        return TestedRun(run=run, corpus=corpus, predictions=predictions, thresholds=np.zeros(3), **fields)


def _single(run: EvaluatedRun, split: str = "fold_0", corpus: str = "disfa", **fields: object):
    predictor, options = _Predictor(**fields), EvalOptions(resamples=10)
    return protocols.single(predictor, options, run=run, corpus=corpus, split=split).report


def test_a_report_without_objections_has_no_warnings():
    """Warn of nothing where nothing is wrong."""
    assert _single(_run(0, **HELD_OUT)).warnings == ()


def test_aus_without_positives_are_noted_where_they_are():
    """Name AU and fold; F1 0 counts in the mean of folds, and what is not coded is left out."""
    trained = [_run(fold, **HELD_OUT) for fold in range(3)]
    report = protocols.within(_Predictor(), EvalOptions(resamples=10), runs=trained, corpus="disfa").report
    (never, uncoded) = [line for line in report.notes if line.startswith("disfa fold_1")]
    assert never.startswith("disfa fold_1: AU12 is never present: F1, precision and recall are 0 there, as published")
    assert uncoded == "disfa fold_1: AU26 is coded in no frame: no value there, left out of every mean."
    f1 = report.rows[3].metrics.values["f1"]
    np.testing.assert_allclose(f1, [1, 2 / 3, 1])
    assert "disfa fold_1: fewer than 20 frames have the AU present: AU12 (0)." in report.warnings


def test_selection_on_the_test_fold_is_flagged():
    """Flag it within a corpus, and weights that do not say; across corpora it is another fold."""
    published = _run(0, selection="best epoch on the test fold, as published")
    assert "f0: its epoch was selected on the test fold" in _single(published).warnings[0]
    assert "does not say how its epoch was selected" in _single(_run(0)).warnings[0]
    assert _single(published, corpus="bp4d").warnings == ()


def test_selection_of_an_earlier_step_on_its_test_fold_is_flagged():
    """Where it was of the corpus that is tested: what was selected then has seen the fold."""
    links = [
        Link(kind=lineage.TRAINED, name="first", corpus=corpus, fold=0, subjects={corpus: ["X"]}, selection=rule)
        for corpus, rule in (("disfa", f"best epoch {review.ON_TEST_FOLD}"), ("disfa", HELD_OUT["selection"]))
    ]
    for corpus, count in (("disfa", 1), ("bp4d", 0)):
        run = _run(0, **HELD_OUT, lineage=[link.to_dict() for link in links])
        found = [line for line in _single(run, corpus=corpus).warnings if "whose epoch was selected" in line]
        assert len(found) == count and all("began with first" in line for line in found)


def test_a_student_of_published_weights_is_flagged_as_they_are():
    """Their epochs were selected on the test fold, whatever rule the student was selected by."""
    teacher = Link(kind=lineage.CONVERTED, corpus="disfa", fold=0, aus=(1, 12, 26))
    own = Link(kind=lineage.DISTILLED, name="student", aus=(1, 12, 26))
    run = _run(0, **HELD_OUT, lineage=[teacher.to_dict(), own.to_dict()])
    line = "f0 has learnt from published weights of disfa, whose epochs were selected on the test fold"
    assert any(warning.startswith(line) for warning in _single(run).warnings)
    assert not any("published weights" in warning for warning in _single(run, corpus="bp4d").warnings)


def test_weights_that_know_rendered_faces_only_are_flagged():
    """Where they are tested on real faces, and not on rendered ones."""
    rendered = _run(0, "synthetic_disfa", trained_on={"corpus": "synthetic_disfa"}, **HELD_OUT)
    line = "f0 has learnt from rendered faces only: its scores of real faces mean nothing."
    assert line in _single(rendered).warnings
    assert line not in _single(rendered, corpus="synthetic_disfa").warnings


def test_every_step_of_a_network_is_noted():
    """Where it began with other weights: the report says from what it has learnt."""
    first = Link(kind=lineage.TRAINED, name="bp4d_f1", corpus="bp4d", fold=1)
    own = Link(kind=lineage.TRAINED, name="f0", corpus="disfa", fold=0)
    chain = [first.to_dict(), own.to_dict()]
    line = "f0 has learnt in 2 steps: bp4d_f1 (bp4d, fold 1 left out), then f0 (disfa, fold 0 left out)."
    assert line in _single(_run(0, lineage=chain, **HELD_OUT)).notes
    assert not any("steps" in note for note in _single(_run(0, lineage=chain[1:], **HELD_OUT)).notes)


def test_faces_of_nobody_known_that_a_student_has_seen_are_noted():
    """Behind the steps that it has learnt in."""
    teacher = Link(kind=lineage.TRAINED, name="f0", corpus="disfa", fold=0)
    own = Link(kind=lineage.DISTILLED, name="student", aus=(1,), faces={"corpus": 0, "files": 1200})
    chain = [teacher.to_dict(), own.to_dict()]
    line = "then student. Whom 1,200 unlabelled faces of files show, it does not record."
    assert any(note.endswith(line) for note in _single(_run(0, lineage=chain, **HELD_OUT)).notes)


def test_thresholds_of_unknown_subjects_are_flagged():
    """Flag a file that does not say on whom it was fitted."""
    text = f"those of t.json, {runs.FITTED_ON_UNKNOWN}"
    (line,) = _single(_run(0, **HELD_OUT), thresholds_text=text).warnings
    assert line.startswith("The thresholds are those of t.json")


def test_an_interval_that_includes_always_present_is_flagged():
    """Name the AUs, with that F1; say nothing without resamples."""
    report = _single(_run(0, **HELD_OUT))
    row = report.main
    row.metrics.resampled["f1"][:, 0] = np.linspace(0.5, 0.9, 10)  # "always" has 2/3 at a base rate of one half
    (line,) = review.warnings([row], 0, [])
    assert line.endswith('not above the F1 of always predicting "present": AU01 (66.7).')
    bare = protocols.single(
        _Predictor(), EvalOptions(resamples=0), run=_run(0, **HELD_OUT), corpus="disfa", split="fold_0"
    )
    assert bare.report.warnings == ()


@pytest.mark.parametrize(("side", "count"), [("left", 0), ("right", 1)])
def test_another_configuration_of_the_training_corpus_is_flagged(side, count):
    """Flag DISFA's right camera after training with the left one."""
    left, tested = (
        CorpusIdentity.of(f"disfa/{name}/1.0.0", aus=(1,), preparation={"camera": name}, faces={})
        for name in ("left", side)
    )
    report = _single(_run(0, **HELD_OUT, corpora=[left.to_dict()]), identities=(tested,))
    assert len(report.warnings) == count and report.corpora == (tested,)

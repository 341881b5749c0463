"""Subject leakage: tests on training subjects are refused, and tests of which that is not known."""

import pytest

from fgnet_jax.data import folds
from fgnet_jax.evaluate import leakage
from fgnet_jax.evaluate.leakage import LeakageError
from fgnet_jax.models import lineage
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta

RECORD = {
    "corpus": "disfa/left",
    "fold": 0,
    "subjects": {"disfa": ["SN003", "SN004"]},
    "held_out": {"disfa": ["SN006"]},
}
TRAINED = WeightsMeta(aus=(1,), corpus="disfa/left", extra={"trained_on": RECORD})
CONVERTED = WeightsMeta(aus=(1,), corpus="disfa")


def test_training_subjects_are_refused():
    """Refuse subjects trained on or selected on, by name, with the split that can be tested."""
    for subject in ("SN004", "SN006"):
        message = rf"disfa_f0 was trained or selected on 1 of the subjects.*{subject}.*--split fold_0"
        with pytest.raises(LeakageError, match=message):
            leakage.check_no_leakage(TRAINED, corpus="disfa", subjects=["SN001", subject], name="disfa_f0")
    leakage.check_no_leakage(TRAINED, corpus="disfa", subjects=["SN001", "SN002"], name="disfa_f0")


def test_another_corpus_has_other_subjects():
    """Allow equal names in another corpus, such as a synthetic stand-in; another preparation is the same corpus."""
    leakage.check_no_leakage(TRAINED, corpus="synthetic_disfa", subjects=["SN004"], name="disfa_f0")
    with pytest.raises(LeakageError):
        leakage.check_no_leakage(TRAINED, corpus="disfa/right", subjects=["SN004"], name="disfa_f0")


def test_subjects_of_further_training_corpora_are_refused():
    """Refuse a test subject of `also_train`, and one that the epoch was selected on there."""
    record = RECORD | {
        "subjects": {"disfa": ["SN003"], "bp4d": ["F001"]},
        "held_out": {"disfa": ["SN006"], "bp4d": ["F002"]},
    }
    joint = WeightsMeta(aus=(1,), corpus="disfa", extra={"trained_on": record})
    for subject in ("F001", "F002"):
        with pytest.raises(LeakageError, match=subject):
            leakage.check_no_leakage(joint, corpus="bp4d", subjects=["F003", subject], name="joint")
    leakage.check_no_leakage(joint, corpus="bp4d", subjects=["F003"], name="joint")


def test_converted_weights_need_the_fold():
    """Require the fold that was left out, which gives the training subjects by the published partition."""
    with pytest.raises(
        LeakageError, match="does not say on which folds; give the one that was left out with --trained_fold"
    ):
        leakage.check_no_leakage(CONVERTED, corpus="disfa", subjects=["SN001"], name="fgnet_disfa")
    tested, trained = folds.subjects("disfa", [0]), folds.subjects("disfa", [1])
    leakage.check_no_leakage(CONVERTED, corpus="disfa", subjects=tested, name="fgnet_disfa", fold=0)
    with pytest.raises(LeakageError, match="9 of the subjects.* and 4 more"):
        leakage.check_no_leakage(CONVERTED, corpus="disfa", subjects=trained, name="fgnet_disfa", fold=0)
    leakage.check_no_leakage(CONVERTED, corpus="bp4d", subjects=["F001"], name="fgnet_disfa")
    with pytest.raises(LeakageError, match="does not say which corpus"):
        leakage.check_no_leakage(WeightsMeta(aus=(1,)), corpus="bp4d", subjects=["F001"], name="w")


FIRST = Link(kind=lineage.TRAINED, name="disfa_f1", corpus="disfa", fold=1, subjects={"disfa": ["SN001", "SN003"]})
LAST = Link(
    kind=lineage.TRAINED, name="own", corpus="disfa/left", fold=0, **{k: RECORD[k] for k in ("subjects", "held_out")}
)


def _meta(*links):
    extra = {"trained_on": RECORD, lineage.KEY: [link.to_dict() for link in links]}
    return WeightsMeta(aus=(1,), corpus="disfa/left", extra=extra)


def test_subjects_of_earlier_steps_are_refused():
    """Whoever was learnt from through `init_from`: the first step has learnt from fold 0, which the last left out."""
    meta = _meta(FIRST, LAST)
    message = r"trained or selected on 1 of the subjects.*SN001. No fold of disfa was left out by every step.*disfa_f1"
    with pytest.raises(LeakageError, match=message):
        leakage.check_no_leakage(meta, corpus="disfa", subjects=["SN001", "SN002"], name="own")
    leakage.check_no_leakage(meta, corpus="disfa", subjects=["SN002", "SN009"], name="own")
    assert leakage.training_subjects(meta, corpus="disfa", name="own") == {"SN001", "SN003", "SN004", "SN006"}


def test_an_earlier_step_without_a_fold_needs_it():
    """Published weights that a run began with: nothing of their corpus can be tested until the fold is given."""
    published = Link(kind=lineage.CONVERTED, corpus="bp4d", aus=(1,), files=({"file": "model.pth", "sha256": "ab"},))
    meta = _meta(published, LAST)
    message = r"own began with model.pth \(bp4d, .*\), which was trained on bp4d but .*give .*--trained_fold"
    with pytest.raises(LeakageError, match=message):
        leakage.check_no_leakage(meta, corpus="bp4d", subjects=["F001"], name="own")
    leakage.check_no_leakage(meta, corpus="bp4d", subjects=["F001"], name="own", fold=0)
    with pytest.raises(LeakageError, match="1 of the subjects.*F003. Test it on .*--split fold_0"):
        leakage.check_no_leakage(meta, corpus="bp4d", subjects=["F003"], name="own", fold=0)
    leakage.check_no_leakage(meta, corpus="disfa", subjects=["SN001"], name="own")

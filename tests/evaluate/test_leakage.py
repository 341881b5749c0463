"""Subject leakage: tests on training subjects are refused, and tests of which that is not known."""

import pytest

from fgnet_jax.data import folds
from fgnet_jax.evaluate import leakage
from fgnet_jax.evaluate.leakage import LeakageError
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

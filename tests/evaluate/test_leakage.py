"""Nobody is tested on whom the network has seen; where that cannot be told, it is not tested."""

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


def test_people_of_the_training_are_refused():
    """Trained on, or selected by; named, with the split that can be tested."""
    for seen in ("SN004", "SN006"):
        with pytest.raises(LeakageError, match=rf"disfa_f0 has seen 1 of the people.*{seen}.*--split fold_0"):
            leakage.check_unseen(TRAINED, "disfa", ["SN001", seen], "disfa_f0")
    leakage.check_unseen(TRAINED, "disfa", ["SN001", "SN002"], "disfa_f0")


def test_another_corpus_is_other_people():
    """Whatever they are called; a twin is another corpus, another preparation is not."""
    leakage.check_unseen(TRAINED, "synthetic_disfa", ["SN004"], "disfa_f0")
    with pytest.raises(LeakageError):
        leakage.check_unseen(TRAINED, "disfa/right", ["SN004"], "disfa_f0")


def test_converted_weights_need_a_word():
    """The fold that was left out, by which the published partition says who was seen."""
    with pytest.raises(
        LeakageError, match="does not say on which folds; say which one was left out with --trained_fold"
    ):
        leakage.check_unseen(CONVERTED, "disfa", ["SN001"], "fgnet_disfa")
    leakage.check_unseen(CONVERTED, "disfa", folds.subjects("disfa", [0]), "fgnet_disfa", fold=0)
    with pytest.raises(LeakageError, match="9 of the people.* and 4 more"):
        leakage.check_unseen(CONVERTED, "disfa", folds.subjects("disfa", [1]), "fgnet_disfa", fold=0)
    leakage.check_unseen(CONVERTED, "bp4d", ["F001"], "fgnet_disfa")
    with pytest.raises(LeakageError, match="does not say which corpus"):
        leakage.check_unseen(WeightsMeta(aus=(1,)), "bp4d", ["F001"], "w")

"""Nobody is tested on whom the network has seen; where that cannot be told, it is not tested."""

import pytest

from fgnet_jax.evaluate import leakage as lineage
from fgnet_jax.train.checkpoints import WeightsMeta
from fgnet_jax.data import folds as protocols
from fgnet_jax.evaluate.leakage import SeenError

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
        with pytest.raises(SeenError, match=rf"disfa_f0 has seen 1 of the people.*{seen}.*--split fold_0"):
            lineage.check_unseen(TRAINED, "disfa", ["SN001", seen], "disfa_f0")
    lineage.check_unseen(TRAINED, "disfa", ["SN001", "SN002"], "disfa_f0")


def test_another_corpus_is_other_people():
    """Whatever they are called; a twin is another corpus, another preparation is not."""
    lineage.check_unseen(TRAINED, "synthetic_disfa", ["SN004"], "disfa_f0")
    with pytest.raises(SeenError):
        lineage.check_unseen(TRAINED, "disfa/right", ["SN004"], "disfa_f0")


def test_converted_weights_need_a_word():
    """The fold that was left out, by which the published partition says who was seen."""
    with pytest.raises(SeenError, match="does not say on which folds; say which one was left out with --trained_fold"):
        lineage.check_unseen(CONVERTED, "disfa", ["SN001"], "fgnet_disfa")
    lineage.check_unseen(CONVERTED, "disfa", protocols.subjects("disfa", [0]), "fgnet_disfa", fold=0)
    with pytest.raises(SeenError, match="9 of the people.* and 4 more"):
        lineage.check_unseen(CONVERTED, "disfa", protocols.subjects("disfa", [1]), "fgnet_disfa", fold=0)
    lineage.check_unseen(CONVERTED, "bp4d", ["F001"], "fgnet_disfa")
    with pytest.raises(SeenError, match="does not say which corpus"):
        lineage.check_unseen(WeightsMeta(aus=(1,)), "bp4d", ["F001"], "w")

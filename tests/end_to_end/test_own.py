"""A custom corpus, with an AU outside of the fifteen, trained together with another corpus by the commands."""

import json

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import weights
from tests.end_to_end import command
from tests.end_to_end.own_corpus import prepare_corpus

pytestmark = pytest.mark.slow  # a whole training


@pytest.fixture(scope="module")
def custom(train):
    """Prepare a corpus of six subjects: AU 12 and AU 43, which is not among the fifteen; return its name."""
    root = train.shared / "custom"
    root.mkdir()
    prepare_corpus("custom", root, train.shared / "data")
    return "custom"


def test_two_corpora_train_the_union_of_their_aus(train, tmp_path, custom):
    """Train a heatmap for every AU of either, and test each corpus' fold on the AUs that it has."""
    changes = {"data.also_train": f"('{custom}',)", "centres": "((43, (37, 38), (43, 44), 0.0),)", "train.epochs": 1}
    words = [f"--config.{key}={value}" for key, value in changes.items()]
    train(tmp_path / "run", *words)
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert len(results["f1"]) == 12 and "AU43" not in results["f1"]
    assert results["also_test"]["custom fold_0"]["f1"].keys() == {"AU12", "AU43"}
    _, _, meta = weights.load(tmp_path / "run/best")
    assert meta.aus == (*CORPUS_AUS["bp4d"], 43)
    assert meta.extra["trained_on"]["subjects"].keys() == {"synthetic_bp4d", "custom"}
    assert all(np.isfinite(loss) for loss in command.losses(tmp_path / "run"))


def test_an_au_without_centres_is_refused(train, tmp_path, custom):
    """Refuse before anything is trained, naming the configuration key."""
    output = train(tmp_path / "run", f"--config.data.corpus={custom}", status=2)
    assert "no heatmap centres are known for AU 43" in output and "config.centres" in output

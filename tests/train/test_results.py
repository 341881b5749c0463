"""results.json."""

import json

import numpy as np
import pytest

from fgnet_jax.train.results import write_results


def test_results_are_fractions_by_name(tmp_path):
    """As evaluation and users' scripts read them."""
    path = tmp_path / "results.json"
    arguments = {"aus": (1, 12), "f1": np.array([0.5, 0.75]), "split": "test", "selection": "held-out subjects"}
    written = write_results(path, **arguments, step=40, corpus="synthetic_bp4d")
    assert json.loads(path.read_text()) == written
    assert written == {
        "mean_f1": 0.625, "f1": {"AU01": 0.5, "AU12": 0.75}, "split": "test", "selection": "held-out subjects",
        "step": 40, "corpus": "synthetic_bp4d",
    }  # fmt: skip


def test_results_refuse_what_json_lacks(tmp_path):
    """Values that are not finite, and a mean that is given; no file is written."""
    arguments = {"aus": (1,), "split": "test", "selection": "last", "step": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "a.json", **arguments, f1=[float("nan")])
    with pytest.raises(ValueError, match="mean_f1"):
        write_results(tmp_path / "a.json", **arguments, f1=[0.5], mean_f1=0.9)
    assert list(tmp_path.iterdir()) == []

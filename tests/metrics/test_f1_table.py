"""The table of F1 and results.json."""

import json

import numpy as np
import pytest

from fgnet_jax.metrics.f1_table import f1_table
from fgnet_jax.train.results import write_results


def test_the_table_of_two_corpora():
    """Columns by AU number; each row's mean is over its own AUs."""
    table = f1_table([("BP4D, fold 0", (1, 2, 12), np.array([0.5, 0.25, 1.0])), ("DISFA", (1, 9), [0.1234, 0.0])])
    assert table.splitlines() == [
        "F1, %         AU01  AU02  AU09  AU12  mean",
        "------------------------------------------",
        "BP4D, fold 0  50.0  25.0     - 100.0  58.3",
        "DISFA         12.3     -   0.0     -   6.2",
    ]


def test_a_row_has_a_figure_for_each_au():
    """One too few is a mistake."""
    with pytest.raises(ValueError):
        f1_table([("DISFA", (1, 2), [0.5])])


def test_results_are_fractions_by_name(tmp_path):
    """As evaluation and people's scripts read them."""
    path = tmp_path / "results.json"
    given = {"aus": (1, 12), "f1": np.array([0.5, 0.75]), "split": "test", "selection": "held-out subjects"}
    written = write_results(path, **given, step=40, corpus="synthetic_bp4d")
    assert json.loads(path.read_text()) == written
    assert written == {
        "mean_f1": 0.625, "f1": {"AU01": 0.5, "AU12": 0.75}, "split": "test", "selection": "held-out subjects",
        "step": 40, "corpus": "synthetic_bp4d",
    }  # fmt: skip


def test_results_refuse_what_json_lacks(tmp_path):
    """Figures that are not finite; a mean of one's own. Nothing is left behind."""
    given = {"aus": (1,), "split": "test", "selection": "last", "step": 1}
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "a.json", **given, f1=[float("nan")])
    with pytest.raises(ValueError, match="mean_f1"):
        write_results(tmp_path / "a.json", **given, f1=[0.5], mean_f1=0.9)
    assert list(tmp_path.iterdir()) == []

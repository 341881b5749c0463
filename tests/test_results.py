"""The table of F1 and results.json."""

import json

import numpy as np
import pytest

from fgnet_jax.results import f1_table, write_results


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
    """As evaluation and people's scripts read them; further fields follow."""
    path = tmp_path / "results.json"
    f1 = {"AU01": np.float64(0.5), "AU12": 0.75}
    write_results(path, mean_f1=0.625, f1=f1, split="test", selection="held-out subjects", step=40, corpus="bp4d")
    assert list(json.loads(path.read_text()).items()) == [
        ("mean_f1", 0.625),
        ("f1", {"AU01": 0.5, "AU12": 0.75}),
        ("split", "test"),
        ("selection", "held-out subjects"),
        ("step", 40),
        ("corpus", "bp4d"),
    ]


def test_results_refuse_what_json_lacks(tmp_path):
    """Nothing is left behind."""
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path / "a.json", mean_f1=float("nan"), f1={}, split="test", selection="last", step=1)
    assert list(tmp_path.iterdir()) == []

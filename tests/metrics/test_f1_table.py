"""The table of F1."""

import numpy as np
import pytest

from fgnet_jax.metrics.f1_table import f1_table


def test_the_table_of_two_corpora():
    """Columns by AU number; each row's mean is over its own AUs."""
    table = f1_table([("BP4D, fold 0", (1, 2, 12), np.array([0.5, 0.25, 1.0])), ("DISFA", (1, 9), [0.1234, 0.0])])
    assert table.splitlines() == [
        "F1, %         AU01  AU02  AU09  AU12  mean",
        "------------------------------------------",
        "BP4D, fold 0  50.0  25.0     - 100.0  58.3",
        "DISFA         12.3     -   0.0     -   6.2",
    ]


def test_an_au_without_a_value_is_left_out_of_the_mean():
    """Show it as a dash."""
    assert f1_table([("DISFA", (1, 2), [0.5, float("nan")])]).splitlines()[-1].split() == ["DISFA", "50.0", "-", "50.0"]


def test_a_row_has_a_value_for_each_au():
    """One too few raises."""
    with pytest.raises(ValueError):
        f1_table([("DISFA", (1, 2), [0.5])])

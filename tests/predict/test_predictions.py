"""Tables of results from Python, in the conventions of other tools."""

import numpy as np
import pandas
import pytest

from fgnet_jax.predict.columns import DIALECTS, ResultRow
from fgnet_jax.predict.predictions import Predictions

SCORES = np.array([[0.25, -0.5], [np.nan, np.nan]], np.float32)
ROWS = (
    ResultRow("a.png", 1, None, 0, 0.9, (1.0, 2.0, 3.0, 4.0), np.ones((68, 2)), SCORES[0], SCORES[0] > 0, size=(8, 6)),
    ResultRow("b.png", size=(8, 6)),
)


@pytest.mark.parametrize("dialect", [None, *DIALECTS])
def test_a_row_without_a_face_follows_each_tool(dialect):
    """Give missing values, or OpenFace's zeros, or, as LibreFace, no row."""
    table = Predictions(np.array([1, 12], np.int32), SCORES, SCORES > 0, rows=ROWS).to_pandas(dialect)
    assert len(table) == (1 if dialect == "libreface" else 2)
    name = {None: "AU01_c", "openface": "AU01_c", "pyfeat": "AU01", "libreface": "au_1"}[dialect]
    values = {column: table[column].tolist() for column in table}
    assert values[name][0] == 1
    if dialect == "openface":
        assert [values[column][1] for column in ("success", "confidence", "x_5", name)] == [0, 0.0, 0.0, 0]
    elif dialect != "libreface":
        assert pandas.isna(values[name][1]) and values["input"][1] == "b.png"

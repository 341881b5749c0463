"""The recipe of the synthetic corpora: rendering that changes without a new `corpus.RECIPE` fails here."""

import json

import numpy as np
import pytest

from fgnet_jax.data.synthetic import corpus
from tests.data.synthetic import golden

HINT = "the synthetic corpora changed: raise corpus.RECIPE, then run python -m tests.data.synthetic.golden"


def test_golden_values_are_of_the_current_recipe() -> None:
    """The golden values were written for this recipe."""
    assert json.loads(golden.PATH.read_text())["recipe"] == corpus.RECIPE, HINT


@pytest.mark.parametrize("name", golden.CORPORA)
def test_rendering_is_that_of_the_recipe(name: str) -> None:
    """Subjects, labels, landmarks, images and JPEG sizes are those of the recipe, within the rounding of machines."""
    expected, actual = json.loads(golden.PATH.read_text())[name], golden.measure(name)
    assert actual["names"] == expected["names"] and actual["labels"] == expected["labels"], HINT
    np.testing.assert_allclose(actual["intensities"], expected["intensities"], atol=2e-3, err_msg=HINT)
    np.testing.assert_allclose(actual["landmarks"], expected["landmarks"], atol=2e-3, err_msg=HINT)
    np.testing.assert_allclose(actual["tile_means"], expected["tile_means"], atol=2e-2, err_msg=HINT)
    np.testing.assert_allclose(actual["jpeg_bytes"], expected["jpeg_bytes"], rtol=1e-2, err_msg=HINT)

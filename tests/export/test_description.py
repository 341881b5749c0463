"""The JSON beside a program: enough to use it without the source."""

import json

import numpy as np

import fgnet_jax
from fgnet_jax.export.description import describe
from fgnet_jax.metrics import calibration
from fgnet_jax.metrics.calibration import Calibration
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from tests.export.conftest import AUS


def test_the_json_describes_inputs_and_outputs(detector):
    """Describe enough to use the program without the source."""
    description = describe(detector, None, {"stablehlo": "m.stablehlo", "weights": "m.npz"})
    assert json.loads(json.dumps(description)) == description
    assert (
        description["aus"] == list(AUS)
        and description["names"][0] == "inner brow raiser"
        and description["corpus"] == "disfa"
    )
    assert description["image_size"] == 64 and description["batch"] == "symbolic"
    assert description["inputs"]["images"]["shape"] == ["batch", 64, 64, 3]
    assert description["outputs"]["heatmaps"]["shape"] == ["batch", 16, 16, len(AUS)]


def test_the_description_has_the_function_from_scores_to_intensities(directory, tmp_path):
    """As the weights have it; nothing for weights that know presence alone."""
    assert describe(fgnet_jax.Detector.load(directory), 1, {})["intensity"] is None
    curve = np.array([-0.5, 0.5]), np.array([0.0, 5.0])
    fitted = Calibration({12: curve}, {"disfa": ["SN001"]})
    meta = weights.WeightsMeta(aus=AUS, corpus="disfa", extra={calibration.KEY: fitted.to_dict()})
    weights.save(tmp_path / "calibrated", TINY, fgnet.init(TINY), meta)
    described = describe(fgnet_jax.Detector.load(tmp_path / "calibrated"), 1, {})["intensity"]
    assert described["curves"] == {"AU12": {"scores": [-0.5, 0.5], "intensities": [0.0, 5.0]}}
    assert "linear in its score between these points" in described["meaning"]

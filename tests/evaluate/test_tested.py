"""Runs with their predictions: thresholds that were fitted on tested subjects, and files that cannot be read."""

import json
from pathlib import Path

import pytest

from fgnet_jax.evaluate import tested
from fgnet_jax.evaluate.leakage import LeakageError
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.evaluate.tested import NetworkPredictor
from fgnet_jax.metrics.thresholds import ThresholdsError


def test_thresholds_fitted_on_test_subjects_are_refused():
    """Refuse them by name, of the same corpus or of one that is not named; others pass."""
    for corpus in ("disfa", "disfa/left", ""):
        with pytest.raises(LeakageError, match=r"those of t.json\) were fitted on 1 of the subjects.*: SN001"):
            tested.check_fitted_on(
                {corpus: ["SN001"]}, corpus="disfa", subjects={"SN001", "SN002"}, source="those of t.json"
            )
    tested.check_fitted_on({"disfa": ["SN003"], "bp4d": ["SN001"]}, corpus="disfa", subjects={"SN001"}, source="t")


def test_thresholds_are_read_before_anything_is_predicted(tmp_path):
    """Refuse a file that does not exist, or that holds something else, when the predictor is created."""
    data = EvalData(data_dir=tmp_path)
    with pytest.raises(ThresholdsError, match="nosuch: cannot read thresholds"):
        NetworkPredictor(data, EvalOptions(thresholds_file=Path("nosuch")))
    (tmp_path / "t.json").write_text(json.dumps({"AU01": 0}))
    with pytest.raises(ThresholdsError, match="expected JSON like"):
        NetworkPredictor(data, EvalOptions(thresholds_file=tmp_path / "t.json"))

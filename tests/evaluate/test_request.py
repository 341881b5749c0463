"""The specification of an evaluation: described, recorded and read back."""

import json
from pathlib import Path

from fgnet_jax.evaluate import request
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import EvaluatedRun
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.models.weights import WeightsMeta

RUN = EvaluatedRun("disfa_f0", Path("runs/disfa_f0/best"), WeightsMeta(), config=None, fold=0, recorded_sha256="ab12")


def test_reports_describe_the_thresholds():
    """Describe published, given and fitted ones."""
    assert EvalOptions().thresholds_text == "0, as published"
    assert EvalOptions(thresholds_file=Path("t.json")).thresholds_text == "those of t.json"
    fitted = "fitted, per AU, the threshold of the highest F1 on held-out training subjects of each run"
    assert EvalOptions(fit_thresholds=True).thresholds_text == fitted


def test_a_request_is_recorded_with_all_that_figures_depend_on(tmp_path, monkeypatch):
    """Record folders and files as absolute paths, so that it can be repeated from anywhere."""
    monkeypatch.chdir(tmp_path)
    options = EvalOptions(resamples=7, seed=3, thresholds_file=Path("t.json"))
    spec = Request(request.WITHIN, (RUN,), "disfa", options=options)
    recorded = json.loads(json.dumps(spec.to_dict(EvalData(Path("data"), batch_size=5))))
    assert recorded == {
        "protocol": "within",
        "corpus": "disfa",
        "source": "",
        "split": "",
        "runs": [
            {
                "name": "disfa_f0",
                "weights": str(tmp_path / "runs/disfa_f0/best"),
                "weights_sha256": "ab12",
                "fold": 0,
                "trained_fold": None,
            }
        ],
        "resamples": 7,
        "seed": 3,
        "fit_thresholds": False,
        "thresholds_file": str(tmp_path / "t.json"),
        "data_dir": str(tmp_path / "data"),
        "batch_size": 5,
        "threads": 4,
    }
    assert request.options_of(recorded) == EvalOptions(resamples=7, seed=3, thresholds_file=tmp_path / "t.json")

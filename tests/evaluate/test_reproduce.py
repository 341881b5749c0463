"""A report's evaluation again: figures that differ, and reports that cannot be evaluated again.

That networks make the same bits is tested in test_main.py.
"""

import json
from pathlib import Path

import pytest

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import reproduce, request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.models.weights import WeightsMeta

PREPARED = CorpusIdentity.of("disfa/1.0.0", aus=(1, 12), preparation={"threshold": 2}, faces={"fold_0": 30})
ANEW = CorpusIdentity.of("disfa/1.0.0", aus=(1, 12), preparation={"threshold": 3}, faces={"fold_0": 30})
REPORT = {
    "mean_f1": 0.1 + 0.2,
    "aus": {"AU12": {"f1": 0.25, "f1_interval": [0.125, 0.5]}},
    "rows": [{"name": "fold 0", "runs": [{"weights": "a", "thresholds": {"12": 0.0}}]}],
    "corpora": [PREPARED.to_dict()],
    "notes": ["Thresholds: 0."],
}
REQUEST = {
    "protocol": "single",
    "corpus": "disfa",
    "source": "",
    "split": "fold_0",
    "runs": [{"name": "disfa_f0", "weights": "runs/disfa_f0/best", "weights_sha256": "ab" * 32, "fold": 0}],
    "resamples": 5,
    "seed": 0,
    "fit_thresholds": False,
    "thresholds_file": None,
    "data_dir": "data",
    "batch_size": 16,
    "threads": 4,
}


def test_figures_are_compared_bit_for_bit():
    """Name each that differs, in the last bit, too; folders may differ, statements, and what later versions add."""
    assert reproduce.compare(REPORT, json.loads(json.dumps(REPORT))) == []
    other = json.loads(json.dumps(REPORT)) | {"mean_f1": 0.3, "notes": [], "further": 1}
    other["aus"]["AU12"]["f1_interval"][1] = None
    other["rows"][0]["runs"][0] = {"weights": "b", "thresholds": {"12": 0.5}}
    assert reproduce.compare(REPORT, other) == [
        "mean_f1: 0.30000000000000004 then, 0.3 now",
        "aus.AU12.f1_interval[1]: 0.5 then, None now",
        "rows[0].runs[0].thresholds.12: 0.0 then, 0.5 now",
    ]
    assert reproduce.compare(REPORT, REPORT | {"rows": []})[0].startswith("rows: [{'name': 'fold 0'")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder of a report, whose weights and corpus are there."""
    run = EvaluatedRun("disfa_f0", Path("w"), WeightsMeta(), config=None, fold=0, recorded_sha256="ab" * 32)
    monkeypatch.setattr(reproduce, "open_run", lambda *_: run)
    monkeypatch.setattr(reproduce, "open_identity", lambda *_: PREPARED)
    (tmp_path / "report.json").write_text(json.dumps(REPORT | {request.KEY: REQUEST}))
    return tmp_path


def test_other_weights_and_corpora_are_refused(folder, monkeypatch):
    """Say what differs, before anything is predicted."""
    monkeypatch.setattr(reproduce, "open_identity", lambda *_: ANEW)
    message = rf"fingerprint {PREPARED.fingerprint} then, {ANEW.fingerprint} now: .*threshold: 2 then, 3 now"
    with pytest.raises(EvaluationError, match=message):
        reproduce.reproduce(folder)
    monkeypatch.setattr(reproduce, "checksum", lambda _: "cd" * 32)
    with pytest.raises(
        EvaluationError, match="w: other weights than the report's: SHA-256 abababababababab… then, cdcd"
    ):
        reproduce.reproduce(folder)


def test_reports_without_a_request_are_refused(folder):
    """Name the report: one of an earlier version, one of kept predictions, none."""
    (folder / "report.json").write_text(json.dumps(REPORT))
    with pytest.raises(EvaluationError, match=r"report\.json: an earlier version wrote it, without its `request`"):
        reproduce.reproduce(folder)
    (folder / "report.json").write_text(json.dumps(REPORT | {request.KEY: REQUEST | {"data_dir": None}}))
    with pytest.raises(EvaluationError, match="was made from kept predictions"):
        reproduce.reproduce(folder)
    with pytest.raises(EvaluationError, match=r"absent/report\.json: cannot be read: No such file"):
        reproduce.reproduce(folder / "absent")

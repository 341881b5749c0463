"""Predictions of a split: kept, read again while weights and faces are the same, and rewritten at other thresholds.

What networks predict is tested in test_main.py, on trained runs.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import frame_predictions, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.leakage import LeakageError
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.weights import WeightsMeta

SUBJECTS = ("SN001", "SN001", "SN002")
FACE = {"sequence": b"left", "labels": np.zeros(2, np.int8), "intensities": np.zeros(2, np.float32)}
SOURCE = [FACE | {"subject": name.encode(), "frame": k} for k, name in enumerate(SUBJECTS)]
PREPARED = CorpusIdentity.of("disfa/1.0.0", aus=(1, 12), preparation={"threshold": 2}, faces={"fold_0": 2, "fold_1": 1})
ANEW = CorpusIdentity.of("disfa/1.0.0", aus=(1, 12), preparation={"threshold": 3}, faces={"fold_0": 2, "fold_1": 1})
CORPUS = Corpus("disfa", (1, 12), ("fold_0", "fold_1"), (SOURCE[:2], SOURCE[2:]), identities=(PREPARED,))
RUN = EvaluatedRun(
    name="bp4d_f0",
    weights=Path("weights"),
    meta=WeightsMeta(model=ModelConfig().to_dict(), aus=(12, 2, 1), corpus="bp4d"),
    config=None,
    fold=0,
)


def _predictions() -> FramePredictions:
    return FramePredictions(
        aus=(12, 1),
        splits=np.array(["fold_0", "fold_0", "fold_1"]),
        subjects=np.array(SUBJECTS),
        sequences=np.full(3, "left"),
        frames=np.arange(3),
        labels=np.ones((3, 2), np.int8),
        scores=np.array([[0.1, 0.2], [0.3, -0.1], [0.2, 0.2]], np.float32),
        thresholds=np.zeros((3, 2)),
    )


@pytest.fixture
def data(tmp_path, monkeypatch) -> EvalData:
    """A corpus of three faces, a network whose predictions are known, and a folder to keep them in."""
    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setattr(scoring, "_open_splits", lambda *_: (CORPUS, tmp_path))
    monkeypatch.setattr(scoring, "checksum", lambda run: str(run.weights))
    return EvalData(data_dir=tmp_path, predictions=tmp_path / "predictions")


@pytest.fixture
def titles(monkeypatch) -> list[str]:
    """The titles of what is predicted."""
    predicted = []

    def predict_split(*_, title: str, aus: tuple[int, ...], indices: np.ndarray, **__) -> FramePredictions:
        assert aus == (12, 1) and indices.tolist() == [0, 1, 2]
        predicted.append(title)
        return _predictions()

    monkeypatch.setattr(scoring, "predict_split", predict_split)
    return predicted


def test_predictions_are_read_again_while_weights_and_faces_are_the_same(data, titles):
    """Predict again after other weights, and after another preparation of the corpus."""
    for run in (RUN, RUN, dataclasses.replace(RUN, weights=Path("other")), RUN):
        predictions = scoring.predict_split_cached(data, run, corpus="disfa/left", split="fold_0").predictions
        np.testing.assert_array_equal(predictions.scores, _predictions().scores)
    assert titles == ["bp4d_f0 on disfa/left fold_0"] * 3
    assert data.predictions and [p.name for p in data.predictions.iterdir()] == ["bp4d_f0-on-disfa-fold_0.parquet"]
    (data.data_dir / "dataset_info.json").write_text("{ }")
    scoring.predict_split_cached(data, RUN, corpus="disfa/left", split="fold_0")
    assert len(titles) == 4


def test_predictions_of_another_preparation_are_not_read_again(data, titles, monkeypatch, capsys):
    """Predict again, and say what differs, after preparing with another threshold: dataset_info.json is the same."""
    scoring.predict_split_cached(data, RUN, corpus="disfa", split="fold_0")
    anew = dataclasses.replace(CORPUS, identities=(ANEW,))
    monkeypatch.setattr(scoring, "_open_splits", lambda *_: (anew, data.data_dir))
    capsys.readouterr()
    stored = scoring.predict_split_cached(data, RUN, corpus="disfa", split="fold_0")
    assert len(titles) == 2 and stored.identities == (ANEW,)
    assert "predicted anew: the corpus was prepared anew" in capsys.readouterr().err
    assert stored.path and frame_predictions.read(stored.path)[1]["corpora"] == [ANEW.to_dict()]


def test_a_corpus_prepared_anew_since_training_is_refused(data, titles):
    """Say what differs; accept the preparation that was trained with, and other corpora."""
    trained = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, extra={"corpora": [ANEW.to_dict()]}))
    with pytest.raises(EvaluationError, match="disfa/1.0.0 was prepared anew.*preparation.threshold: 3 then, 2 now"):
        scoring.predict_split_cached(data, trained, corpus="disfa", split="fold_0")
    same = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, extra={"corpora": [PREPARED.to_dict()]}))
    scoring.predict_split_cached(data, same, corpus="disfa", split="fold_0")
    assert len(titles) == 1


def test_predictions_are_kept_in_a_given_folder_alone(data, titles):
    """Predict each time, and write nothing, without a folder."""
    data = dataclasses.replace(data, predictions=None)
    for _ in range(2):
        scoring.predict_split_cached(data, RUN, corpus="disfa", split="fold_0")
    assert len(titles) == 2 and [path.name for path in data.data_dir.iterdir()] == ["dataset_info.json"]


def test_thresholds_are_written_to_the_file(data, titles):
    """Rewrite the kept predictions at other thresholds, with where these come from; keep them at the same ones."""
    where = {"corpus": "disfa", "split": "fold_0"}
    stored = scoring.predict_split_cached(data, RUN, **where)
    assert stored.path and stored.path.name == "bp4d_f0-on-disfa-fold_0.parquet"
    scoring.apply_thresholds(stored, [0.0, 0.0])
    before = stored.path.stat().st_mtime_ns
    scoring.apply_thresholds(stored, [0.0, 0.0])
    assert stored.path.stat().st_mtime_ns == before
    result = scoring.apply_thresholds(stored, [0.25, 0.1], rule="fitted", fitted_on={"bp4d": ["F001"]})
    assert result.thresholds.tolist() == [[0.25, 0.1]] * 3
    read, metadata = frame_predictions.read(stored.path)
    np.testing.assert_array_equal(read.thresholds, result.thresholds)
    assert (metadata["thresholds_rule"], metadata["fitted_on"]) == ("fitted", {"bp4d": ["F001"]})
    again = scoring.predict_split_cached(data, RUN, **where).predictions
    assert again.thresholds[0].tolist() == [0.25, 0.1] and len(titles) == 1


def test_training_subjects_are_not_predicted(data, titles):
    """Refuse before the network is loaded; so also AUs that nobody shares, and thresholds without held-out subjects."""
    record = {"subjects": {"disfa": ["SN002"]}, "fold": 0}
    trained = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, extra={"trained_on": record}))
    with pytest.raises(LeakageError, match="SN002"):
        scoring.predict_split_cached(data, trained, corpus="disfa", split="fold_0")
    other = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, aus=(2,)))
    with pytest.raises(EvaluationError, match="no AU in common"):
        scoring.predict_split_cached(data, other, corpus="disfa", split="fold_0")
    with pytest.raises(EvaluationError, match="no held-out training subjects to fit thresholds on"):
        scoring.predict_held_out(data, trained)
    assert not titles


def test_the_same_people_are_known_under_another_name(data, titles, tmp_path, monkeypatch):
    """A second preparation of DISFA's recordings, by `prepare --name`: its subjects are those of DISFA."""
    preparation = {"recordings": "disfa"}
    identity = CorpusIdentity.of("disfa_again/1.0.0", aus=(1, 12), preparation=preparation, faces={"fold_0": 3})
    again = dataclasses.replace(CORPUS, name="disfa_again", identities=(identity,))
    monkeypatch.setattr(scoring, "_open_splits", lambda *_: (again, tmp_path))
    record = {"subjects": {"disfa": ["SN002"]}, "fold": 0}
    trained = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, extra={"trained_on": record}))
    with pytest.raises(LeakageError, match="SN002"):
        scoring.predict_split_cached(data, trained, corpus="disfa_again", split="fold_0")
    assert not titles


def test_held_out_subjects_are_found_by_whose_recordings_they_are():
    """Of a run on a second preparation, whose subjects are recorded as those of DISFA."""
    identity = CorpusIdentity.of("again/1.0.0", aus=(1,), preparation={"recordings": "disfa"}, faces={})
    record = {"corpus": "again", "fold": 0, "held_out": {"disfa": ["SN002"], "bp4d": ["F001"]}}
    extra = {"trained_on": record, "corpora": [identity.to_dict()]}
    run = dataclasses.replace(RUN, meta=dataclasses.replace(RUN.meta, extra=extra))
    assert scoring.held_out_subjects(run) == ("again", {"disfa": ["SN002"]})


def test_frames_are_loaded_for_all_devices(data):
    """Round the batch up to a multiple of the devices; load the label columns of the network's AUs."""
    loader = scoring._loader_config(data, RUN, CORPUS)
    assert loader.batch_size == 16 and loader.image_size == 256 and loader.columns == (1, -1, 0)

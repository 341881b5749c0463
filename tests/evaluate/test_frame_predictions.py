"""Per-frame predictions as people read them: with pyarrow alone, and back."""

import numpy as np
import pyarrow.parquet
import pytest

from fgnet_jax.evaluate import frame_predictions
from fgnet_jax.evaluate.frame_predictions import FramePredictions


def _answers() -> FramePredictions:
    labels = np.array([[1, 0], [-1, 1], [0, 0]], np.int8)
    scores = np.array([[0.25, -0.5], [0.1, 0.2], [0.3, -0.1]], np.float32)
    splits, frames = np.array(["fold_0", "fold_0", "fold_1"]), np.array([7, 8, 2440])
    subjects, sequences = np.array(["F001", "F001", "M002"]), np.array(["T1", "T2", "T1"])
    whole = FramePredictions((1, 12), splits, subjects, sequences, frames, labels, scores, np.zeros((3, 2)))
    return whole.at([0.0, 0.15])


def test_columns_by_name(tmp_path):
    """A row a frame, whatever reads it; what is said is above the threshold."""
    frame_predictions.write(tmp_path / "a.parquet", _answers(), {"weights": "abc"})
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(table) == [
        "split", "subject", "sequence", "frame",
        "AU01_label", "AU01_score", "AU01_c", "AU12_label", "AU12_score", "AU12_c",
    ]  # fmt: skip
    assert table["subject"] == ["F001", "F001", "M002"] and table["frame"] == [7, 8, 2440]
    assert table["AU01_label"] == [1, -1, 0] and table["AU12_c"] == [0, 1, 0]
    np.testing.assert_array_equal(np.float32(table["AU01_score"]), _answers().scores[:, 0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_they_come_back(tmp_path):
    """Every array, and what made them."""
    frame_predictions.write(tmp_path / "a.parquet", _answers(), {"weights": "abc"})
    back, about = frame_predictions.read(tmp_path / "a.parquet")
    assert about["weights"] == "abc" and back.aus == (1, 12)
    for name in ("splits", "subjects", "sequences", "frames", "labels", "scores", "thresholds"):
        np.testing.assert_array_equal(getattr(back, name), getattr(_answers(), name), err_msg=name)
        assert getattr(back, name).dtype.kind == getattr(_answers(), name).dtype.kind


def test_splits_are_taken_apart_and_joined():
    """By name, in order."""
    whole = _answers()
    assert whole.of_split("fold_1").frames.tolist() == [2440]
    both = frame_predictions.join([whole.of_split("fold_0"), whole.of_split("fold_1")])
    np.testing.assert_array_equal(both.scores, whole.scores)
    assert len(both) == 3


def test_another_file_is_refused(tmp_path):
    """By name."""
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(
        frame_predictions.FramePredictionsError, match=r"a\.parquet: not a file of per-frame predictions"
    ):
        frame_predictions.read(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "b.parquet")
    with pytest.raises(frame_predictions.FramePredictionsError, match=r"b\.parquet"):
        frame_predictions.read(tmp_path / "b.parquet")

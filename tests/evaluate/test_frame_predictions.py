"""Per-frame predictions: written, read with pyarrow alone, and read back."""

import dataclasses

import numpy as np
import pyarrow.parquet
import pytest

from fgnet_jax.evaluate import frame_predictions
from fgnet_jax.evaluate.frame_predictions import FramePredictions


def _predictions() -> FramePredictions:
    predictions = FramePredictions(
        aus=(1, 12),
        splits=np.array(["fold_0", "fold_0", "fold_1"]),
        subjects=np.array(["F001", "F001", "M002"]),
        sequences=np.array(["T1", "T2", "T1"]),
        frames=np.array([7, 8, 2440]),
        labels=np.array([[1, 0], [-1, 1], [0, 0]], np.int8),
        scores=np.array([[0.25, -0.5], [0.1, 0.2], [0.3, -0.1]], np.float32),
        thresholds=np.zeros((3, 2)),
    )
    return predictions.at([0.0, 0.15])


def test_columns_by_name(tmp_path):
    """Check one row per frame, whatever reads it; `_c` is 1 above the threshold."""
    frame_predictions.write(tmp_path / "a.parquet", _predictions(), {"weights": "abc"})
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert list(table) == [
        "split", "subject", "sequence", "frame",
        "AU01_label", "AU01_score", "AU01_c", "AU12_label", "AU12_score", "AU12_c",
    ]  # fmt: skip
    assert table["subject"] == ["F001", "F001", "M002"] and table["frame"] == [7, 8, 2440]
    assert table["AU01_label"] == [1, -1, 0] and table["AU12_c"] == [0, 1, 0]
    np.testing.assert_array_equal(np.float32(table["AU01_score"]), _predictions().scores[:, 0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_predictions_are_read_back(tmp_path):
    """Check every array, and the metadata."""
    frame_predictions.write(tmp_path / "a.parquet", _predictions(), {"weights": "abc"})
    back, metadata = frame_predictions.read(tmp_path / "a.parquet")
    assert metadata["weights"] == "abc" and back.aus == (1, 12)
    for name in ("splits", "subjects", "sequences", "frames", "labels", "scores", "thresholds"):
        np.testing.assert_array_equal(getattr(back, name), getattr(_predictions(), name), err_msg=name)
        assert getattr(back, name).dtype.kind == getattr(_predictions(), name).dtype.kind


def test_splits_are_taken_apart_and_joined():
    """Take splits by name, and join them in order."""
    predictions = _predictions()
    assert predictions.of_split("fold_1").frames.tolist() == [2440]
    joined = frame_predictions.join([predictions.of_split("fold_0"), predictions.of_split("fold_1")])
    np.testing.assert_array_equal(joined.scores, predictions.scores)
    assert len(joined) == 3


def test_predictions_are_joined_by_the_names_of_aus():
    """Match columns whatever their order; an AU that one part lacks is unknown there."""
    first = _predictions()
    other = dataclasses.replace(first.of_aus((12, 1)), subjects=np.array(["F009"] * 3))
    joined = frame_predictions.join([first, other])
    assert joined.aus == (1, 12)
    np.testing.assert_array_equal(joined.scores[3:], first.scores)
    np.testing.assert_array_equal(joined.thresholds[3:], first.thresholds)
    joined = frame_predictions.join([first, first.of_aus((12, 4))])
    assert joined.aus == (1, 12, 4) and joined.labels[3:, 0].tolist() == joined.labels[:, 2].tolist()[:3] == [-1] * 3
    np.testing.assert_array_equal(joined.scores[3:, 1], first.scores[:, 1])


def test_predictions_are_sorted_by_au():
    """Reorder the columns of all arrays alike."""
    predictions = dataclasses.replace(_predictions(), aus=(12, 1)).sorted_by_au()
    assert predictions.aus == (1, 12)
    for name in ("labels", "scores", "thresholds"):
        np.testing.assert_array_equal(getattr(predictions, name), getattr(_predictions(), name)[:, ::-1])


def test_another_file_is_refused(tmp_path):
    """Refuse text, and Parquet of other columns, by name."""
    (tmp_path / "a.parquet").write_text("no")
    with pytest.raises(
        frame_predictions.FramePredictionsError, match=r"a\.parquet: not a file of per-frame predictions"
    ):
        frame_predictions.read(tmp_path / "a.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "b.parquet")
    with pytest.raises(frame_predictions.FramePredictionsError, match=r"b\.parquet"):
        frame_predictions.read(tmp_path / "b.parquet")


def _with_intensities() -> FramePredictions:
    coded, estimates = [[3, 0], [-1, 5], [1, 0]], [[2.5, np.nan], [1, np.nan], [0.5, np.nan]]
    return dataclasses.replace(
        _predictions(), intensities=np.array(coded, np.float32), estimates=np.array(estimates, np.float32)
    )


def test_intensities_are_kept_and_read_back(tmp_path):
    """Coded and estimated, where the weights know them; an AU that is not calibrated is NaN."""
    frame_predictions.write(tmp_path / "a.parquet", _with_intensities(), {})
    names = pyarrow.parquet.read_table(tmp_path / "a.parquet").column_names
    assert names[4:9] == ["AU01_label", "AU01_score", "AU01_c", "AU01_r", "AU01_intensity"]
    back, _ = frame_predictions.read(tmp_path / "a.parquet")
    np.testing.assert_array_equal(back.intensities, _with_intensities().intensities)
    np.testing.assert_array_equal(back.estimates, _with_intensities().estimates)


def test_joined_predictions_have_intensities_if_all_have():
    """AU by AU; of a part that knows presence alone, nothing is made up."""
    known = _with_intensities()
    joined = frame_predictions.join([known.of_split("fold_0"), known.of_split("fold_1").of_aus((12, 1))])
    np.testing.assert_array_equal(joined.intensities, known.intensities)
    np.testing.assert_array_equal(joined.estimates, known.estimates)
    mixed = frame_predictions.join([known, _predictions()])
    assert mixed.intensities is None and mixed.estimates is None and len(mixed) == 6
    wider = known.of_aus((4, 1))
    assert wider.intensities is not None and wider.intensities[:, 0].tolist() == [-1] * 3

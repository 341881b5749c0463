"""Columns: this package's own, and those that other tools' users know, with nothing made up."""

import numpy as np
import pytest

from fgnet_jax.predict import columns
from fgnet_jax.predict.columns import ResultRow

AUS = (1, 12)
LANDMARKS = np.arange(136, dtype=np.float32).reshape(68, 2)
FACE = ResultRow(
    "clip.mp4", 8, 0.28, 3, 1.25, (10.0, 20.0, 30.0, 40.0), LANDMARKS,
    np.array([1 / 3, -0.5], np.float32), np.array([True, False]), np.array([[5.125, 6.0], [np.nan, np.nan]]),
)  # fmt: skip
NOBODY = ResultRow("clip.mp4", 9, 0.32)


def cells(row, *arguments, **options):
    """A row as a dictionary of text."""
    layout = columns.table_columns(AUS, *arguments, **options)
    return dict(zip(layout.names, layout.cells(row), strict=True))


def test_own_columns():
    """AU numbers are padded; scores come back to the last bit of float32."""
    assert cells(FACE) == {
        "input": "clip.mp4", "frame": "8", "timestamp": "0.28", "face_id": "3", "confidence": "1.25", "success": "1",
        "FaceRectX": "10.0", "FaceRectY": "20.0", "FaceRectWidth": "30.0", "FaceRectHeight": "40.0",
        "AU01_c": "1", "AU01_score": "0.33333334", "AU12_c": "0", "AU12_score": "-0.5",
    }  # fmt: skip
    assert np.float32(cells(FACE)["AU01_score"]) == np.float32(1 / 3)


def test_a_frame_without_a_face_has_empty_cells():
    """Never a 0 that somebody would count as an absent AU."""
    found = cells(NOBODY)
    assert {name: text for name, text in found.items() if text} == {
        "input": "clip.mp4", "frame": "9", "timestamp": "0.32", "success": "0"
    }  # fmt: skip


def test_peaks_follow_the_scores_and_are_empty_where_there_is_none():
    """In pixels of the image."""
    found = cells(FACE, peaks=True)
    assert list(found)[-4:] == ["AU12_c", "AU12_score", "AU12_x", "AU12_y"]
    assert (found["AU01_x"], found["AU01_y"], found["AU12_x"]) == ("5.12", "6.0", "")


def test_openface():
    """FaceLandmarkVidMulti's columns that are known here: no intensities, no pose; the input last."""
    names = columns.table_columns(AUS, "openface").names
    assert names[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "x_0"]
    assert names[72:74] == ["x_67", "y_0"] and names[-3:] == ["AU01_c", "AU12_c", "input"]
    found = cells(FACE, "openface")
    assert (found["frame"], found["x_1"], found["y_1"], found["AU01_c"]) == ("8", "2.0", "3.0", "1")
    assert not [name for name in names if name.endswith("_r") or name.startswith(("gaze", "pose"))]


def test_pyfeat():
    """Frames from 0, AUs without an ending, the score of the face; no emotions."""
    found = cells(FACE, "pyfeat")
    assert list(found)[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
    assert (found["frame"], found["FaceScore"], found["AU01"], found["AU12"]) == ("7", "1.25", "1", "0")


def test_libreface():
    """Frames from 0, milliseconds, AUs unpadded."""
    found = cells(FACE, "libreface")
    assert list(found) == ["frame_idx", "frame_time_in_ms", "au_1", "au_12", "input", "face_id"]
    assert (found["frame_idx"], found["frame_time_in_ms"], found["au_1"]) == ("7", "280.0", "1")


def test_another_dialect_is_refused():
    """With those that there are."""
    with pytest.raises(ValueError, match="openface, pyfeat, libreface, got 'spss'"):
        columns.table_columns(AUS, "spss")


def test_values_have_types():
    """For Parquet and pandas: what is empty is None."""
    values = dict(zip(columns.table_columns(AUS).names, columns.table_columns(AUS).values(NOBODY), strict=True))
    assert (
        values["frame"] == 9 and values["success"] == 0 and values["face_id"] is None and values["AU01_score"] is None
    )

"""Columns: this package's own, and those that users of other tools know, with nothing made up."""

import numpy as np
import pytest

from fgnet_jax.predict import columns
from fgnet_jax.predict.columns import ResultRow

AUS = (1, 12)
LANDMARKS = np.arange(136, dtype=np.float32).reshape(68, 2)
FACE = ResultRow(
    input="clip.mp4",
    frame=8,
    timestamp=0.28,
    face_id=3,
    confidence=1.25,
    box=(10.0, 20.0, 30.0, 40.0),
    landmarks=LANDMARKS,
    scores=np.array([1 / 3, -0.5], np.float32),
    present=np.array([True, False]),
    peaks=np.array([[5.125, 6.0], [np.nan, np.nan]]),
)
NO_FACE = ResultRow("clip.mp4", 9, 0.32)


def cells(row, *arguments, **options):
    """Return a row as a dictionary of text."""
    table = columns.table_columns(AUS, *arguments, **options)
    return dict(zip(table.names, table.cells(row), strict=True))


def test_own_columns():
    """Pad AU numbers, and write scores so that they are read back to the last bit of float32."""
    assert cells(FACE) == {
        "input": "clip.mp4", "frame": "8", "timestamp": "0.28", "face_id": "3", "confidence": "1.25", "success": "1",
        "FaceRectX": "10.0", "FaceRectY": "20.0", "FaceRectWidth": "30.0", "FaceRectHeight": "40.0",
        "AU01_c": "1", "AU01_score": "0.33333334", "AU12_c": "0", "AU12_score": "-0.5",
    }  # fmt: skip
    assert np.float32(cells(FACE)["AU01_score"]) == np.float32(1 / 3)


def test_a_frame_without_a_face_has_empty_cells():
    """Never write a 0, which would count as an absent AU."""
    texts = cells(NO_FACE)
    assert {name: text for name, text in texts.items() if text} == {
        "input": "clip.mp4", "frame": "9", "timestamp": "0.32", "success": "0"
    }  # fmt: skip


def test_peaks_follow_the_scores_and_are_empty_where_there_is_none():
    """Write peaks in pixels of the image."""
    texts = cells(FACE, peaks=True)
    assert list(texts)[-4:] == ["AU12_c", "AU12_score", "AU12_x", "AU12_y"]
    assert (texts["AU01_x"], texts["AU01_y"], texts["AU12_x"]) == ("5.12", "6.0", "")


def test_openface():
    """Have FaceLandmarkVidMulti's columns that are known here: no intensities, no pose; the input last."""
    names = columns.table_columns(AUS, "openface").names
    assert names[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "x_0"]
    assert names[72:74] == ["x_67", "y_0"] and names[-3:] == ["AU01_c", "AU12_c", "input"]
    texts = cells(FACE, "openface")
    assert (texts["frame"], texts["x_1"], texts["y_1"], texts["AU01_c"]) == ("8", "2.0", "3.0", "1")
    assert not [name for name in names if name.endswith("_r") or name.startswith(("gaze", "pose"))]


def test_pyfeat():
    """Count frames from 0, with AUs without suffix and the score of the face; no emotions."""
    texts = cells(FACE, "pyfeat")
    assert list(texts)[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
    assert (texts["frame"], texts["FaceScore"], texts["AU01"], texts["AU12"]) == ("7", "1.25", "1", "0")


def test_libreface():
    """Count frames from 0, with milliseconds and unpadded AUs."""
    texts = cells(FACE, "libreface")
    assert list(texts) == ["frame_idx", "frame_time_in_ms", "au_1", "au_12", "input", "face_id"]
    assert (texts["frame_idx"], texts["frame_time_in_ms"], texts["au_1"]) == ("7", "280.0", "1")


def test_another_dialect_is_refused():
    """List the known ones."""
    with pytest.raises(ValueError, match="openface, pyfeat, libreface, got 'spss'"):
        columns.table_columns(AUS, "spss")


def test_values_have_types():
    """Return None for empty cells, as Parquet and pandas need."""
    values = dict(zip(columns.table_columns(AUS).names, columns.table_columns(AUS).values(NO_FACE), strict=True))
    assert (
        values["frame"] == 9 and values["success"] == 0 and values["face_id"] is None and values["AU01_score"] is None
    )

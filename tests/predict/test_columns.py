"""Columns: this package's own, and those that users of other tools know, with nothing made up."""

import dataclasses

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
    size=(640, 480),
    overlay="clip/000008.png",
    aligned_face="clip/000008-3.png",
)
NO_FACE = ResultRow("clip.mp4", 9, 127.9, size=(640, 480))


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
        "input": "clip.mp4", "frame": "9", "timestamp": "127.9", "success": "0"
    }  # fmt: skip


def test_peaks_follow_the_scores_and_are_empty_where_there_is_none():
    """Write peaks in pixels of the image."""
    texts = cells(FACE, peaks=True)
    assert list(texts)[-4:] == ["AU12_c", "AU12_score", "AU12_x", "AU12_y"]
    assert (texts["AU01_x"], texts["AU01_y"], texts["AU12_x"]) == ("5.12", "6.0", "")


def test_files_are_named_in_the_last_columns_of_every_dialect():
    """Name the drawing and the aligned face of a row, and leave cells empty where there is none."""
    for dialect in (None, *columns.DIALECTS):
        texts = cells(FACE, dialect, overlays=True, aligned_faces=True)
        assert list(texts.items())[-2:] == [("overlay", "clip/000008.png"), ("aligned_face", "clip/000008-3.png")]
        assert "overlay" not in cells(FACE, dialect, aligned_faces=True)
        assert cells(NO_FACE, dialect, overlays=True)["overlay"] == ""


def test_openface():
    """Have FaceLandmarkVidMulti's columns that are known here: no pose, no intensities of presence; the input last."""
    names = columns.table_columns(AUS, "openface").names
    assert names[:6] == ["frame", "face_id", "timestamp", "confidence", "success", "x_0"]
    assert names[72:74] == ["x_67", "y_0"] and names[-3:] == ["AU01_c", "AU12_c", "input"]
    texts = cells(FACE, "openface")
    assert (texts["frame"], texts["x_1"], texts["y_1"], texts["AU01_c"]) == ("8", "2.0", "3.0", "1")
    assert not [name for name in names if name.endswith("_r") or name.startswith(("gaze", "pose"))]


def test_openface_has_zeros_where_there_is_no_face():
    """Write success 0 and zeros, as FeatureExtraction does, and read that again as a frame without a face."""
    table, texts = columns.table_columns(AUS, "openface"), cells(NO_FACE, "openface")
    assert (texts.pop("frame"), texts.pop("timestamp"), texts.pop("input")) == ("9", "127.9", "clip.mp4")
    assert {float(text) for text in texts.values()} == {0.0}
    assert table.face_id(cells(NO_FACE, "openface")) is None and table.face_id(cells(FACE, "openface")) == 3


def test_openface_has_zeros_for_the_aus_of_a_face_without_a_result():
    """Keep its place, and that it is a face."""
    texts = cells(dataclasses.replace(FACE, scores=None, present=None), "openface")
    assert (texts["success"], texts["AU01_c"], texts["x_1"], texts["confidence"]) == ("0", "0", "2.0", "1.25")
    assert columns.table_columns(AUS, "openface").face_id(texts) == 3


def test_pyfeat():
    """Count frames from 0, with AUs without suffix and the score of the face; no emotions."""
    texts = cells(FACE, "pyfeat")
    assert list(texts)[:6] == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0"]
    assert (texts["frame"], texts["FaceScore"], texts["AU01"], texts["AU12"]) == ("7", "1.25", "1", "0")
    end = ["FrameHeight", "FrameWidth", "input", "frame", "approx_time", "face_id", "timestamp"]
    assert list(texts)[-7:] == end and (texts["FrameHeight"], texts["FrameWidth"]) == ("480.0", "640.0")


def test_pyfeat_has_only_the_frame_where_there_is_no_face():
    """Leave all else empty, which pandas reads as NaN."""
    filled = {name: text for name, text in cells(NO_FACE, "pyfeat").items() if text}
    assert filled == {
        "FrameHeight": "480.0", "FrameWidth": "640.0", "input": "clip.mp4", "frame": "8", "approx_time": "02:07",
        "timestamp": "127.9",
    }  # fmt: skip


def test_libreface():
    """Count frames from 0, with milliseconds and unpadded AUs."""
    texts = cells(FACE, "libreface")
    assert list(texts) == ["frame_idx", "frame_time_in_ms", "au_1", "au_12", "input", "face_id"]
    assert (texts["frame_idx"], texts["frame_time_in_ms"], texts["au_1"]) == ("7", "280.0", "1")


@pytest.mark.parametrize(("dialect", "count"), [(None, 2), ("openface", 2), ("pyfeat", 2), ("libreface", 1)])
def test_libreface_has_no_row_where_there_is_no_face(dialect, count):
    """Leave such frames out of its tables alone."""
    assert len(columns.table_columns(AUS, dialect).of_table([FACE, NO_FACE])) == count


def test_every_dialect_names_the_version_that_it_follows():
    """Record it, so that a table of former conventions is not resumed with others."""
    assert set(columns.DIALECT_VERSIONS) == set(columns.DIALECTS)


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


INTENSE = dataclasses.replace(FACE, intensities=np.array([3.21449, np.nan], np.float32))


def test_intensities_have_a_column_where_they_are_known():
    """An AU that is not calibrated has none, and a face without a result an empty cell."""
    texts = cells(INTENSE, intensities=(1,), peaks=True)
    assert list(texts)[10:] == ["AU01_c", "AU01_score", "AU01_r", "AU01_x", "AU01_y", "AU12_c", "AU12_score"] + [
        "AU12_x",
        "AU12_y",
    ]
    assert texts["AU01_r"] == "3.214"
    assert cells(NO_FACE, intensities=(1,))["AU01_r"] == ""
    assert not [name for name in cells(INTENSE) if name.endswith("_r")], "weights of presence have no such column"


def test_openface_has_intensities_before_presence():
    """In its range and order; 0 where there is no face, as its other columns."""
    names = list(cells(INTENSE, "openface", intensities=(1, 12)))
    assert names[-5:] == ["AU01_r", "AU12_r", "AU01_c", "AU12_c", "input"]
    assert cells(INTENSE, "openface", intensities=(1,))["AU01_r"] == "3.214"
    assert cells(NO_FACE, "openface", intensities=(1,))["AU01_r"] == "0.0"


def test_libreface_has_intensities_behind_presence_and_pyfeat_none():
    """Py-Feat's `AU01` is presence or its probability: an intensity there would be read as one."""
    names = list(cells(INTENSE, "libreface", intensities=(1,)))
    assert names[2:5] == ["au_1", "au_12", "au_1_intensity"]
    assert cells(INTENSE, "libreface", intensities=(1,))["au_1_intensity"] == "3.214"
    assert list(cells(INTENSE, "pyfeat", intensities=(1,))) == list(cells(FACE, "pyfeat"))

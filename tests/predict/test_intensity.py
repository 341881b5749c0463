"""Intensities in results: a column where weights know them, the same numbers from Python, and none from others."""

import csv
import json

import numpy as np
import pandas
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax import aus as aus_lib
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.metrics import calibration
from fgnet_jax.metrics.calibration import Calibration
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.weights import WeightsError
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict import detector as detector_lib

AUS = CORPUS_AUS["disfa"]
CURVE = np.array([-0.5, 0.0, 0.5]), np.array([0.0, 1.0, 5.0])
FITTED = Calibration({au: CURVE for au in AUS if au != 9}, {"disfa": ["SN001", "SN002"]})
"""Of all AUs but 9, whose held-out subjects showed nothing."""


def _save(path, extra):
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=AUS, corpus="disfa", extra=extra))
    return path


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Return a weights directory whose scores are calibrated to intensities."""
    return _save(tmp_path_factory.mktemp("weights") / "tiny", {calibration.KEY: FITTED.to_dict()})


@pytest.fixture
def face(tmp_path):
    """Return an aligned face's file."""
    pixels = np.random.default_rng(0).integers(0, 256, (TINY.image_size, TINY.image_size, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return tmp_path / "face.png"


def _rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def _predict(directory, table, *words):
    return predict.main(["--weights", str(directory), "--aligned", "--csv", str(table), *map(str, words)])


def test_the_table_has_the_intensities_of_calibrated_aus(calibrated, face, tmp_path):
    """By the calibration of the weights, from the scores beside them; the JSON says where they come from."""
    assert _predict(calibrated, tmp_path / "r.csv", face, "--overlays", tmp_path / "drawn") == 0
    (row,) = _rows(tmp_path / "r.csv")
    for au in AUS:
        name = aus_lib.label(au)
        if au == 9:
            assert f"{name}_r" not in row
        else:
            assert float(row[f"{name}_r"]) == pytest.approx(np.interp(float(row[f"{name}_score"]), *CURVE), abs=6e-4)
    record = json.loads((tmp_path / "r.csv.json").read_text())["intensity"]
    assert record["rule"] == calibration.RULE
    assert record["fitted_on"] == {"disfa": ["SN001", "SN002"]}
    assert "AU09" not in record["aus"]
    assert len(record["aus"]) == len(AUS) - 1
    assert (tmp_path / "drawn" / "face.png").exists()


def test_python_gives_the_same_intensities(calibrated, face):
    """As an array beside the scores, and in the table of each dialect that has a column for them."""
    detector = fgnet_jax.Detector.load(calibrated)
    found = detector.predict(str(face), aligned=True)
    assert found.intensities is not None
    np.testing.assert_array_equal(found.intensities, FITTED.intensities(found.scores, AUS))
    assert np.isnan(found.intensities[0, AUS.index(9)])
    assert found.calibrated == FITTED.aus
    expected = round(float(found.intensities[0, 0]), 3)
    for dialect, name in ((None, "AU01_r"), ("openface", "AU01_r"), ("libreface", "au_1_intensity")):
        assert found.to_pandas(dialect)[name].tolist() == [expected]
    assert not [name for name in found.to_pandas("pyfeat") if "_r" in name or "intensity" in name]
    assert found.plot(0).size[0] > 640
    assert found.plot(0, whole=True).size[0] > 640


def test_a_row_without_a_face_has_no_intensity(calibrated, tmp_path):
    """An empty cell, not a 0."""
    Image.new("RGB", (200, 150), (90, 90, 90)).save(tmp_path / "empty.png")
    found = fgnet_jax.Detector.load(calibrated).predict(str(tmp_path / "empty.png"))
    assert found.intensities is not None
    assert np.isnan(found.intensities).all()
    assert pandas.isna(found.to_pandas()["AU01_r"]).tolist() == [True]


def test_weights_of_presence_have_no_intensities(directory, face, tmp_path):
    """No column, no array, and a JSON that says so."""
    assert _predict(directory, tmp_path / "r.csv", face) == 0
    assert not [name for name in _rows(tmp_path / "r.csv")[0] if name.endswith("_r")]
    assert json.loads((tmp_path / "r.csv.json").read_text())["intensity"] is None
    found = fgnet_jax.Detector.load(directory).predict(str(face), aligned=True)
    assert found.intensities is None and found.calibrated == ()


def test_a_table_is_not_resumed_with_another_calibration(calibrated, face, tmp_path, capsys):
    """The weights' arrays are the same, and the intensities are not."""
    words = (face, "--dialect", "libreface", "--resume")
    assert _predict(calibrated, tmp_path / "r.csv", *words) == 0
    assert _predict(calibrated, tmp_path / "r.csv", *words) == 0
    other = Calibration({au: (CURVE[0], CURVE[1] / 2) for au in FITTED.aus}, FITTED.fitted_on)
    changed = _save(tmp_path / "changed", {calibration.KEY: other.to_dict()})
    assert _predict(changed, tmp_path / "r.csv", *words) == 2
    assert "cannot be resumed, it was written with other settings (intensity:" in capsys.readouterr().err


def test_a_damaged_calibration_is_refused_before_anything_is_read(calibrated, tmp_path):
    """By the weights' directory."""
    broken = FITTED.to_dict() | {"curves": {"AU01": {"scores": [1, 0], "intensities": [0, 1]}}}
    directory = _save(tmp_path / "broken", {calibration.KEY: broken})
    with pytest.raises(WeightsError, match="broken: the weights' calibration of intensities is damaged"):
        detector_lib.describe(directory)


def test_heatmaps_are_the_same_with_and_without_a_calibration(calibrated, directory, face, tmp_path):
    """The archive has no intensities: they follow from its scores."""
    for name, weights_directory in (("a", calibrated), ("b", directory)):
        assert _predict(weights_directory, tmp_path / f"{name}.csv", face, "--heatmaps", tmp_path / f"{name}.npz") == 0
    with np.load(tmp_path / "a.npz") as first, np.load(tmp_path / "b.npz") as second:
        assert first.files == second.files
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])

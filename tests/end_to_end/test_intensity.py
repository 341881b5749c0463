"""Intensities from training to results, by the commands: beside a corpus that codes presence alone."""

import csv
import json

import pytest
from PIL import Image

from fgnet_jax.data import folds
from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.evaluate import __main__ as evaluate
from fgnet_jax.metrics import calibration
from fgnet_jax.models import weights
from fgnet_jax.predict import __main__ as predict
from tests.end_to_end.own_corpus import prepare_corpus

pytestmark = pytest.mark.slow  # a whole training


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder of corpora with one of six subjects that codes presence alone: AU 12, and AU 43 of one's own."""
    root = tmp_path_factory.mktemp("presence")
    prepare_corpus("presence", root, root / "data")
    return root / "data"


@pytest.fixture(scope="module")
def run(train, data, tmp_path_factory):
    """Train on intensities of DISFA's stand-in, together with the corpus of presence; return workdir and output."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    changes = {
        "data.dir": data,
        "data.corpus": "synthetic_disfa",
        "data.also_train": "('presence',)",
        "data.frames": 240,
        "data.target": "intensity",
        "data.held_out": 0.3,
        "centres": "((43, (37, 38), (43, 44), 0.0),)",
        "train.epochs": 1,
    }
    return workdir, train(workdir, *(f"--config.{key}={value}" for key, value in changes.items()))


def _evaluated(run, data, output, corpus):
    words = ["--weights", str(run), "--corpus", corpus, "--split", "fold_0", "--data_dir", str(data)]
    assert evaluate.main([*words, "--output", str(output), "--resamples", "20"]) == 0
    return json.loads((output / "report.json").read_text())


def test_training_says_what_has_no_intensity_and_records_the_calibration(run):
    """AU 43 has none and is not calibrated; the subjects of the calibration are trained ones, never tested."""
    workdir, output = run
    assert "AU43: 100 % of the labels have no intensity, only presence" in output
    assert "AU43: synthetic_disfa+presence held-out subjects have no different intensities" in output
    assert "synthetic_disfa fold_0, ICC(3,1)" in output
    _, _, meta = weights.load(workdir / "best")
    fitted = calibration.of_weights(meta.extra, meta.aus)
    assert fitted is not None
    assert 43 not in fitted.aus
    assert set(fitted.fitted_on["synthetic_disfa"]) == set(meta.extra["trained_on"]["held_out"]["synthetic_disfa"])
    assert not set(fitted.fitted_on["synthetic_disfa"]) & set(folds.subjects("disfa", [0]))
    results = json.loads((workdir / "results.json").read_text())
    assert "AU43" not in results["intensity"]["aus"]
    assert "intensity" not in results["also_test"]["presence fold_0"]


def test_evaluation_agrees_with_training_and_can_be_made_again(run, data, tmp_path, capsys):
    """The same figures, with intervals; from kept predictions and with predictions made anew, bit for bit."""
    workdir, _ = run
    report = _evaluated(workdir, data, tmp_path / "a", "synthetic_disfa")
    training = json.loads((workdir / "results.json").read_text())["intensity"]
    for name, values in training["aus"].items():
        shown = {key: report["intensity"]["aus"][name][key] for key in values}
        assert shown == pytest.approx(values, abs=1e-3), "training was compiled with other options"
    low, high = report["intensity"]["mean"]["mae_interval"]
    assert low <= report["intensity"]["mean"]["mae"] <= high
    assert evaluate.main(["from-predictions", str(tmp_path / "a"), "--output", str(tmp_path / "b")]) == 0
    assert json.loads((tmp_path / "b" / "report.json").read_text())["intensity"] == report["intensity"]
    assert evaluate.main(["reproduce", str(tmp_path / "a")]) == 0
    assert "every figure again, bit for bit" in capsys.readouterr().out


def test_a_corpus_of_presence_is_evaluated_by_f1(run, data, tmp_path, capsys):
    """There is nothing to compare intensities with, which the report says."""
    report = _evaluated(run[0], data, tmp_path, "presence")
    assert report["mean_f1"] is not None
    assert "intensity" not in report
    assert "presence has no coded intensities: F1 and the like alone" in capsys.readouterr().out


def test_predictions_have_intensities(run, tmp_path):
    """Of the AUs that are calibrated, in the columns of OpenFace."""
    image, _, _ = random_faces("synthetic_disfa", 3, seed=5)
    Image.fromarray(image[0]).save(tmp_path / "face.png")
    words = ["--weights", str(run[0]), "--aligned", "--dialect", "openface", "--csv", str(tmp_path / "r.csv")]
    assert predict.main([*words, str(tmp_path / "face.png")]) == 0
    with open(tmp_path / "r.csv", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert 0 <= float(row["AU12_r"]) <= 5
    assert row["AU43_c"] in "01"
    assert "AU43_r" not in row

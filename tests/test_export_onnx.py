"""ONNX: ONNX Runtime computes what the detector computes. Needs the extra `onnx`, which CI installs separately."""

import json

import numpy as np
import pytest

import fgnet_jax
from fgnet_jax import aus, export
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY

# Separately, because jax2onnx requires an older release of Orbax, which the other tests need not run with.
pytest.importorskip("jax2onnx", reason="needs the extra onnx: pip install -e '.[onnx]'", exc_type=ImportError)
onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra onnx")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that jax2onnx installs

AUS = aus.CORPUS_AUS["disfa"]
FACES = np.random.default_rng(0).integers(0, 256, (2, TINY.image_size, TINY.image_size, 3), np.uint8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a weights directory of a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return path


def test_onnx_runtime_gives_the_detectors_results(directory, tmp_path, capsys):
    """Agree within 1e-4, from uint8 faces; and the detector still works after jax2onnx has traced it."""
    given = ["--weights", str(directory), "--output", str(tmp_path / "model.onnx"), "--format", "onnx", "--batch", "2"]
    assert export.main(given) == 0, capsys.readouterr().err
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    scores, heatmaps = session.run(["scores", "heatmaps"], {"images": FACES})
    expected = fgnet_jax.Detector.load(directory, batch_size=2).predict(FACES)
    assert expected.heatmaps is not None
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(heatmaps, expected.heatmaps, atol=1e-4)
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["batch"] == 2 and description["aus"] == list(AUS)
    assert description["files"]["onnx"] == "model.onnx"


def test_bfloat16_is_refused(directory, tmp_path, capsys):
    """Refuse it: ONNX Runtime has no such convolutions."""
    given = ["--weights", str(directory), "--output", str(tmp_path / "model.onnx"), "--format", "onnx"]
    assert export.main([*given, "--dtype", "bfloat16"]) == 2
    assert "give --dtype float32" in capsys.readouterr().err

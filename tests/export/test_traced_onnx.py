"""ONNX of an FG-Net: ONNX Runtime computes what the detector computes. Needs the extra `onnx`, which CI has apart."""

import json

import jax
import numpy as np
import pytest

import fgnet_jax
from fgnet_jax import aus
from fgnet_jax.export import __main__ as export
from fgnet_jax.export import description as description_lib
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY

# Separately, because jax2onnx requires an older release of Orbax, which the other tests need not run with.
pytest.importorskip("jax2onnx", reason="needs the extra onnx: pip install -e '.[onnx]'", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="comes with the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="comes with the extra onnx")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries that jax2onnx installs

AUS = aus.CORPUS_AUS["disfa"]
FACES = np.random.default_rng(0).integers(0, 256, (2, TINY.image_size, TINY.image_size, 3), np.uint8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a weights directory of a tiny network, none of whose parameters is the same for all channels."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda a: a + random.uniform(0, 0.02, np.shape(a)).astype(np.float32), fgnet.init(TINY))
    weights.save(path, TINY, variables, weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return path


@pytest.fixture(scope="module")
def exported(directory, tmp_path_factory):
    """Return an ONNX file of it, by the command, for two faces."""
    output = tmp_path_factory.mktemp("exported") / "model.onnx"
    given = ["--weights", str(directory), "--output", str(output), "--format", "onnx", "--batch", "2"]
    assert export.main(given) == 0
    return output


def test_onnx_runtime_gives_the_detectors_results(directory, exported):
    """Agree within 1e-4, from uint8 faces; and the detector still works after jax2onnx has traced it."""
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    scores, heatmaps = session.run(["scores", "heatmaps"], {"images": FACES})
    expected = fgnet_jax.Detector.load(directory, batch_size=2).predict(FACES)
    assert expected.heatmaps is not None
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(heatmaps, expected.heatmaps, atol=1e-4)
    description = json.loads(exported.with_name("model.onnx.json").read_text())
    assert description["batch"] == 2 and description["aus"] == list(AUS)
    assert description["files"]["onnx"] == "model.onnx"


def test_no_constant_is_stored_once_a_pixel(directory, exported):
    """Store what the weights take, and a few constants: it was 1.6 times that, with biases for every pixel."""
    stored = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(exported)).graph.initializer]
    parameters = description_lib.flat(fgnet_jax.Detector.load(directory)).values()
    assert sum(array.nbytes for array in stored) < 1.02 * sum(np.asarray(array).nbytes for array in parameters)


def test_bfloat16_is_refused(directory, tmp_path, capsys):
    """Refuse it: ONNX Runtime has no such convolutions."""
    given = ["--weights", str(directory), "--output", str(tmp_path / "model.onnx"), "--format", "onnx"]
    assert export.main([*given, "--dtype", "bfloat16"]) == 2
    assert "give --dtype float32" in capsys.readouterr().err

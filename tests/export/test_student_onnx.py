"""A student's ONNX: plain operators, any number of faces, one small file, and the detector's results."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax.export import __main__ as export
from fgnet_jax.export import student_onnx
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import BLOCKS, TINY_STUDENT, StudentConfig
from fgnet_jax.predict.network import Params, apply
from tests.export.conftest import AUS
from tests.test_documents import ROOT

onnx = pytest.importorskip("onnx", reason="needs the extra export")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra test")

FACES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
OPERATORS = {
    "Add",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "ReduceMean",
    "Relu",
    "Resize",
    "Slice",
    "Sub",
    "Transpose",
}


def drawn(config: StudentConfig) -> fgnet.Variables:
    """Draw variables none of which is the same for all channels, statistics of BatchNorm included."""
    random = np.random.default_rng(1)
    moved = jax.tree.map(lambda a: a + random.normal(0, 0.1, np.shape(a)).astype(np.float32), fgnet.init(config))
    moved.params["output/kernel"] *= 0.1  # heatmaps that are clipped would hide errors
    return moved


def run(model, faces: np.ndarray):
    """Return scores and heatmaps by ONNX Runtime."""
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(["scores", "heatmaps"], {"images": faces})


@pytest.mark.parametrize(("block", "size"), [*((block, 8) for block in BLOCKS), ("residual", 32)])
def test_onnx_runtime_gives_jaxs_results(block, size):
    """For every kind of block, with and without enlarged heatmaps, of one face and of three, and of its AUs alone."""
    config = dataclasses.replace(TINY_STUDENT, block=block, heatmap_size=size)
    variables = drawn(config)
    model = student_onnx.model(config, variables, len(AUS), None)
    expected = apply(Params(variables, config, AUS), FACES)
    assert 0.01 < np.abs(expected[1]).mean() < 0.9
    for faces in (FACES, FACES[:1]):
        for result, of_jax in zip(run(model, faces), expected, strict=True):
            np.testing.assert_allclose(result, of_jax[: len(faces)], atol=1e-5)


def test_operators_are_plain():
    """Standard ones, which every build of ONNX Runtime has; BatchNorm and layouts cost nothing."""
    nodes = student_onnx.model(StudentConfig(), fgnet.init(StudentConfig()), 12, 1).graph.node
    assert {node.op_type for node in nodes} <= OPERATORS and not any(node.domain for node in nodes)
    count = [node.op_type for node in nodes].count
    assert count("Transpose") == 2 and count("Conv") == 4 + 2 * (2 + 3 + 3) + 3 + 2 + 1


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return the weights of a tiny student, and its ONNX file, by the command."""
    folder = tmp_path_factory.mktemp("student")
    weights.save(folder / "weights", TINY_STUDENT, drawn(TINY_STUDENT), weights.WeightsMeta(aus=AUS))
    given = ["--weights", str(folder / "weights"), "--output", str(folder / "student.onnx"), "--format", "onnx"]
    assert export.main(given) == 0
    return folder / "weights", folder / "student.onnx"


def test_the_command_writes_one_file_and_its_description(exported):
    """For any number of faces; nothing is left in other files."""
    directory, file = exported
    assert {path.name for path in file.parent.iterdir()} == {"weights", "student.onnx", "student.onnx.json"}
    description = json.loads(file.with_name("student.onnx.json").read_text())
    assert description["batch"] == "symbolic" and description["files"] == {"onnx": "student.onnx"}
    assert description["aus"] == list(AUS) and description["image_size"] == 32
    expected = fgnet_jax.Detector.load(directory).predict(FACES)
    np.testing.assert_allclose(run(str(file), FACES)[0], expected.scores, atol=1e-5)


def test_a_fixed_batch(exported, tmp_path):
    """Runtimes for phones want sizes that they know."""
    given = ["--weights", str(exported[0]), "--output", str(tmp_path / "m.onnx"), "--format", "onnx", "--batch", "2"]
    assert export.main(given) == 0
    assert run(str(tmp_path / "m.onnx"), FACES[:2])[0].shape == (2, len(AUS))
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="Expected: 2"):
        run(str(tmp_path / "m.onnx"), FACES)


def test_the_default_student_is_under_ten_megabytes():
    """In one file, as browsers load it."""
    assert student_onnx.model(StudentConfig(), fgnet.init(StudentConfig()), 12, None).ByteSize() < 10e6


def test_bfloat16_is_refused(exported, tmp_path, capsys):
    """It would be written in another number format than the weights name, without a word."""
    given = ["--weights", str(exported[0]), "--output", str(tmp_path / "m.onnx"), "--format", "onnx"]
    assert export.main([*given, "--dtype", "bfloat16"]) == 2
    assert "in float32, not in bfloat16; give --dtype float32" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_twenty_lines_without_this_package(exported, tmp_path):
    """`docs/web/detect.py` prints the detector's scores, and imports neither this package nor JAX."""
    directory, file = exported
    script = ROOT / "docs/web/detect.py"
    assert len(script.read_text().splitlines()) <= 20
    Image.fromarray(FACES[0]).save(tmp_path / "face.png")
    alone = "import runpy, sys; sys.modules['fgnet_jax'] = sys.modules['jax'] = None; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", f"{alone}runpy.run_path(sys.argv[0])", str(script), str(file), "face.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    expected = fgnet_jax.Detector.load(directory).predict(FACES[:1])
    assert [row[1] for row in rows] == [f"AU{au:02d}" for au in AUS]
    np.testing.assert_allclose([float(row[3]) for row in rows], expected.scores[0], atol=6e-4)
    assert [row[4] == "present" for row in rows] == list(expected.present[0])

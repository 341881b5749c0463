"""A student in int8: a smaller file that computes nearly the same, with its cost; and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

import fgnet_jax
from fgnet_jax.export import __main__ as export
from fgnet_jax.models import weights
from fgnet_jax.models.config import TINY_STUDENT
from tests.export.conftest import AUS
from tests.export.test_student_onnx import drawn, run

onnx = pytest.importorskip("onnx", reason="needs the extra export")

FACES = np.random.default_rng(3).integers(0, 256, (40, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Return the weights of a tiny student."""
    path = tmp_path_factory.mktemp("student") / "weights"
    weights.save(path, TINY_STUDENT, drawn(TINY_STUDENT), weights.WeightsMeta(aus=AUS))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of aligned faces."""
    path = tmp_path_factory.mktemp("faces")
    for k, face in enumerate(FACES):
        Image.fromarray(face).save(path / f"{k:02d}.png")
    return path


def test_int8_is_close_to_float32_and_tells_its_cost(student, folder, tmp_path, capsys):
    """Printed and in the JSON: of the half of the faces that it was not calibrated on."""
    file = tmp_path / "student.onnx"
    given = ["--weights", str(student), "--output", str(file), "--format", "onnx", "--int8", str(folder), "--aligned"]
    assert export.main(given) == 0
    printed = capsys.readouterr().out
    described = json.loads(file.with_name("student.onnx.json").read_text())
    assert described["computed_in"] == "int8" and described["batch"] == "symbolic"
    assert described["int8"]["calibrated"] == described["int8"]["compared"] == 20
    expected = fgnet_jax.Detector.load(student).predict(FACES[20:], heatmaps=False).scores
    differences = np.abs(run(str(file), FACES[20:])[0] - expected)
    assert 0 < differences.max() < 0.05
    np.testing.assert_allclose(described["int8"]["mean"], differences.mean(), atol=1e-5)
    np.testing.assert_allclose(described["int8"]["largest"], differences.max(), atol=1e-5)
    assert f"scores differ by {differences.mean():.4f} in the mean" in printed
    kinds = [
        tensor.data_type for tensor in onnx.load(str(file)).graph.initializer if tensor.dims and len(tensor.dims) == 4
    ]
    assert kinds.count(onnx.TensorProto.FLOAT) == 2, "the first convolution and the last"
    assert kinds.count(onnx.TensorProto.INT8) == len(kinds) - 2 > 10
    assert {path.name for path in tmp_path.iterdir()} == {"student.onnx", "student.onnx.json"}


def test_what_int8_cannot_do_is_refused(student, directory, folder, tmp_path, capsys):
    """An FG-Net, StableHLO, batches of one size, too few faces, and nothing to read; nothing is written."""
    for words, reason in (
        (
            ["--weights", str(directory), "--format", "onnx", "--int8", str(folder)],
            f"students, {directory} is an FG-Net",
        ),
        (["--weights", str(student), "--format", "stablehlo", "--int8", str(folder)], "give --format onnx"),
        (["--weights", str(student), "--format", "onnx", "--int8", str(folder), "--batch", "2"], "leave out --batch"),
        (
            ["--weights", str(student), "--format", "onnx", "--aligned", "--int8", str(folder / "00.png")],
            "at least 32 faces, found 1",
        ),
        (["--weights", str(student), "--format", "onnx", "--aligned", "--int8", "absent"], "found 0; absent: "),
    ):
        assert export.main([*words, "--output", str(tmp_path / "m.bin")]) == 2
        assert reason in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())

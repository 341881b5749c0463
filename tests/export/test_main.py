"""Exported programs: they run with JAX alone, for any batch, and give the detector's results."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import fgnet_jax
from fgnet_jax import aus, export
from fgnet_jax.metrics import calibration
from fgnet_jax.metrics.calibration import Calibration
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY

AUS = aus.CORPUS_AUS["disfa"]
FACES = np.random.default_rng(0).integers(0, 256, (3, TINY.image_size, TINY.image_size, 3), np.uint8)

ALONE = """
import json, sys
sys.modules["fgnet_jax"] = sys.modules["flax"] = None
import jax, numpy as np
from jax import export
program = export.deserialize(open("model.stablehlo", "rb").read())
weights, faces = dict(np.load("model.npz")), np.load("faces.npy")
results = [jax.jit(program.call)(weights, faces[:count]) for count in json.loads(sys.argv[1])]
scores, heatmaps = (np.concatenate(arrays) for arrays in zip(*results, strict=True))
np.savez("results.npz", scores=scores, heatmaps=heatmaps)
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Return a weights directory of a tiny network."""
    path = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(path, TINY, fgnet.init(TINY), weights.WeightsMeta(aus=AUS, corpus="disfa"))
    return path


@pytest.fixture(scope="module")
def detector(directory):
    """Return the detector that exports are compared with."""
    return fgnet_jax.Detector.load(directory, batch_size=3)


def run_alone(folder, *counts: int):
    """Run an export on the first faces, in a process that cannot import this package or Flax."""
    np.save(folder / "faces.npy", FACES)
    command = [sys.executable, "-c", ALONE, json.dumps(counts)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "results.npz")


def test_any_batch_without_this_package(directory, detector, tmp_path, capsys):
    """Run one program for batches of one and of three, with the detector's results."""
    given = ["--weights", str(directory), "--output", str(tmp_path / "model.stablehlo"), "--batch", "symbolic"]
    assert export.main(given) == 0
    printed = capsys.readouterr().out
    assert all(f"wrote {tmp_path / name}" in printed for name in ("model.stablehlo", "model.npz", "model.json"))
    results, expected = run_alone(tmp_path, 1, 3), detector.predict(FACES)
    np.testing.assert_allclose(results["scores"][1:], expected.scores, atol=1e-6)
    np.testing.assert_allclose(results["heatmaps"][1:], expected.heatmaps, atol=1e-5)
    np.testing.assert_allclose(results["scores"][0], expected.scores[0], atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("model.stablehlo", "model.npz", "model.json"),
        *("faces.npy", "results.npz"),
    }


def test_a_fixed_batch(detector, tmp_path):
    """Take no other batch, name it in the JSON, and run on CPU, NVIDIA GPU and TPU."""
    export.write(detector, tmp_path / "model.stablehlo", 2)
    assert json.loads((tmp_path / "model.json").read_text())["batch"] == 2
    exported = export.program(detector, 2)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [aval.shape for aval in exported.out_avals] == [(2, len(AUS)), (2, 16, 16, len(AUS))]
    assert exported.in_avals[-1].shape == (2, 64, 64, 3)


def test_the_json_describes_inputs_and_outputs(detector):
    """Describe enough to use the program without the source."""
    description = export.describe(detector, None, {"stablehlo": "m.stablehlo", "weights": "m.npz"})
    assert json.loads(json.dumps(description)) == description
    assert (
        description["aus"] == list(AUS)
        and description["names"][0] == "inner brow raiser"
        and description["corpus"] == "disfa"
    )
    assert description["image_size"] == 64 and description["batch"] == "symbolic"
    assert description["inputs"]["images"]["shape"] == ["batch", 64, 64, 3]
    assert description["outputs"]["heatmaps"]["shape"] == ["batch", 16, 16, len(AUS)]


def test_refusals_write_nothing(directory, tmp_path, capsys):
    """Refuse missing weights, files that exist already, and a suffix that the other files need."""
    (tmp_path / "taken.npz").touch()
    for name, where, reason, *options in (
        ("model.stablehlo", tmp_path / "absent", "no such weights directory"),
        ("taken.stablehlo", directory, "taken.npz exists"),
        ("model.npz", directory, "name it .stablehlo"),
        ("model.onnx", directory, "give its size by --batch N", "--format", "onnx", "--batch", "symbolic"),
    ):
        assert export.main(["--weights", str(where), "--output", str(tmp_path / name), *options]) == 2
        assert reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]


@pytest.mark.parametrize(("name", "extra"), [("flatbuffers", "export"), ("jax2onnx", "onnx")])
def test_missing_libraries_are_named(directory, tmp_path, capsys, monkeypatch, name, extra):
    """Name the extra that installs them."""
    monkeypatch.setattr(export, "find_spec", lambda library: None if library == name else object())
    form = "onnx" if extra == "onnx" else "stablehlo"
    given = ["--weights", str(directory), "--output", str(tmp_path / f"model.{form}"), "--format", form]
    assert export.main(given) == 2
    assert f"{name}: pip install 'fgnet_jax[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "-1", "many"])
def test_a_batch_is_a_number_or_symbolic(batch, capsys):
    """Report others as usage errors."""
    with pytest.raises(SystemExit) as exit_:
        export.main(["--weights", "w", "--output", "o.stablehlo", "--batch", batch])
    assert exit_.value.code == 2 and "symbolic or a whole number" in capsys.readouterr().err


def test_each_platform_has_its_own_paths(detector):
    """Convolutions are in cuDNN's order on GPUs; style blocks are side by side, in groups, there and on TPUs alone."""
    text = export.program(detector, 2).mlir_module()
    choices = re.split(r'\n    %\S+ = "stablehlo.case"', text)
    branches = dict(zip(export.PLATFORMS, re.split(r"\n    \}, \{\n", max(choices, key=len)), strict=True))
    convolutions = {name: re.findall(r"stablehlo.convolution.*x\[(.*?)\]->", part) for name, part in branches.items()}
    assert "o, 0, 1, i" in convolutions["cuda"]
    assert set(convolutions["cpu"]) == set(convolutions["tpu"]) == {"0, 1, i, o"}
    groups = {name: set(re.findall(r"feature_group_count = (\d+)", part)) for name, part in branches.items()}
    assert groups["cpu"] == {"1"} and {"2", "6", "9"} <= groups["cuda"] & groups["tpu"]
    products = {name: part.count("stablehlo.dot_general") for name, part in branches.items()}
    assert products["cpu"] > 1.5 * products["tpu"], "taps"


def test_the_description_has_the_function_from_scores_to_intensities(directory, tmp_path):
    """As the weights have it; nothing for weights that know presence alone."""
    assert export.describe(fgnet_jax.Detector.load(directory), 1, {})["intensity"] is None
    curve = np.array([-0.5, 0.5]), np.array([0.0, 5.0])
    fitted = Calibration({12: curve}, {"disfa": ["SN001"]})
    meta = weights.WeightsMeta(aus=AUS, corpus="disfa", extra={calibration.KEY: fitted.to_dict()})
    weights.save(tmp_path / "calibrated", TINY, fgnet.init(TINY), meta)
    described = export.describe(fgnet_jax.Detector.load(tmp_path / "calibrated"), 1, {})["intensity"]
    assert described["curves"] == {"AU12": {"scores": [-0.5, 0.5], "intensities": [0.0, 5.0]}}
    assert "linear in its score between these points" in described["meaning"]

"""StableHLO: programs run with JAX alone, for any batch, and give the detector's results."""

import json
import re
import subprocess
import sys

import numpy as np

from fgnet_jax.export import __main__ as export
from fgnet_jax.export import stablehlo
from fgnet_jax.models.config import TINY
from tests.export.conftest import AUS

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
    stablehlo.write(detector, tmp_path / "model.stablehlo", 2)
    assert json.loads((tmp_path / "model.json").read_text())["batch"] == 2
    exported = stablehlo.program(detector, 2)
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert [aval.shape for aval in exported.out_avals] == [(2, len(AUS)), (2, 16, 16, len(AUS))]
    assert exported.in_avals[-1].shape == (2, 64, 64, 3)


def test_each_platform_has_its_own_paths(detector):
    """Convolutions are in cuDNN's order on GPUs; style blocks are side by side, in groups, there and on TPUs alone."""
    text = stablehlo.program(detector, 2).mlir_module()
    choices = re.split(r'\n    %\S+ = "stablehlo.case"', text)
    branches = dict(zip(stablehlo.PLATFORMS, re.split(r"\n    \}, \{\n", max(choices, key=len)), strict=True))
    convolutions = {name: re.findall(r"stablehlo.convolution.*x\[(.*?)\]->", part) for name, part in branches.items()}
    assert "o, 0, 1, i" in convolutions["cuda"]
    assert set(convolutions["cpu"]) == set(convolutions["tpu"]) == {"0, 1, i, o"}
    groups = {name: set(re.findall(r"feature_group_count = (\d+)", part)) for name, part in branches.items()}
    assert groups["cpu"] == {"1"} and {"2", "6", "9"} <= groups["cuda"] & groups["tpu"]
    products = {name: part.count("stablehlo.dot_general") for name, part in branches.items()}
    assert products["cpu"] > 1.5 * products["tpu"], "taps"

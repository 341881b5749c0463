"""`python -m benchmarks gpu`, dry: the tiny network, traced for GPUs, on this machine's CPU.

As on a borrowed machine, none of the libraries is there that prepare, load and draw data.
"""

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from benchmarks.gpu import ours, plan

MISSING = ("tensorflow_datasets", "tensorflow", "grain", "ml_collections", "cv2", "dlib", "av", "matplotlib", "PIL")
"""Libraries that the processes do not find."""

CARD = "echo 'NVIDIA H100 80GB HBM3, 580.159.04, 81559 MiB, 700.00 W, 1980 MHz, 2619 MHz'"
"""A tool that describes a card."""


def _start(folder: Path, *arguments: str, card: str) -> subprocess.Popen:
    """Start the command in a process without `MISSING`; it writes `folder/o/gpu.json`."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({MISSING})\n")
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{card}\n")
    tool.chmod(0o755)
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{os.getcwd()}", "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    minutes = () if "--minutes" in arguments else ("--minutes", "60")
    command = [sys.executable, "-m", "benchmarks", "gpu", *minutes, *arguments, "--tiny", "--rounds", "1"]
    return subprocess.Popen(
        [*command, "--output", str(folder / "o" / "gpu.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | paths | {"JAX_PLATFORMS": "cpu"},
    )


def _run(folder: Path, *arguments: str, card: str) -> tuple[subprocess.CompletedProcess, dict]:
    """Run the command; return it, and the JSON that it writes."""
    with _start(folder, *arguments, card=card) as process:
        output, errors = process.communicate()
    done = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
    return done, json.loads((folder / "o" / "gpu.json").read_text())


def _numbers(value: object) -> list[float]:
    """All numbers in a value of JSON."""
    if isinstance(value, dict | list):
        return [number for each in (value.values() if isinstance(value, dict) else value) for number in _numbers(each)]
    return [value] if isinstance(value, int | float) else []


def test_one_part_fails_and_the_others_are_measured(tmp_path: Path):
    """The card's tool prints what nobody expects: the machine is named as what failed, and the network is measured."""
    pytest.importorskip("torch", reason="computes what the tiny network's results are compared with")
    done, results = _run(tmp_path, "inference-float32-2", "--no-rivals", card="echo out of order")
    assert done.returncode == 1
    expected = "benchmarks gpu: error: 1 of 3 measurements failed: machine, fgnet_jax"
    assert done.stderr.splitlines()[-1] == expected
    machine, _, row = results["rows"]
    assert machine["status"] == "failed" and "nvidia-smi printed 'out of order'" in results["failed"][0]
    assert row["status"] == "done" and row["seconds"] > 0 and row["alone"] > 0
    assert row["images_a_second"] == pytest.approx(2 / row["seconds"])
    assert row["gflop"] > 0.05 and row["compile_seconds"] > 0 and row["peak"] > 1e8
    assert row["profile"]["kernels"] > 100 and len(row["profile"]["largest"]) == 10
    assert row["roofline"]["kernels"] > 100 and row["roofline"]["chip"] == "H100"
    assert all(math.isfinite(number) for number in _numbers(results))
    assert f"inference-float32-2     {plan.OURS}" in done.stdout


@pytest.mark.slow
def test_everything_beside_pytorch(tmp_path: Path):
    """Errors against PyTorch in float64 of both networks, a step of each, the first gradient; exit status 0."""
    pytest.importorskip("torch")
    parts = ("inference-float32-2", "inference-bfloat16-1", "training-bfloat16-2", "gradients-float32")
    done, results = _run(tmp_path, *parts, "--no-compile", card=CARD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert results["failed"] == results["left_out"] == []
    rows = {(row["part"], row["network"]): row for row in results["rows"]}
    assert len(rows) == 2 + 3 * 3 + 1 and {row["status"] for row in rows.values()} == {"done"}
    for network in (plan.OURS, plan.BEST, plan.PUBLISHED):
        assert rows["inference-float32-2", network]["errors"]["heatmaps"] < 1e-4
        assert rows["inference-bfloat16-1", network]["errors"]["relative"] < 0.1
        assert 0.1 < rows["training-bfloat16-2", network]["loss"] < 10
    assert rows["gradients-float32-2", plan.OURS]["errors"]["grad_norm"] < 5e-4
    assert all(math.isfinite(number) for number in _numbers(results))
    assert results["machine"]["card"]["driver"] == "580.159.04"
    assert done.stdout.startswith("NVIDIA H100 80GB HBM3, driver 580.159.04, 81559 MiB")


@pytest.mark.slow
def test_torch_compile_is_measured(tmp_path: Path):
    """Or named as left out where there is no compiler: that is no failure."""
    pytest.importorskip("torch")
    done, results = _run(tmp_path, "inference-float32-1", card=CARD)
    compiled = next(row for row in results["rows"] if row["network"] == plan.COMPILED)
    assert done.returncode == 0 and compiled["status"] in ("done", "unavailable")
    assert compiled["errors"]["heatmaps"] < 1e-4 if compiled["status"] == "done" else results["left_out"]


def test_no_time_is_no_failure(tmp_path: Path):
    """Everything is named as left out, and the file is complete."""
    done, results = _run(tmp_path, "--minutes", "0", card=CARD)
    assert done.returncode == 0 and len(results["left_out"]) == len(results["rows"]) > 50
    assert "left out: training-tf32-1, fgnet_jax: no time: 0 s were left" in done.stdout


def test_a_stopped_measurement_leaves_what_it_has_and_no_process(tmp_path: Path):
    """SIGTERM, as time limits send it, after the machine was described; the processes that it started end, too."""
    with _start(tmp_path, "inference", "--no-rivals", card=CARD) as process:
        assert process.stdout is not None and "driver 580.159.04" in process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        measuring = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        process.terminate()
        errors = process.communicate()[1]
    assert process.returncode == 1
    assert errors.splitlines()[-1].endswith("error: stopped by SIGTERM; what was measured is in the JSON file")
    assert measuring and not [pid for pid in measuring if Path(f"/proc/{pid}").exists()]
    assert json.loads((tmp_path / "o" / "gpu.json").read_text())["machine"]["card"]["driver"] == "580.159.04"


def test_an_unknown_part_is_refused(tmp_path: Path):
    """With status 2, and the parts that there are."""
    command = [sys.executable, "-m", "benchmarks", "gpu", "trainign"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2 and "'trainign'" in run.stderr and "training-bfloat16-16" in run.stderr


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="this machine has a GPU")
def test_a_machine_without_a_gpu_is_a_problem():
    """Where JAX does not find the card, it would silently compute on the CPU."""
    case = plan.Case("machine", plan.OURS, is_tiny=False, rounds=1, folder="")
    _, problem = itertools.islice(ours.machine(case)(), 2)
    assert problem["problem"].startswith("JAX computes on ") and problem["problem"].endswith(": expected a GPU")

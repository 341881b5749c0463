"""The benchmark commands, at the tiny size."""

import subprocess
import sys

import pytest


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *arguments, "--tiny"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_step_prints_flops_and_memory():
    """A line with and one without rematerialisation, which computes more."""
    none, blocks = (line.split() for line in _run("step", "--batch", "2").splitlines()[1:])
    assert (none[0], blocks[0]) == ("none", "blocks")
    assert float(blocks[2]) >= float(none[2])


def test_inference_compares_all_three():
    """Ours first, PyTorch's two ways after it."""
    pytest.importorskip("torch")
    lines = _run("inference", "--rounds", "1").splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["fgnet_jax", "PyTorch, as published", "PyTorch, at its best"]


def test_preparation_measures_detector_and_pace():
    """Errors on both twins, and frames a second with landmarks known and with dlib."""
    lines = _run("preparation").splitlines()
    errors = {line.split()[0]: float(line.split()[3]) for line in lines if line.startswith("synthetic")}
    assert errors.keys() == {"synthetic_bp4d", "synthetic_disfa"} and all(0 < e < 0.3 for e in errors.values())
    assert [line.split("  ")[0] for line in lines[-2:]] == ["landmarks on disk", "dlib"]
    assert all(line.endswith("a second") for line in lines[-2:])

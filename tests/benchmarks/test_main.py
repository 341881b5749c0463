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


def test_training_compares_all_three():
    """A table a batch size, ours first."""
    pytest.importorskip("torch")
    lines = _run("training", "--rounds", "1", "--batch", "2").splitlines()
    assert lines[0].startswith("seconds a step of 2")
    assert [line.split("  ")[0] for line in lines[1:]] == ["fgnet_jax", "PyTorch, as published", "PyTorch, at its best"]


def test_preparation_measures_detector_and_pace():
    """Errors on both twins, and frames a second with landmarks known and with dlib."""
    lines = _run("preparation").splitlines()
    errors = {line.split()[0]: float(line.split()[3]) for line in lines if line.startswith("synthetic")}
    assert errors.keys() == {"synthetic_bp4d", "synthetic_disfa"} and all(0 < e < 0.3 for e in errors.values())
    assert [line.split("  ")[0] for line in lines[-2:]] == ["landmarks on disk", "dlib"]
    assert all(line.endswith("a second") for line in lines[-2:])


def test_media_measures_following_and_pace():
    """A row for each film and distance of looks, and frames a second; always detected, nothing is added."""
    lines = _run("media").splitlines()
    rows = [line.split() for line in lines if line.startswith(("photograph", "synthetic"))]
    assert [row[:4] for row in rows] == [
        [film, every, "0", "1"] for film in ("photograph", "synthetic_bp4d", "synthetic_disfa") for every in ("1", "10")
    ]
    assert all(float(row[5]) == 0 for row in rows[::2]) and all(float(row[5]) < 0.2 for row in rows[1::2])
    assert [line.split()[2] for line in lines[-2:]] == ["1", "10"] and lines[-1].endswith("ms of a core each")

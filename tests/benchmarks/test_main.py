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

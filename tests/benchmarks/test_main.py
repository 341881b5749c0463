"""The benchmark commands, at the tiny size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fgnet_jax.models.ops import switches


def _run(folder: Path, *arguments: str) -> tuple[str, dict]:
    """What the command prints, and the JSON that it writes."""
    command = [sys.executable, "-m", "benchmarks", *arguments, "--tiny", "--rounds", "1", "--output", str(folder / "b")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said, json.loads((folder / "b").read_text())


def test_network_beside_pytorch_by_stage_and_step(tmp_path):
    """Ours and PyTorch's two ways, each stage of each; the machine's own rate, and where it was measured."""
    pytest.importorskip("torch")
    said, found = _run(tmp_path, "inference", "training", "--batch", "2", "--step_batch", "1", "--no-compile")
    stages = ["encoder", "synthesis", "interpreter", "whole"]
    networks = ["fgnet_jax", "PyTorch, as published", "PyTorch, at its best"]
    assert [(row["network"], row["stage"]) for row in found["inference"]] == [(n, s) for n in networks for s in stages]
    assert [row["network"] for row in found["training"]] == networks
    ours = found["inference"][3]
    assert ours["batch"] == 2 and 0 < ours["share"] and ours["gflop"] == pytest.approx(0.1316, rel=0.01)
    assert ours["images_a_second"] == pytest.approx(2 / ours["seconds"])
    assert found["machine"]["cores"] and "plain matrix products in float32" in said


def test_memory_and_scaling_are_read_from_the_program(tmp_path):
    """Without and with rematerialisation, which computes more; twice the batch computes twice as much."""
    _, found = _run(tmp_path, "memory", "scaling", "--step_batch", "2")
    assert [cost["remat"] for cost in found["memory"]] == ["none", "blocks", "twice"]
    none, blocks, twice = (cost["gflop"] for cost in found["memory"])
    assert none < blocks < twice
    two, one = found["scaling"][-3], found["scaling"][-4]
    assert (one["batch"], two["batch"]) == (1, 2) and two["gflop"] == pytest.approx(2 * one["gflop"], rel=1e-2)


def test_paths_are_switched_off_one_by_one(tmp_path):
    """What each saves, here only the first: the plain network computes most."""
    _, found = _run(tmp_path, "paths")
    gflop = {each["paths"]: each["gflop"] for each in found["paths"]}
    assert list(gflop) == ["all on", f"without {[*switches.PATHS][0]}", "all off"]
    assert gflop["all off"] == max(gflop.values()) > gflop["all on"]


def test_cold_start_and_input(tmp_path):
    """Every lap of a fresh process, and faces a second."""
    said, found = _run(tmp_path, "start")
    assert list(found["start"]["cold"]) == ["import", "load", "compile", "first image", "second image"]
    assert all(pace > 0 for pace in found["start"]["input"].values()) and "cold start" in said


def test_an_unknown_part_is_refused():
    """With the parts that there are."""
    run = subprocess.run([sys.executable, "-m", "benchmarks", "trainign"], capture_output=True, text=True)
    assert run.returncode == 2 and "'trainign'" in run.stderr and "training" in run.stderr


def test_preparation_measures_detector_and_pace(tmp_path):
    """Errors on both twins, and frames a second with landmarks known and with dlib."""
    lines = _run(tmp_path, "preparation")[0].split("\n\nwritten")[0].splitlines()
    errors = {line.split()[0]: float(line.split()[3]) for line in lines if line.startswith("synthetic")}
    assert errors.keys() == {"synthetic_bp4d", "synthetic_disfa"} and all(0 < e < 0.3 for e in errors.values())
    assert [line.split("  ")[0] for line in lines[-2:]] == ["landmarks on disk", "dlib"]
    assert all(line.endswith("a second") for line in lines[-2:])


def test_media_measures_following_and_pace(tmp_path):
    """A row for each film and distance of looks, and frames a second; always detected, nothing is added."""
    lines = _run(tmp_path, "media")[0].split("\n\nwritten")[0].splitlines()
    rows = [line.split() for line in lines if line.startswith(("photograph", "synthetic"))]
    assert [row[:4] for row in rows] == [
        [film, every, "0", "1"] for film in ("photograph", "synthetic_bp4d", "synthetic_disfa") for every in ("1", "10")
    ]
    assert all(float(row[5]) == 0 for row in rows[::2]) and all(float(row[5]) < 0.2 for row in rows[1::2])
    assert [line.split()[2] for line in lines[-2:]] == ["1", "10"] and lines[-1].endswith("ms of a core each")

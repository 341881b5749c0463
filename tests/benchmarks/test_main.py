"""The benchmark commands, at the tiny size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fgnet_jax.models.ops import switches

pytestmark = pytest.mark.slow  # benchmarks


def _run(folder: Path, *arguments: str) -> tuple[str, dict]:
    """Run the command; return what it prints and the JSON that it writes."""
    command = [sys.executable, "-m", "benchmarks", *arguments, "--tiny", "--rounds", "1", "--output", str(folder / "b")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output, json.loads((folder / "b").read_text())


def test_network_beside_pytorch_by_stage_and_step(tmp_path):
    """Ours and PyTorch's two variants, each stage of each; the machine's own rate, and its description."""
    pytest.importorskip("torch")
    output, results = _run(tmp_path, "inference", "training", "--batch", "2", "--step_batch", "1", "--no-compile")
    stages = ["encoder", "synthesis", "interpreter", "whole"]
    networks = ["fgnet_jax", "PyTorch, as published", "PyTorch, at its best"]
    assert [(row["network"], row["stage"]) for row in results["inference"]] == [
        (n, s) for n in networks for s in stages
    ]
    assert [row["network"] for row in results["training"]] == networks
    row = results["inference"][3]
    assert row["batch"] == 2 and 0 < row["share"] and row["gflop"] == pytest.approx(0.1316, rel=0.01)
    assert row["images_a_second"] == pytest.approx(2 / row["seconds"])
    assert results["machine"]["cores"] and "plain matrix products in float32" in output


def test_memory_and_scaling_are_read_from_the_program(tmp_path):
    """With rematerialisation, a step computes more; twice the batch computes twice as much."""
    _, results = _run(tmp_path, "memory", "scaling", "--step_batch", "2")
    assert [cost["remat"] for cost in results["memory"]] == ["none", "blocks"]
    none, blocks = (cost["gflop"] for cost in results["memory"])
    assert none < blocks
    single, double = results["scaling"][-4], results["scaling"][-3]
    assert (single["batch"], double["batch"]) == (1, 2)
    assert double["gflop"] == pytest.approx(2 * single["gflop"], rel=1e-2)


def test_paths_are_switched_off_one_by_one(tmp_path):
    """What each saves, here only the first: the network without fast paths computes most."""
    _, results = _run(tmp_path, "paths")
    gflop = {result["paths"]: result["gflop"] for result in results["paths"]}
    assert list(gflop) == ["all on", f"without {[*switches.PATHS][0]}", "all off"]
    assert gflop["all off"] == max(gflop.values()) > gflop["all on"]


def test_cold_start_and_input(tmp_path):
    """Every lap of a new process, and faces per second."""
    output, results = _run(tmp_path, "start")
    assert list(results["start"]["cold"]) == ["import", "load", "compile", "first image", "second image"]
    assert list(results["start"]["input"]) == ["rendered", "loaded"]
    assert all(rate > 0 for rate in results["start"]["input"].values()) and "cold start" in output


def test_an_unknown_part_is_refused():
    """The message lists the known parts."""
    run = subprocess.run([sys.executable, "-m", "benchmarks", "trainign"], capture_output=True, text=True)
    assert run.returncode == 2 and "'trainign'" in run.stderr and "training" in run.stderr


def test_preparation_measures_detector_and_speed(tmp_path):
    """Errors on both synthetic corpora, and frames per second with landmarks on disk and with each detector."""
    lines = _run(tmp_path, "preparation")[0].split("\n\nwritten")[0].splitlines()
    errors = {line.split()[0]: float(line.split()[3]) for line in lines if line.startswith("synthetic")}
    assert errors.keys() == {"synthetic_bp4d", "synthetic_disfa"} and all(0 < e < 0.3 for e in errors.values())
    rows = ["landmarks on disk", "dlib", "dlib, largest", "yunet, largest"]
    assert [line.split("  ")[0] for line in lines[-4:]] == rows
    assert all(line.endswith("per second") for line in lines[-4:])


def test_media_measures_tracking_and_speed(tmp_path):
    """A row for each video and detection interval, and frames per second; detection in every frame adds no error."""
    lines = _run(tmp_path, "media")[0].split("\n\nwritten")[0].splitlines()
    rows = [line.split() for line in lines if line.startswith(("photograph", "synthetic"))]
    assert [row[:4] for row in rows] == [
        [video, every, "0", "1"]
        for video in ("photograph", "synthetic_bp4d", "synthetic_disfa")
        for every in ("1", "10")
    ]
    assert all(float(row[5]) == 0 for row in rows[::2]) and all(float(row[5]) < 0.2 for row in rows[1::2])
    assert [line.split()[2] for line in lines[-2:]] == ["1", "10"] and lines[-1].endswith("ms of a core each")


def test_live_measures_a_student_end_to_end(tmp_path):
    """A file's way to its table, and a camera with its latency; every frame is predicted or dropped."""
    output, results = _run(tmp_path, "live")
    paces = results["live"]["paces"]
    assert [pace["case"] for pace in paces] == ["a file", "a file, the largest face", "a camera of 30 frames/s"]
    assert all(pace["a_second"] > 0 and pace["processor_ms"] > 0 for pace in paces)
    assert [pace["frames"] for pace in paces[:2]] == [15, 15], "the first 15 of 30 are not counted"
    live = paces[2]["live"]
    assert live["captured"] == live["predicted"] + live["dropped"] <= 30 and live["latency_ms"]["median"] > 0
    assert "latency " in output

"""Worker processes: as many as there are, the dataset's bytes are the same, and none is left behind."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from fgnet_jax.prepare import __main__ as prepare
from tests.prepare.corpora import arguments, dataset_bytes


def test_several_processes_write_the_same_bytes(owners, prepared, tmp_path):
    """As a single one."""
    words = arguments(owners["disfa"], tmp_path, "--workers", "2")
    assert prepare.main(["disfa", *words]) == 0
    assert dataset_bytes(tmp_path, "disfa") == dataset_bytes(prepared, "disfa")


def _prepare_slowly(words):
    os.environ["OMP_NUM_THREADS"] = "1"
    prepare.main(words)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes where Linux lists them")
def test_a_killed_command_can_be_resumed(owners, tmp_path, prepared):
    """After SIGKILL in the middle; its workers end with it."""
    words = ["bp4d", *arguments(owners["bp4d"], tmp_path, "--workers", "2")]
    process = multiprocessing.get_context("spawn").Process(target=_prepare_slowly, args=(words,))
    process.start()
    assert process.pid
    deadline = time.monotonic() + 60
    while not list((tmp_path / "bp4d").glob(".work-*/*/*/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) >= 2 and time.monotonic() < deadline, "workers wait forever"
    assert prepare.main(words) == 0
    assert dataset_bytes(tmp_path, "bp4d") == dataset_bytes(prepared, "bp4d")

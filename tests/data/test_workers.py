"""Workers do not outlive the process that started them."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from fgnet_jax.data.workers import end_with_parent

SPAWN = multiprocessing.get_context("spawn")


def _worker(said: Path, wait_for_death: bool) -> None:
    parent = os.getppid()
    said.write_text(str(os.getpid()))
    while wait_for_death and os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent()
    time.sleep(600)


def _parent(said: Path, wait_for_death: bool) -> None:
    SPAWN.Process(target=_worker, args=(said, wait_for_death)).start()
    time.sleep(600)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes where Linux lists them")
@pytest.mark.parametrize("is_gone_already", [False, True])
def test_a_worker_ends_with_its_parent(tmp_path, is_gone_already):
    """Also where the parent was killed before the worker began to look."""
    said = tmp_path / "pid"
    parent = SPAWN.Process(target=_parent, args=(said, is_gone_already))
    parent.start()
    deadline = time.monotonic() + 60
    while not (said.exists() and said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.join()
    while Path(f"/proc/{said.read_text()}").exists():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.01)

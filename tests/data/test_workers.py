"""Workers do not outlive the process that started them, and end without a word."""

import multiprocessing
import os
import signal
import subprocess
import sys
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


POOL = """
import time
from fgnet_jax.data.workers import pool

try:
    with pool(2) as executor:
        print("begun", flush=True)
        list(executor.map(time.sleep, [0.01] * 3000))
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2, 1])
def test_interrupted_at_any_moment_a_pool_ends_in_silence(seconds):
    """Ctrl-C reaches parent and workers: also those that are still starting."""
    process = subprocess.Popen(
        [sys.executable, "-c", POOL], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("interrupted\n", "")
    assert process.returncode == 0

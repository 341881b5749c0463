"""Workers do not outlive the process that started them, and end without output."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fgnet_jax.runtime.workers import WorkerEnded, as_done, cores, end_with_parent, in_order

SPAWN = multiprocessing.get_context("spawn")


def _worker(pid_file: Path, wait_for_death: bool) -> None:
    parent = os.getppid()
    pid_file.write_text(str(os.getpid()))
    while wait_for_death and os.getppid() == parent:
        time.sleep(0.01)
    end_with_parent()
    time.sleep(600)


def _parent(pid_file: Path, wait_for_death: bool) -> None:
    SPAWN.Process(target=_worker, args=(pid_file, wait_for_death)).start()
    time.sleep(600)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's list of processes")
@pytest.mark.parametrize("has_ended_before", [False, True])
def test_a_worker_ends_with_its_parent(tmp_path, has_ended_before):
    """Also if the parent was killed before the worker began to watch it."""
    pid_file = tmp_path / "pid"
    parent = SPAWN.Process(target=_parent, args=(pid_file, has_ended_before))
    parent.start()
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.kill()
    parent.join()
    while Path(f"/proc/{pid_file.read_text()}").exists():
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.01)


def test_outcomes_are_in_the_order_of_the_items():
    """Whichever is done first, and however few workers there are."""
    assert list(in_order(_slept, [0.3, 0, 0.1, 0, 0], 2)) == [0.3, 0, 0.1, 0, 0]
    assert list(in_order(_slept, [], 2)) == []


def test_as_done_yields_none_while_nothing_is_done():
    """The first outcome to be done comes first; meanwhile the caller gets None."""
    done = list(as_done(_slept, [1.5, 0.0], 2, begin=_begin, seconds=0.2))
    assert [d for d in done if d] == [(1, 0.0), (0, 1.5)]
    assert None in done


def test_an_error_has_the_workers_traceback():
    """It is the function's own error; no worker is left afterwards."""
    with pytest.raises(ValueError, match="sleep length must be non-negative") as caught:
        list(as_done(_slept, [0.0, -1.0, 0.0], 2))
    assert "in _slept" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_an_error():
    """Nobody waits for its outcome."""
    with pytest.raises(WorkerEnded, match="exit code -9"):
        list(as_done(_killed, ["it"], 1))
    assert not multiprocessing.active_children()


def _begin() -> None:
    assert not multiprocessing.active_children()


def _slept(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


INTERRUPTED = """
from fgnet_jax.runtime.workers import in_order

try:
    done = in_order(bytes, [3_000_000] * 3000, 2)
    print("begun", flush=True)
    for _ in done:
        pass
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2, 1])
def test_interrupted_at_any_moment_workers_end_without_output(seconds):
    """Ctrl-C is sent to parent and workers, also to those still starting or sending a large outcome."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == ("interrupted\n", "")
    assert process.returncode == 0


def test_cores_are_those_that_a_process_may_use(monkeypatch):
    """Of a Slurm job its own; where the system does not tell, those of the machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({}, 3),
    ],
)
def test_cores_of_a_container_are_its_own(files, expected, tmp_path, monkeypatch):
    """`docker run --cpus=1.5` leaves all cores in sight, and gives the time of one and a half."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == expected

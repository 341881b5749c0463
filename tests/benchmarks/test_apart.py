"""Networks in separate processes, with tasks that do little."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from benchmarks import apart
from benchmarks.tasks import ProgramCost, Task


def _holding(megabytes: int) -> dict[str, Task]:
    return {"whole": Task(lambda: np.ones(megabytes << 17).sum(), ProgramCost(gflop=1.0))}


def _killed() -> dict[str, Task]:
    return {"whole": Task(lambda: os.kill(os.getpid(), signal.SIGKILL))}


def _killed_while_idle() -> dict[str, Task]:
    return {"whole": Task(lambda: threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start())}


def _slow() -> dict[str, Task]:
    return {"whole": Task(lambda: time.sleep(1))}


def _full() -> dict[str, Task]:
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\nand more")


def _crashing() -> dict[str, Task]:
    return {"whole": Task(lambda: os.kill(os.getpid(), signal.SIGSEGV))}


def _wrong() -> dict[str, Task]:
    raise ValueError("no such thing")


def test_networks_take_turns_and_report_their_peak():
    """A warm-up and two runs of each; a process that holds 400 MiB more has a peak that much higher."""
    results = apart.in_turns({("small", ""): (_holding, 1), ("large", ""): (_holding, 401)}, 2)
    (cost, small), (_, large) = (results[name, ""]["whole"] for name in ("small", "large"))
    assert cost == ProgramCost(gflop=1.0) and [len(runs) for runs in (small, large)] == [2, 2]
    assert all(seconds > 0 for seconds, _ in small + large)
    of_small, of_large = (max(peak or 0 for _, peak in runs) for runs in (small, large))
    assert of_large - of_small == pytest.approx(400 << 20, rel=0.2)


def test_a_network_out_of_memory_does_not_end_the_others(capfd):
    """Killed, as Linux does, or with an allocator's message; the others run all their rounds."""
    results = apart.in_turns(
        {("killed", "blocks"): (_killed,), ("full", ""): (_full,), ("small", ""): (_holding, 1)}, 2
    )
    assert [*results] == [("small", "")] and len(results["small", ""]["whole"][1]) == 2
    output = capfd.readouterr().out
    assert "killed, remat blocks does not fit into memory: its process was ended (exit code -9)" in output
    assert "full does not fit into memory: RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\n" in output


def test_a_network_that_is_killed_while_another_runs_does_not_end_it(capfd):
    """Linux frees memory where it likes: its next turn reports it."""
    results = apart.in_turns({("idle", ""): (_killed_while_idle,), ("slow", ""): (_slow,)}, 1)
    assert [*results] == [("slow", "")] and len(results["slow", ""]["whole"][1]) == 1
    assert "idle does not fit into memory: its process was ended (exit code -9)" in capfd.readouterr().out


def test_a_defect_is_not_taken_for_lack_of_memory():
    """It ends the measurement, with its traceback."""
    with pytest.raises(RuntimeError, match=r"(?s)in _wrong.*ValueError: no such thing"):
        apart.in_turns({("wrong", ""): (_wrong,)}, 1)


def test_a_crash_is_not_taken_for_lack_of_memory():
    """Only the signal is by which Linux frees memory."""
    with pytest.raises(RuntimeError, match=r"exit code -11"):
        apart.in_turns({("crashing", ""): (_crashing,)}, 1)

"""Networks in processes of their own, with jobs that do little."""

import os
import signal

import numpy as np
import pytest

from benchmarks import apart
from benchmarks.jobs import Figures, Job


def _holding(megabytes: int) -> dict[str, Job]:
    return {"whole": Job(lambda: np.ones(megabytes << 17).sum(), Figures(gflop=1.0))}


def _killed() -> dict[str, Job]:
    return {"whole": Job(lambda: os.kill(os.getpid(), signal.SIGKILL))}


def _full() -> dict[str, Job]:
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\nand more")


def _crashing() -> dict[str, Job]:
    return {"whole": Job(lambda: os.kill(os.getpid(), signal.SIGSEGV))}


def _wrong() -> dict[str, Job]:
    raise ValueError("no such thing")


def test_they_take_turns_and_tell_their_peak():
    """A warm-up and two runs of each; who holds 400 MiB more has a peak that much higher."""
    found = apart.in_turns({("small", ""): (_holding, 1), ("large", ""): (_holding, 401)}, 2)
    (figures, small), (_, large) = (found[name, ""]["whole"] for name in ("small", "large"))
    assert figures == Figures(gflop=1.0) and [len(runs) for runs in (small, large)] == [2, 2]
    assert all(seconds > 0 for seconds, _ in small + large)
    of_small, of_large = (max(peak or 0 for _, peak in runs) for runs in (small, large))
    assert of_large - of_small == pytest.approx(400 << 20, rel=0.2)


def test_one_that_is_killed_for_memory_leaves_the_others(capfd):
    """As Linux does where memory runs out, and as a card's allocator says it; the others' rounds are whole."""
    found = apart.in_turns({("killed", "blocks"): (_killed,), ("full", ""): (_full,), ("small", ""): (_holding, 1)}, 2)
    assert [*found] == [("small", "")] and len(found["small", ""]["whole"][1]) == 2
    said = capfd.readouterr().out
    assert "killed, remat blocks does not fit into memory: its process was ended (exit code -9)" in said
    assert "full does not fit into memory: RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\n" in said


def test_a_defect_is_none_of_memory():
    """It ends the measurement, with the traceback of where it happened."""
    with pytest.raises(RuntimeError, match=r"(?s)in _wrong.*ValueError: no such thing"):
        apart.in_turns({("wrong", ""): (_wrong,)}, 1)


def test_a_crash_is_none_of_memory():
    """Only the signal that Linux frees memory with is taken for it."""
    with pytest.raises(RuntimeError, match=r"exit code -11"):
        apart.in_turns({("crashing", ""): (_crashing,)}, 1)

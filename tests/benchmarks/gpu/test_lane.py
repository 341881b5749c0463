"""Processes that take turns, with work that does little."""

import dataclasses
import multiprocessing
import os
import signal
import time

from benchmarks.gpu import lane, plan
from benchmarks.gpu.measuring import FREE, UnavailableError

SOON = 60.0
"""Seconds until the time is over, where a test does not wait for it."""


@dataclasses.dataclass(frozen=True)
class Work(plan.Case):
    """A case whose process calls one of the functions below."""

    function: str = "_quick"

    @property
    def factory(self) -> str:
        """A function of this module."""
        return f"{__name__}:{self.function}"


def _quick(case: Work):
    def measure():
        begin = time.time()
        time.sleep(0.2)
        yield {"interval": (begin, time.time())}

    return measure


def _failing_before(case: Work):
    raise ValueError("no such thing\nand more")


def _failing(case: Work):
    def measure():
        yield {"seconds": 1.0}
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.\nand more")

    return measure


def _killed(case: Work):
    return lambda: iter([os.kill(os.getpid(), signal.SIGKILL)])


def _killed_before(case: Work):
    time.sleep(1)  # the parent has sent the signal to begin, and it is not read
    os.kill(os.getpid(), signal.SIGKILL)


def _unavailable(case: Work):
    raise UnavailableError("torch.compile needs triton, which is not installed")


def _endless(case: Work):
    def measure():
        yield {"seconds": 1.0}
        time.sleep(600)

    return measure


def _computing_on(case: Work):
    def measure():
        yield FREE
        time.sleep(1)
        yield {"end": time.time()}

    return measure


def _cases(*functions: str) -> list[Work]:
    base = {"part": "inference-float32-1", "is_tiny": True, "rounds": 1, "folder": ""}
    return [Work(network=f"{k}", function=function, **base) for k, function in enumerate(functions)]


def _run(*functions: str, seconds: float = SOON) -> list[dict]:
    """Run cases; return what has been recorded of each."""
    cases = _cases(*functions)
    rows: dict[plan.Case, dict] = {case: {} for case in cases}
    lane.run(cases, time.monotonic() + seconds, lambda case, result: rows[case].update(result))
    return [*rows.values()]


def test_one_at_a_time_has_the_device():
    """Each begins when the one before it has ended, although all prepare themselves beforehand."""
    rows = _run("_quick", "_quick", "_quick")
    assert [row["status"] for row in rows] == [lane.DONE] * 3
    ends = [row["interval"] for row in rows]
    assert ends[0][1] <= ends[1][0] and ends[1][1] <= ends[2][0]
    assert all(row["prepare_seconds"] > 0 for row in rows)


def test_what_fails_ends_neither_the_others_nor_what_it_has_reported():
    """A wrong factory, memory of the device, a killed process, something that is missing; each with its reason."""
    rows = _run("_failing_before", "_failing", "_killed", "_unavailable", "_killed_before", "_quick")
    assert [row["status"] for row in rows] == [lane.FAILED] * 3 + [lane.UNAVAILABLE, lane.FAILED, lane.DONE]
    assert rows[0]["message"] == "ValueError: no such thing" and "_failing_before" in rows[0]["traceback"]
    assert rows[1]["message"] == "RuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."
    assert rows[1]["seconds"] == 1.0
    assert rows[2]["message"] == rows[4]["message"] == "out of memory (exit code -9)"
    assert rows[3]["message"] == "torch.compile needs triton, which is not installed"


def test_what_only_computes_does_not_hold_up_the_next():
    """The second has its turn while the first still reads its trace."""
    first, second = _run("_computing_on", "_quick")
    assert second["interval"][0] < first["end"] and first["status"] == lane.DONE


def test_the_time_limit_cuts_off_what_runs_and_skips_the_rest():
    """What was measured until then stays."""
    endless, skipped = _run("_endless", "_quick", seconds=6)
    assert endless["status"] == skipped["status"] == lane.SKIPPED
    assert endless["seconds"] == 1.0 and endless["message"] == "cut off by the time limit"
    assert skipped["message"].startswith("no time: 0 s were left")


def test_what_took_too_long_before_is_not_begun_again(monkeypatch):
    """A case is skipped if the like of it took longer than what is left, and a shorter one still has its turn."""
    clock = iter([0.0, 41.0, 41.0, 42.0, 43.0])
    first, second, other = _cases("_quick", "_quick", "_quick")
    second, other = dataclasses.replace(second, network="0", rounds=2), dataclasses.replace(other, network="2")
    monkeypatch.setattr(lane, "_start", lambda case: case)
    monkeypatch.setattr(lane, "_turn", lambda case, deadline, record: record(case, {"status": lane.DONE}) or [])
    monkeypatch.setattr(lane, "_stop", lambda case: None)
    monkeypatch.setattr(lane.time, "monotonic", lambda: next(clock))
    rows = {}
    lane.run([first, second, other], 60.0, rows.__setitem__)
    assert [rows[case]["status"] for case in (first, second, other)] == [lane.DONE, lane.SKIPPED, lane.DONE]
    assert rows[second]["message"] == "no time: 19 s were left, the like of it took 41"


def test_no_process_is_left():
    """Those that waited for their turn are ended, too."""
    before = multiprocessing.active_children()
    _run("_endless", "_quick", "_quick", seconds=3)
    assert multiprocessing.active_children() == before

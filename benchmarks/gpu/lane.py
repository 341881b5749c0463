"""One process at a time has the device: each prepares itself beforehand, waits for its turn, and reports as it goes.

A process that fails, runs out of memory or is killed ends neither the others nor this one.
"""

import contextlib
import dataclasses
import importlib
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks import processes
from benchmarks.gpu.measuring import FREE, Result, UnavailableError
from benchmarks.gpu.plan import Case

AHEAD = 2
"""Processes that prepare themselves while another one has the device."""

GRACE_SECONDS = 5.0
"""Time after the deadline for what is only computed from a trace."""

Record = Callable[[Case, Result], object]
"""Takes the results of a case, as they come; `status` is among the last of them."""

DONE, FAILED, SKIPPED, UNAVAILABLE = "done", "failed", "skipped", "unavailable"
"""Values of `status`."""


@dataclasses.dataclass(frozen=True)
class Started:
    """A process of a case, and our end of the pipe to it."""

    case: Case
    process: BaseProcess
    pipe: Connection


def run(cases: Sequence[Case], deadline: float, record: Record) -> None:
    """Measure cases one after the other, until the time is over.

    A case is skipped if the like of it took longer than what is left; one that still runs at the end is cut off.

    Args:
      cases: In the order of their turns.
      deadline: The end of `time.monotonic()`.
      record: Gets every result at once.
    """
    started: dict[Case, Started] = {}
    finishing: list[Started] = []
    took: dict[tuple[str, str], float] = {}
    try:
        for k, case in enumerate(cases):
            begin, kind = time.monotonic(), (case.task, case.network)
            if begin + took.get(kind, 0) >= deadline:
                record(case, _skipped(took.get(kind, 0), deadline - begin))
                continue
            for following in cases[k : k + 1 + AHEAD]:
                if following not in started:
                    started[following] = _start(following)
            finishing += _turn(started[case], deadline, record)
            took[kind] = max(took.get(kind, 0), time.monotonic() - begin)
            finishing = [each for each in finishing if _receive(each, time.monotonic(), record)]
        for each in finishing:
            if _receive(each, max(deadline, time.monotonic() + GRACE_SECONDS), record):
                record(each.case, {"status": SKIPPED, "message": "cut off by the time limit while it finished"})
    finally:
        for each in started.values():
            _stop(each)


def _skipped(needed: float, left: float) -> Result:
    reason = f"{max(left, 0):.0f} s were left" + (f", the like of it took {needed:.0f}" if needed else "")
    return {"status": SKIPPED, "message": f"no time: {reason}"}


def _start(case: Case) -> Started:
    context = multiprocessing.get_context("spawn")
    parent_end, process_end = context.Pipe()
    process = context.Process(target=_serve, args=(process_end, case), daemon=False)  # PyTorch's has processes itself
    process.start()
    process_end.close()
    return Started(case, process, parent_end)


def _stop(started: Started) -> None:
    started.process.kill()
    started.process.join()
    started.pipe.close()


def _turn(started: Started, deadline: float, record: Record) -> list[Started]:
    """Let a process use the device; return it in a list if it still computes when it no longer needs it."""
    with contextlib.suppress(BrokenPipeError):  # it has ended, and what it sent before tells why
        started.pipe.send("begin")
    while _receive(started, deadline, record, until_free=True):
        if time.monotonic() < deadline:
            return [started]
        record(started.case, {"status": SKIPPED, "message": "cut off by the time limit"})
        started.process.kill()
        break
    return []


def _receive(started: Started, deadline: float, record: Record, until_free: bool = False) -> bool:
    """Record what a process reports until it ends, frees the device or the time is over; return whether it runs on."""
    while started.pipe.poll(max(0.0, deadline - time.monotonic())):
        try:
            result = started.pipe.recv()
        except (EOFError, ConnectionResetError):  # the latter if it had not read all that was sent to it
            record(started.case, _ended(started.process))
            return False
        if result != FREE:
            record(started.case, result)
        elif until_free:
            return True
        if "status" in result:
            started.process.join(5)
            started.process.kill()
            return False
    return True


def _ended(process: BaseProcess) -> Result:
    """Say why a process ended without a word: Linux kills processes when memory runs out."""
    process.join()
    reason = "out of memory" if process.exitcode == -signal.SIGKILL else "its process ended"
    return {"status": FAILED, "message": f"{reason} (exit code {process.exitcode})"}


def _serve(pipe: Connection, case: Case) -> None:
    """Prepare, wait for the turn, and send results and at last the status: the process's main function."""
    processes.let_be_killed_first()
    begin = time.perf_counter()
    try:
        module, _, function = case.factory.partition(":")
        measure = getattr(importlib.import_module(module), function)(case)
        prepared = time.perf_counter() - begin
        pipe.recv()
        pipe.send({"prepare_seconds": prepared})
        for result in measure():
            pipe.send(result)
        status: Result = {"status": DONE}
    except UnavailableError as error:
        status = {"status": UNAVAILABLE, "message": str(error)}
    except (EOFError, BrokenPipeError):  # nobody waits for it any longer
        return
    except Exception as error:  # of whatever kind: it is reported with its traceback, and the others go on
        status = {"status": FAILED, "message": _first_line(error), "traceback": traceback.format_exc()}
    pipe.send(status)


def _first_line(error: Exception) -> str:
    lines: list[Any] = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]

"""Worker processes that prepare data: one BLAS thread each, and none left behind when their parent ends or is killed.

Each worker has its own pipe, and the parent has neither locks nor threads for them. `concurrent.futures` has both, and
Ctrl-C in the middle of one of its locked sections, or a worker that is ended while it sends a result, makes it wait
forever.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

Item = Any
"""What a worker processes: any object that can be pickled."""
Outcome = Any
"""What a worker returns: any object that can be pickled."""
Workers = dict[Connection, BaseProcess]
"""Worker processes, by the parent's end of their pipe."""


class WorkerEnded(Exception):
    """A worker ended before its work was done: killed, perhaps because the machine is out of memory."""


def in_order(function: Callable[[Item], Outcome], items: Sequence[Item], count: int) -> Iterator[Outcome]:
    """Yield `function` of each item, in the items' order; arguments and errors as in `as_done`."""
    early: dict[int, Outcome] = {}
    number = 0
    for done in as_done(function, items, count):
        assert done is not None, "without `seconds`, None is never yielded"
        early[done[0]] = done[1]
        while number in early:
            yield early.pop(number)
            number += 1


def as_done(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    count: int,
    *,
    begin: Callable[[], None] | None = None,
    seconds: float | None = None,
) -> Iterator[tuple[int, Outcome] | None]:
    """Compute `function` of each item in worker processes, and yield each outcome as soon as it is done.

    If the caller is stopped by an exception, such as Ctrl-C, workers are ended at once and without output. They are
    spawned, not forked: JAX's threads do not survive a fork.

    Args:
      function: A module's function, which workers import by its name.
      items: Objects that can be pickled; handed out one by one, in order.
      count: Processes.
      begin: A function that each process calls first.
      seconds: How long to wait before None is yielded, for a caller that has something else to do.

    Yields:
      The number of an item and its outcome, or None.

    Raises:
      WorkerEnded: if a worker was killed.
      Exception: whatever the function raised, with the worker's traceback as a note.
    """
    remaining = iter(enumerate(items))
    with _started(min(count, len(items)), function, begin) as workers:
        busy: dict[Connection, int] = {}  # the number of the item that each worker has
        for connection in workers:
            _give(connection, remaining, busy)
        while busy:
            ready = [connection for connection in wait(list(busy), seconds) if isinstance(connection, Connection)]
            if not ready:
                yield None
            for connection in ready:
                number, outcome = busy.pop(connection), _received(connection, workers[connection])
                _give(connection, remaining, busy)
                yield number, outcome


def _give(connection: Connection, remaining: Iterator[tuple[int, Item]], busy: dict[Connection, int]) -> None:
    """Send the next item to a worker, if there is one."""
    for number, item in remaining:
        connection.send(item)
        busy[connection] = number
        return


def _received(connection: Connection, worker: BaseProcess) -> Outcome:
    """Receive an outcome, or raise the worker's error."""
    try:
        outcome, error = connection.recv()
    except (EOFError, OSError):
        worker.join()
        raise WorkerEnded(f"a worker ended before its work was done, with exit code {worker.exitcode}") from None
    if error is not None:
        raise error
    return outcome


@contextlib.contextmanager
def _started(count: int, function: Callable[[Item], Outcome], begin: Callable[[], None] | None) -> Iterator[Workers]:
    """Run workers during the block; end them at once where it raises."""
    spawn = multiprocessing.get_context("spawn")
    workers: Workers = {}
    try:
        with _one_thread_each(), _without_ctrl_c():
            for _ in range(count):
                parent_end, worker_end = spawn.Pipe()
                # daemons: Python does not wait for them at exit, where the caller's generator is not closed by then
                worker = spawn.Process(target=_work, args=(worker_end, function, begin), daemon=True)
                worker.start()
                workers[parent_end] = worker
                worker_end.close()
        yield workers
        for connection in workers:
            connection.close()  # which tells the worker that there are no more items
    except BaseException:
        for worker in workers.values():
            worker.terminate()
        raise
    finally:
        for worker in workers.values():
            worker.join()


def _work(connection: Connection, function: Callable[[Item], Outcome], begin: Callable[[], None] | None) -> None:
    """Process items until the pipe is closed: a worker's main function."""
    end_with_parent()
    if begin is not None:
        begin()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe, or has ended
        while True:
            item = connection.recv()
            try:
                outcome = (function(item), None)
            except Exception as error:  # raised again in the parent
                error.add_note(f"in a worker:\n{traceback.format_exc()}")
                outcome = (None, error)
            connection.send(outcome)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block.

    Processes started in the block never receive it, though it is sent to the whole group: their parent ends them. They
    inherit the mask; in this process the mask is not enough, since another thread may take the signal.
    """
    resource_tracker.ensure_running()  # or the first process would start it, which lifts the mask
    received: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: received.append(number)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if received:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Limit processes started in the block to one BLAS thread each: with more they compete for the cores."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def cores(control_groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many cores this process may use: of a Slurm job or a container its own, not those of the machine.

    Args:
      control_groups: Where Linux says how much processor time a container may take.
    """
    # Linux alone has it
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(count, round(_quota(control_groups) or count)))


def _quota(control_groups: Path) -> float | None:
    """Return how many cores' time a container may take (`docker run --cpus`); None where nothing says so."""
    for names in (
        ("cpu.max",),
        ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ):  # control groups' second version, first
        try:
            quota, period = " ".join((control_groups / name).read_text() for name in names).split()
        except (OSError, ValueError):  # absent, or of another form
            continue
        if quota.isdecimal():  # not "max", nor -1
            return int(quota) / int(period)
    return None


def end_with_parent() -> None:
    """End this process when its parent has ended: workers would otherwise wait for items forever.

    Call it first in a worker that `multiprocessing` started.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "not a worker"

    def watch() -> None:
        parent.join()  # returns at once if the parent has already ended, which its process ID would not tell
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

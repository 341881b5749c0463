"""Worker processes that make data: one BLAS thread each, and none left behind when their parent ends or is killed.

Each has a pipe of its own, and the parent has neither locks nor threads for them. `concurrent.futures` has both, and
Ctrl-C in the middle of one of its locked sections, or a worker that is ended in the middle of a result, lets it wait
for ever.
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
from typing import Any

Workers = dict[Connection, BaseProcess]


class WorkerEnded(Exception):
    """A worker ended in the middle of its work: killed, for want of memory perhaps."""


def in_order(function: Callable[[Any], Any], items: Sequence[Any], count: int) -> Iterator[Any]:
    """What `function` makes of each item, in the items' order; arguments and errors as in `as_done`."""
    early: dict[int, Any] = {}
    number = 0
    for done in as_done(function, items, count):
        assert done is not None, "without seconds there is always something"
        early[done[0]] = done[1]
        while number in early:
            yield early.pop(number)
            number += 1


def as_done(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    count: int,
    begin: Callable[[], None] | None = None,
    seconds: float | None = None,
) -> Iterator[tuple[int, Any] | None]:
    """What `function` makes of each item, in worker processes, as it is done.

    Where the caller stops by an exception, Ctrl-C say, workers are ended at once and in silence. They are spawned, not
    forked: JAX' threads do not survive a fork.

    Args:
      function: Of a module, to be found by its name.
      items: What can be pickled; taken one by one, in order.
      count: Processes.
      begin: What each process calls first.
      seconds: How long to wait before None is yielded, for a caller who has something else to do.

    Yields:
      The number of an item and its outcome, or None.

    Raises:
      WorkerEnded: A worker is gone.
      Exception: Whatever the function raised, with the worker's traceback as a note.
    """
    left = iter(enumerate(items))
    with _started(min(count, len(items)), function, begin) as workers:
        busy: dict[Connection, int] = {}  # the number of each one's item
        for connection in workers:
            _give(connection, left, busy)
        while busy:
            ready = [connection for connection in wait(list(busy), seconds) if isinstance(connection, Connection)]
            if not ready:
                yield None
            for connection in ready:
                number, outcome = busy.pop(connection), _received(connection, workers[connection])
                _give(connection, left, busy)
                yield number, outcome


def _give(connection: Connection, left: Iterator[tuple[int, Any]], busy: dict[Connection, int]) -> None:
    """Sends the next item, if there is one."""
    for number, item in left:
        connection.send(item)
        busy[connection] = number
        return


def _received(connection: Connection, worker: BaseProcess) -> Any:
    try:
        outcome, error = connection.recv()
    except (EOFError, OSError):
        worker.join()
        raise WorkerEnded(f"a worker ended in the middle of its work, with exit code {worker.exitcode}") from None
    if error is not None:
        raise error
    return outcome


@contextlib.contextmanager
def _started(count: int, function: Callable[[Any], Any], begin: Callable[[], None] | None) -> Iterator[Workers]:
    spawn = multiprocessing.get_context("spawn")
    workers: Workers = {}
    try:
        with _one_thread_each(), _without_ctrl_c():
            for _ in range(count):
                ours, theirs = spawn.Pipe()
                # daemons: Python's own end does not wait for them, where the caller's generator is not closed by then
                worker = spawn.Process(target=_work, args=(theirs, function, begin), daemon=True)
                worker.start()
                workers[ours] = worker
                theirs.close()
        yield workers
        for connection in workers:
            connection.close()  # there is no more to do
    except BaseException:
        for worker in workers.values():
            worker.terminate()
        raise
    finally:
        for worker in workers.values():
            worker.join()


def _work(connection: Connection, function: Callable[[Any], Any], begin: Callable[[], None] | None) -> None:
    """A worker's life."""
    end_with_parent()
    if begin is not None:
        begin()
    with contextlib.suppress(EOFError, OSError):  # the parent has closed the pipe, or is gone: no more work
        while True:
            item = connection.recv()
            try:
                answer = (function(item), None)
            except Exception as error:  # raised again where the outcome is wanted
                error.add_note(f"in a worker:\n{traceback.format_exc()}")
                answer = (None, error)
            connection.send(answer)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits for the block's end.

    Processes started meanwhile never see it, though it reaches the whole group: their parent ends them. The mask is
    what they inherit; it is not enough here, where another thread may take the signal.
    """
    resource_tracker.ensure_running()  # the first process would start it, which lifts the mask
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if is_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Lets processes started meanwhile use one BLAS thread: with more they fight over the cores."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def end_with_parent() -> None:
    """Lets this process end when its parent is gone: a pool's workers would wait for work for ever.

    To be called first thing in a worker that `multiprocessing` started.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "not a worker"

    def watch() -> None:
        parent.join()  # at once where the parent is gone already, which the parent's number would not tell
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

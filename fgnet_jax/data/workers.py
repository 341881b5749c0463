"""Worker processes that make data: one BLAS thread each, and none left behind when their parent ends or is killed."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def pool(
    count: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """`count` workers for the block; where it ends by an exception, Ctrl-C say, they are ended at once and in silence.

    They are spawned, not forked: JAX' threads do not survive a fork.

    Args:
      count: Processes.
      begin: What each calls first, with `arguments`.
    """
    executor = concurrent.futures.ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _begin, (begin, arguments)
    )
    with one_thread_each():
        try:
            with _without_ctrl_c():
                for _ in range(count):
                    executor.submit(os.getpid)  # a worker is started for each task as long as none is idle
            yield executor
        except BaseException:
            for worker in list((executor._processes or {}).values()):  # noqa: SLF001 - there is no public way before 3.14
                worker.terminate()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, which reaches the whole group: their parent ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(begin: Callable[..., None] | None, arguments: tuple) -> None:
    end_with_parent()
    if begin is not None:
        begin(*arguments)


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
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

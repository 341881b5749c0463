"""Worker processes that make data: one BLAS thread each, and none left behind when their parent is killed."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator


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

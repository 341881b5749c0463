"""Worker processes that make data: one BLAS thread each, and none left behind when their parent is killed."""

import contextlib
import os
import threading
import time
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

    To be called first thing in a worker.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

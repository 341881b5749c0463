"""An iterator that runs on a thread of its own, a few items ahead of who asks."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_CHECK_SECONDS = 0.1
_LAST_SECONDS = 5.0
_ITEM, _ERROR, _END = range(3)


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items, in order, computed on a thread.

    The thread starts when the first item is asked for. It ends with the items, with what they raise, which is raised
    here, or soon after this iterator is closed; `items` is closed on that thread then. A thread that waits inside of
    `items` for something that never comes is left behind after a few seconds; it does not keep the process alive.

    Args:
      items: What computes them.
      depth: How many wait at most.
    """
    ready: queue.Queue[tuple[int, Any]] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, ready, stop), name="fgnet_jax ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == _END:
                return
            if kind == _ERROR:
                raise value
            yield value
    finally:
        stop.set()
        thread.join(_LAST_SECONDS)


def _fill(items: Iterator[Any], ready: queue.Queue[tuple[int, Any]], stop: threading.Event) -> None:
    last: tuple[int, Any] = (_END, None)
    try:
        with closing(items):
            for item in items:
                if not _put(ready, (_ITEM, item), stop):
                    return
                del item  # not kept while the next is computed: images are large
    except BaseException as error:  # raised again where the items are asked for
        last = (_ERROR, error)
    _put(ready, last, stop)


def _put(ready: queue.Queue[tuple[int, Any]], entry: tuple[int, Any], stop: threading.Event) -> bool:
    """Waits for room; False when nobody asks any more."""
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(entry, timeout=_CHECK_SECONDS)
            return True
    return False


@contextlib.contextmanager
def closing(items: Iterator[Any]) -> Iterator[None]:
    """Closes an iterator in the end, if it is of a kind that can be closed."""
    try:
        yield
    finally:
        close = getattr(items, "close", None)
        if close:
            close()

"""Runs an iterator on its own thread, a few items ahead of the consumer."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Entry = tuple[int, Any]
"""Kind and value of a queue's entry: an item, of whatever type the iterator has, an exception, or the end."""

_CHECK_SECONDS = 0.1
_LAST_SECONDS = 5.0
_ITEM, _ERROR, _END = range(3)


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Compute the items of an iterator on a thread, in the same order.

    The thread starts with the first item that is requested. It ends with the items, with an exception, which is raised
    again by the returned iterator, or soon after that is closed; then `items` is closed on that thread. A thread that
    waits inside of `items` for something that never comes is abandoned after 5 s; it does not keep the process alive.

    Args:
      items: The iterator.
      depth: How many items are computed in advance.
    """
    ready: queue.Queue[Entry] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, ready, stop), name="fgnet_jax prefetch", daemon=True)
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


def _fill(items: Iterator[object], ready: queue.Queue[Entry], stop: threading.Event) -> None:
    """Put all items into the queue, then an exception or the end."""
    last: Entry = (_END, None)
    try:
        with closing(items):
            for item in items:
                if not _put(ready, (_ITEM, item), stop):
                    return
                del item  # not kept while the next is computed: images are large
    except BaseException as error:  # raised again by the consumer
        last = (_ERROR, error)
    _put(ready, last, stop)


def _put(ready: queue.Queue[Entry], entry: Entry, stop: threading.Event) -> bool:
    """Put an entry into the queue once it has room; returns False where the consumer has closed the iterator."""
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(entry, timeout=_CHECK_SECONDS)
            return True
    return False


@contextlib.contextmanager
def closing(items: Iterator[object]) -> Iterator[None]:
    """Close an iterator when the block ends, if it can be closed (generators can)."""
    try:
        yield
    finally:
        close = getattr(items, "close", None)
        if close:
            close()

"""Hands an iterator's items over from a thread of its own: all of them in turn, or the newest alone.

frames = Handover(camera_frames(), "camera", newest=True)
for frame in frames: ...  # what came meanwhile is dropped, but for the newest
"""

import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_LAST_SECONDS = 5.0  # that a thread is waited for which waits for something that may never come
_CHECK_SECONDS = 0.2


class Handover(Generic[T]):
    """A thread that computes the items of an iterator, one ahead of whoever takes them.

    Attributes:
      dropped: Items that a newer one has replaced before they were taken.
    """

    def __init__(self, items: Iterator[T], name: str, *, newest: bool):
        """Start the thread.

        Args:
          items: The iterator; none of its items is None. It is closed on the thread, if it can be.
          name: Of the thread.
          newest: Whether a new item replaces one that was not taken yet; else it waits until that is taken.
        """
        self.dropped = 0
        self._newest = newest
        self._item: T | None = None
        self._error: BaseException | None = None
        self._is_over = self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(items,), name=f"fgnet_jax {name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Yield the items that are taken, until the last one or `close`."""
        while not self.is_over:
            if (item := self.take(_CHECK_SECONDS)) is not None:
                yield item

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more; True from `close` on, too."""
        with self._changed:
            return self._is_closed or (self._is_over and self._item is None and self._error is None)

    def take(self, seconds: float) -> T | None:
        """Return the next item; None where none came within so many seconds, or none will come.

        Raises:
          BaseException: What the iterator has raised, once, after its last item.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._is_over or self._is_closed, seconds)
            if self._is_closed:
                return None
            item, self._item = self._item, None
            self._changed.notify_all()
            if item is None and self._error is not None:
                error, self._error = self._error, None
                raise error
            return item

    def close(self) -> None:
        """End the thread; one that waits inside of the iterator for something that never comes is left behind."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(_LAST_SECONDS)

    def _run(self, items: Iterator[T]) -> None:
        """Hand all items over, then the end."""
        error = None
        try:
            for item in items:
                if not self._put(item):
                    break
            if close := getattr(items, "close", None):
                close()
        except BaseException as raised:  # raised again where the items are taken
            error = raised
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        """Hand an item over; returns False where nobody takes it any more."""
        with self._changed:
            if self._item is not None and not self._newest:
                self._changed.wait_for(lambda: self._item is None or self._is_closed)
            self.dropped += self._item is not None and not self._is_closed
            self._item = item
            self._changed.notify_all()
            return not self._is_closed

"""SIGTERM and Ctrl-C, caught so that a run can save before it ends."""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any] | int | None
"""A signal handler, as `signal.signal` takes and returns it."""


class Stopped(Exception):
    """A signal arrived while nothing was left to be saved; the message is the signal's name."""


class StopSignal:
    """A context manager, for the main thread, that catches SIGTERM and SIGINT so that a run can save before it ends.

        with StopSignal() as stop:
            while not stop.received: ...

    The first signal is only recorded, unless `raise_from_now_on` was called; a later SIGINT raises KeyboardInterrupt, a
    later SIGTERM changes nothing. At the end the former handlers are restored.

    Attributes:
      received: Name of the first signal, "SIGTERM" or "SIGINT"; None before one arrives.
    """

    def __init__(self, active: bool = True):
        """Prepare to catch signals, from the `with` statement on.

        Args:
          active: False catches nothing at all: for runs on several hosts. There JAX has its own SIGTERM handler, by
            which the hosts agree on the step to stop at (`reached_preemption`), and which this one would replace.
        """
        self.received: str | None = None
        self._active = active
        self._former: dict[signal.Signals, Handler] = {}
        self._raises = False

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT) if self._active else ():
            self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None: Python cannot restore a handler that it did not set (a C library's).
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def raise_from_now_on(self) -> None:
        """Let the first signal raise `Stopped` wherever the program is; at once if it has already arrived."""
        self._raises = True
        if self.received is not None:
            raise Stopped(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is None and self._raises:
            self.received = signal.Signals(number).name
            raise Stopped(self.received)
        if self.received is None:
            self.received = signal.Signals(number).name
            # Not print or logging: this may have interrupted either, and neither is reentrant.
            os.write(2, f"\n{self.received} received: finishing this step, then saving and ending\n".encode())
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

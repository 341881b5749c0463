"""."""

import os
import signal
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal came while nothing was left to be saved; the message is its name."""


class StopSignal:
    """Catches SIGTERM and SIGINT, so that a run can save before it ends. A context manager for the main thread.

        with StopSignal() as stop:
            while not stop.received: ...

    The first signal is only noted, unless `raise_from_now_on` was called; a later SIGINT raises KeyboardInterrupt, a
    later SIGTERM changes nothing. At the end the former handlers are back.

    Attributes:
      received: Name of the first signal, "SIGTERM" or "SIGINT"; None before one came.
    """

    def __init__(self, active: bool = True):
        """Catches nothing before the `with` statement.

        Args:
          active: False catches nothing at all: for runs on several hosts. There JAX has a SIGTERM handler of its own,
            by which the hosts agree on the step to stop at (`reached_preemption`), and which this one would silence.
        """
        self.received: str | None = None
        self._active = active
        self._former: dict[signal.Signals, Any] = {}
        self._raises = False

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT) if self._active else ():
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None: a handler that Python did not set (a C library's) cannot be given back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def raise_from_now_on(self) -> None:
        """Lets the first signal raise `Stopped` where the program is, at once if it has come already."""
        self._raises = True
        if self.received is not None:
            raise Stopped(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None and self._raises:
            self.received = signal.Signals(number).name
            raise Stopped(self.received)
        if self.received is None:
            self.received = signal.Signals(number).name
            # Not print or logging: this may have interrupted either, and they are not made to be entered twice.
            os.write(2, f"\n{self.received} received: finishing this step, then saving and ending\n".encode())
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

"""SIGTERM and Ctrl-C, caught so that a run can save before it ends, or ends at once where there is nothing to save."""

import os
import signal
import socket
import threading
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

    def __init__(self, active: bool = True, *, later: bool = False):
        """Prepare to catch signals, from the `with` statement on.

        Args:
          active: False catches nothing at all: for runs on several hosts. There JAX has its own SIGTERM handler, by
            which the hosts agree on the step to stop at (`reached_preemption`), and which this one would replace.
          later: Whether to catch them only from `begin` on: until then there is nothing to save.
        """
        self.received: str | None = None
        self._active, self._later = active, later
        self._former: dict[signal.Signals, Handler] = {}
        self._raises = False

    def __enter__(self) -> "StopSignal":
        if not self._later:
            self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None: Python cannot restore a handler that it did not set (a C library's).
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def begin(self) -> None:
        """Catch signals from now on, if this has not begun yet."""
        for number in (signal.SIGTERM, signal.SIGINT) if self._active and not self._former else ():
            self._former[number] = signal.signal(number, self._receive)

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


class EndAtOnce:
    """A context manager, for the main thread, in which SIGTERM and SIGINT end the process, whatever it is doing.

    For a program's start. An exception may be lost there: in a library's callback, or taken for a failed import; and a
    compiler, which takes minutes, lets no Python code run. Other handlers that are set in the block take over.
    """

    def __init__(self, report: Callable[[str], None], active: bool = True):
        """Prepare to catch signals, from the `with` statement on.

        Args:
          report: Prints the message, given the signal's name; the exit status is 130 for SIGINT and 143 for SIGTERM.
          active: False catches nothing at all.
        """
        self._report, self._active = report, active
        self._former: dict[signal.Signals, Handler] = {}
        self._reporting = threading.Lock()
        self._read, self._written = socket.socketpair()
        self._former_fd = -1

    def __enter__(self) -> "EndAtOnce":
        if self._active:
            self._written.setblocking(False)
            self._former_fd = signal.set_wakeup_fd(self._written.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._receive)
            threading.Thread(target=self._wait, name="EndAtOnce", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._active:
            signal.set_wakeup_fd(self._former_fd)
        self._written.close()  # which ends the thread

    def _wait(self) -> None:
        """End the process by signals that arrive while the main thread runs no Python code."""
        with self._read:
            while received := self._read.recv(1):
                if signal.getsignal(received[0]) == self._receive:
                    self._receive(received[0], None)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        with self._reporting:  # never left: both threads may come here
            self._report(signal.Signals(number).name)
            os._exit(128 + number)

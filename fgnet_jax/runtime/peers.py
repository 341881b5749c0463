"""Processes of a run on several hosts, which watch each other: when one is gone, the others say so and end.

JAX by itself waits: for the lost process in a collective operation, or for 100 s until its coordination service
notices; or it ends by `abort` with a stack trace as soon as process 0 is gone, which has that service. Here every
process writes a count to that service every other second, and reads the others'. No value is computed from any of this.
"""

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from fgnet_jax.runtime import command_line

BEAT_SECONDS = 2.0
MISSED_BEATS = 8
"""A process is gone after so many beats of others without one of its own: within 20 seconds."""

_BEATS, _VERDICT = "fgnet_jax/beats/", "fgnet_jax/verdict"
_GRACE_SECONDS = 2 * BEAT_SECONDS  # for the others to read why process 0 ends, before its service is gone

Report = Callable[[str], None]
"""Prints why a run cannot go on, given what happened to which process."""


class PeerWatch:
    """A watch over the other processes of a run, from threads of its own.

    Attributes:
      index: Number of this process.
      count: Number of processes.
    """

    def __init__(self, client: Any, *, index: int, count: int, report: Report):  # noqa: ANN401 - jaxlib's, not public
        """Prepare the watch; `start` starts it.

        Args:
          client: JAX's client of the coordination service.
          index: Number of this process.
          count: Number of processes.
          report: What prints the error when another process is gone; this process then ends with status 1.
        """
        self.index, self.count = index, count
        self._client, self._report = client, report
        self._exchanges = 0  # that succeeded
        self._ended = threading.Event()
        self._reporting = threading.Lock()
        self._abort: Any = None

    def start(self) -> None:
        """Start watching."""
        if self.index:
            self._catch_abort()
        for target in (self._beat, self._watch_service):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()

    def close(self) -> None:
        """Stop watching, because this process has finished: the others do not miss it."""
        self._ended.set()
        self._client.key_value_set(f"{_BEATS}{self.index}", "finished", allow_overwrite=True)
        signal.signal(signal.SIGABRT, signal.SIG_DFL)

    def leave(self, status: int) -> None:
        """End this process, whose error is printed, at once; the others report that it has ended.

        If this process is about to report the loss of another one, it does that and ends with status 1.
        """
        self._end(f"process {self.index} of {self.count} has ended with an error: see what it printed", status)

    def wait_for_verdict(self) -> None:
        """Wait as long as it takes to notice that a process is gone: an error may be a consequence of that."""
        time.sleep(BEAT_SECONDS * (MISSED_BEATS + 2) + _GRACE_SECONDS)

    def _beat(self) -> None:
        """Write this process' count and read those of the others, until one is gone."""
        missed = [0] * self.count
        latest: dict[str, str] = {}
        while not self._ended.is_set():
            try:
                self._client.key_value_set(f"{_BEATS}{self.index}", str(self._exchanges), allow_overwrite=True)
                beats = dict(self._client.key_value_dir_get(_BEATS))
                verdict = dict(self._client.key_value_dir_get(_VERDICT))
            except RuntimeError:  # jaxlib's for a service that does not answer
                self._ended.wait(BEAT_SECONDS)
                continue
            self._exchanges += 1
            for text in verdict.values():
                self._end(text)
            for k in range(self.count):
                name = f"{_BEATS}{k}"
                is_there = beats.get(name) != latest.get(name) or beats.get(name) == "finished"
                missed[k] = 0 if is_there or k == self.index else missed[k] + 1
            latest = beats
            if lost := [str(k) for k, number in enumerate(missed) if number >= MISSED_BEATS]:
                self._end(f"{_named(lost)} of {self.count} {'are' if lost[1:] else 'is'} gone")
            self._ended.wait(BEAT_SECONDS)

    def _watch_service(self) -> None:
        """End where process 0 does not answer any more, and no call to it returns."""
        before, missed = -1, 0
        while not self._ended.wait(BEAT_SECONDS):
            missed = 0 if self._exchanges != before else missed + 1
            before = self._exchanges
            if missed >= MISSED_BEATS:
                self._end(f"process 0 of {self.count} is gone")

    def _tell(self, text: str) -> None:
        """Let all processes report the same."""
        with contextlib.suppress(RuntimeError):  # jaxlib's, where process 0 is the one that is gone
            self._client.key_value_set(f"{_VERDICT}/{self.index}", text, allow_overwrite=True)

    def _end(self, text: str, status: int = 1) -> None:
        """Print why the run cannot go on, unless it is this process' own error, and end this process."""
        with self._reporting:  # never left: the first to come here ends the process
            telling = threading.Thread(target=self._tell, args=(text,), daemon=True)
            telling.start()
            telling.join(_GRACE_SECONDS)  # it may never return
            if self.index == 0:
                time.sleep(_GRACE_SECONDS)
            if not text.startswith(f"process {self.index} "):
                self._report(text)
            command_line.end(status)

    def _catch_abort(self) -> None:
        """Report the loss of process 0 where JAX aborts this process by it, within a moment and without an exception.

        Python's own signal handlers do not run in a process that aborts: this one is C's, and JAX's thread calls it.
        """

        def aborted(number: int) -> None:
            del number
            if not self._ended.is_set():
                self._end(f"process 0 of {self.count} is gone (JAX has ended this one for it; its reason is above)")

        self._abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
        ctypes.CDLL(None).signal(int(signal.SIGABRT), self._abort)


def _named(lost: list[str]) -> str:
    return f"process{'es' if lost[1:] else ''} {', '.join(lost)}"


def watch(report: Report) -> PeerWatch:
    """Watch the other processes of this run, after `jax.distributed.initialize`.

    Args:
      report: What prints the error; see `PeerWatch`.
    """
    from jax._src import distributed  # JAX shows its client nowhere else; Orbax and Flax take it from here, too

    state = distributed.global_state
    peers = PeerWatch(state.client, index=state.process_id, count=state.num_processes, report=report)
    peers.start()
    return peers

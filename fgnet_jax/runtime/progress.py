"""How far a run is, how fast, how long it still takes, and where its time goes."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SECONDS = 5.0
"""How often progress is said."""


def say(message: str) -> None:
    """A line on standard error."""
    print(f"fgnet_jax.predict: {message}", file=sys.stderr, flush=True)


class Pace:
    """Says now and then how far a run is and how fast."""

    def __init__(self, sources: int, noun: str):
        """Takes how many inputs there are, and what is counted: pictures or frames."""
        self._sources, self._noun = sources, noun
        self.done = 0
        """Frames so far."""
        self._share = 0.0
        self._start = self._said = time.perf_counter()
        self._from: float | None = None  # the share that earlier runs had done
        self._first: tuple[float, int] | None = None  # when the first batch was done, and how many frames it had

    def add(self, count: int, source: int, number: int, total: int | None) -> None:
        """Counts frames as done, the last of them the so-manieth of `total` of a source."""
        now = time.perf_counter()
        self.done += count
        within = min(number / total, 1.0) if total else 0.0
        self._share = (source + within) / self._sources
        self._from = self._share if self._from is None else self._from
        self._first = self._first or (now, self.done)
        if now - self._said > SECONDS:
            self._said = now
            rate = f"{self._rate(now):.2f} a second"
            say(f"{self.done} {self._noun}, {100 * self._share:.0f} %, {rate}{self._left(now)}")

    def finish(self, succeeded: int) -> None:
        """Says how it went."""
        now = time.perf_counter()
        say(f"{succeeded} of {self.done} {self._noun} succeeded in {now - self._start:.1f} s after loading")
        say(f"steady state: {self._rate(now):.2f} {self._noun} a second")

    def _left(self, now: float) -> str:
        gained = self._share - (self._from or 0.0)
        if gained <= 0 or self._first is None:
            return ""
        return f", {(now - self._first[0]) / gained * (1 - self._share):.0f} s left"

    def _rate(self, now: float) -> float:
        """Frames a second, without the first batch where there are others: it still warms up caches and memory."""
        since, before = self._first or (self._start, 0)
        if self.done == before:
            since, before = self._start, 0
        return (self.done - before) / max(now - since, 1e-9)


class Stages:
    """Adds up what a run's stages take, each on the thread that it runs on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Counts the whole time from now on."""
        self._begun = time.perf_counter()

    def add(self, stage: str, seconds: float) -> None:
        """Counts time for a stage."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Counts the block's time."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begun)

    def iterating(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time it takes to get each is the stage's."""
        iterator = iter(items)
        try:
            while True:
                with self.timed(stage):
                    item = next(iterator, self)
                if item is self:
                    return
                yield item  # type: ignore[misc]
        finally:
            if close := getattr(iterator, "close", None):
                close()

    def report(self, frames: int) -> list[str]:
        """Lines: a stage, its seconds, milliseconds a frame, and its share of the whole time."""
        whole = max(time.perf_counter() - self._begun, 1e-9)
        lines = [f"{'stage':32} {'s':>9} {'ms/frame':>9} {'share':>7}"]
        for stage, seconds in [*self.seconds.items(), ("all", whole)]:
            lines.append(f"{stage:32} {seconds:9.2f} {1000 * seconds / max(frames, 1):9.2f} {seconds / whole:7.1%}")
        return lines


class DeviceWatch:
    """Measures how long the device is busy: from when a batch is handed to it, or the last is done, to its end."""

    def __init__(self, stages: Stages, stage: str):
        """Counts into a stage."""
        self._stages, self._stage = stages, stage
        self._batches: queue.SimpleQueue[tuple[float, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="device watch", daemon=True)
        self._thread.start()

    def watch(self, wait: Callable[[], object]) -> None:
        """A batch was handed over; `wait` returns when it is done."""
        self._batches.put((time.perf_counter(), wait))

    def close(self) -> None:
        """Waits for the batches handed over so far."""
        self._batches.put(None)
        self._thread.join()

    def _watch(self) -> None:
        last = 0.0
        while (batch := self._batches.get()) is not None:
            begun, wait = batch
            wait()
            now = time.perf_counter()
            self._stages.add(self._stage, now - max(begun, last))
            last = now

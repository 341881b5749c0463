"""How far a run is, how fast, how long it still takes, and where its time goes."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")

LINE_SECONDS = 10.0
"""How often a line of progress is printed where there is no terminal."""


class Progress:
    """Reports how far long work is: a bar on a terminal, elsewhere a line every `LINE_SECONDS`. A context manager.

        with Progress("runs/demo", 900, "steps") as progress:
            progress.update(1, note="loss 0.031")

    Rates leave out what went before the first update: compilation, mostly.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str,
        *,
        start: int = 0,
        rate: tuple[int, str] | None = None,
        active: bool = True,
        stream: TextIO | None = None,
    ):
        """Draws the empty bar, where there is a terminal.

        Args:
          title: What the work is; stands before each line.
          total: How much there is in all; None where nobody knows.
          unit: What is counted: "steps", "frames".
          start: How much was done before.
          rate: What the rate is shown in, where not in units: how many of them are in a unit, and their name.
          active: False shows nothing, for processes other than the first.
          stream: Where to; standard error by default.
        """
        self._title, self._total, self._unit, self._active = title, total, unit, active
        self._per_unit, self._rate_unit = rate or (1, unit)
        self._stream = stream or sys.stderr
        self._start, self.done = start, start
        self._fraction = start / total if total else 0.0
        self._shown = self._begun = time.monotonic()
        self._first: tuple[float, int, float] | None = None  # time, count and fraction of the first update
        self._bar = None
        if active and self._stream.isatty():
            from tqdm import tqdm

            form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(
                total=total,
                initial=start,
                desc=title,
                unit=unit,
                bar_format=form if total else None,
                file=self._stream,
                dynamic_ncols=True,
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, note: str = "", fraction: float | None = None) -> None:
        """Shows that so much is done in all.

        Args:
          done: Units done, those before included.
          note: What else to show, a loss say.
          fraction: Share of the whole that is done, where `total` does not tell.
        """
        now = time.monotonic()
        self.done = done
        self._fraction = fraction if fraction is not None else done / self._total if self._total else 0.0
        self._first = self._first or (now, done, self._fraction)
        if self._bar is not None:
            text = (
                f"{note}, {self.rate():.1f} {self._rate_unit}/s" if note else f"{self.rate():.1f} {self._rate_unit}/s"
            )
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._active and (now - self._shown >= LINE_SECONDS or done == self._total):
            self._shown = now
            self.say(self._line(note))

    def say(self, text: str) -> None:
        """Prints lines that the bar does not run into."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._active:
            print(text, file=self._stream, flush=True)

    def rate(self) -> float:
        """Computes how many of the rate's units are done in a second since the first update; since the start before."""
        begun, before, _ = self._first or (self._begun, self._start, 0.0)
        if self.done == before:
            begun, before = self._begun, self._start
        return (self.done - before) * self._per_unit / max(time.monotonic() - begun, 1e-9)

    @property
    def seconds(self) -> float:
        """Time since the beginning."""
        return time.monotonic() - self._begun

    def _line(self, note: str) -> str:
        count = f"{self.done:,} of {self._total:,} {self._unit}" if self._total else f"{self.done:,} {self._unit}"
        share = [] if self._total else [f"{100 * self._fraction:.0f} %"]
        parts = [count, *share, *filter(None, [note]), f"{self.rate():.1f} {self._rate_unit}/s", *self._left()]
        return f"{self._title}: {', '.join(parts)}"

    def _left(self) -> list[str]:
        """Time left, `1:02:03` or `2:03`, by how long the share since the first update took."""
        begun, _, before = self._first or (self._begun, 0, 0.0)
        gained = self._fraction - before
        if gained <= 0:
            return []
        minutes, second = divmod(round((time.monotonic() - begun) / gained * (1 - self._fraction)), 60)
        hours, minute = divmod(minutes, 60)
        return [f"{hours}:{minute:02d}:{second:02d} left" if hours else f"{minute}:{second:02d} left"]


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

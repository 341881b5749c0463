"""Progress of a run: how far it is, how fast, how long it still takes, and where its time goes."""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")

LINE_SECONDS = 10.0
"""Seconds from one line of progress to the next, where there is no terminal."""

_SHORTEST_SECONDS = 1.0  # between updates that a rate is computed from


class Progress:
    """A context manager that reports how far work is: a bar on a terminal, elsewhere a line every `LINE_SECONDS`.

        with Progress("runs/demo", 900, "steps") as progress:
            progress.update(1, detail="loss 0.031")

    Rates leave out what went before the first update: compilation, mostly.

    Attributes:
      done: Units done in all, as of the last update.
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
        last_line: bool = True,
        line_seconds: float = LINE_SECONDS,
        stream: TextIO | None = None,
    ):
        """Draw the empty bar, where there is a terminal.

        Args:
          title: Name of the work; stands before each line.
          total: Units in all; None where that is unknown.
          unit: What is counted: "steps", "frames".
          start: Units done before, by an earlier run.
          rate: What the rate is shown in, if not in `unit`: how many of them are in a unit, and their name.
          active: False shows nothing, for processes other than the first.
          last_line: Whether a line says that all is done; False where the caller has a summary of its own.
          line_seconds: Seconds from one line to the next, where there is no terminal.
          stream: Where to write; standard error by default.
        """
        self._line_seconds = line_seconds
        self._title, self._total, self._unit, self._active = title, total, unit, active
        self._has_last_line = last_line
        self._per_unit, self._rate_unit = rate or (1, unit)
        self._stream = stream or sys.stderr
        self._start, self.done = start, start
        self._fraction = start / total if total else None
        self._begun = self._updated = self._shown = time.monotonic()
        self._first: tuple[float, int, float | None] | None = None  # time, count and fraction of the first update
        self._warm: tuple[float, int] | None = None  # time and count of the last update of the first second
        self._bar = self._new_bar() if active and self._stream.isatty() else None

    def _new_bar(self) -> "tqdm":
        from tqdm import tqdm

        form = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        return tqdm(
            total=self._total,
            initial=self._start,
            desc=self._title,
            bar_format=form if self._total else f"{{desc}}: {{n_fmt}} {self._unit} [{{elapsed}}{{postfix}}]",
            file=self._stream,
            dynamic_ncols=True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, detail: str = "", fraction: float | None = None) -> None:
        """Show how much is done.

        Args:
          done: Units done in all, those of earlier runs included.
          detail: What else to show, such as a loss.
          fraction: Share of the whole work that is done, in [0, 1], where `total` does not tell.
        """
        now = time.monotonic()
        is_last = self._has_last_line and done == self._total != self.done
        if fraction is None and self._total:
            fraction = done / self._total
        self.done, self._fraction, self._updated = done, fraction, now
        self._first = self._first or (now, done, fraction)
        if now - self._first[0] < _SHORTEST_SECONDS:
            self._warm = now, done
        if self._bar is not None:
            self._draw(self._bar, detail)
        elif self._active and (now - self._shown >= self._line_seconds or is_last):
            self._shown = now
            self.say(self._line(detail))

    def _draw(self, bar: "tqdm", detail: str) -> None:
        """Draw a terminal's bar anew; where the total is not known, by the share that is done, if that is known."""
        is_share = not self._total and self._fraction is not None
        left = "" if self._total else self._time_left()  # a bar with a total shows its own
        parts = [f"{self.done:,} {self._unit}" if is_share else "", detail, self._rate_text(), left]
        bar.set_postfix_str(", ".join(filter(None, parts)), refresh=False)
        if is_share:
            bar.total, bar.bar_format = 1.0, "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}{postfix}]"
        bar.update((self._fraction or 0.0) - bar.n if is_share else self.done - bar.n)

    def say(self, text: str, *, always: bool = False) -> None:
        """Print lines of text, above the bar if there is one; inactive progress prints them if `always`."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._active or always:
            print(text, file=self._stream, flush=True)

    def rate(self) -> float:
        """Compute the rate in its own unit per second.

        From the first update to the last; from the start where these are less than a second apart, since several
        updates may come from one batch.
        """
        begun, before, _ = self._first or (self._begun, self._start, None)
        if self._updated - begun < _SHORTEST_SECONDS:
            begun, before = self._begun, self._start
        return (self.done - before) * self._per_unit / max(self._updated - begun, 1e-9)

    def steady_rate(self) -> float | None:
        """Compute the rate in its own unit per second, without the start; None where a run is too short to have one.

        From the last update of the first second, with which a batch has ended, to the last of all.
        """
        if self._warm is None or self._updated - self._warm[0] < _SHORTEST_SECONDS:
            return None
        begun, before = self._warm
        return (self.done - before) * self._per_unit / (self._updated - begun)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    def _line(self, detail: str) -> str:
        count = f"{self.done:,} of {self._total:,} {self._unit}" if self._total else f"{self.done:,} {self._unit}"
        parts = [count, self._share_text(), detail, self._rate_text(), self._time_left()]
        return f"{self._title}: {', '.join(filter(None, parts))}"

    def _share_text(self) -> str:
        return "" if self._total or self._fraction is None else f"{100 * self._fraction:.0f} %"

    def _rate_text(self) -> str:
        return f"{self.rate():.1f} {self._rate_unit}/s"

    def _time_left(self) -> str:
        """Return the time left, as `1:02:03 left` or `2:03 left`, by the pace since the first update."""
        begun, _, before = self._first or (self._begun, self._start, None)
        if self._fraction is None or before is None or not before < self._fraction < 1:
            return ""
        seconds = (self._updated - begun) * (1 - self._fraction) / (self._fraction - before)
        minutes, second = divmod(round(max(seconds, 0)), 60)
        hours, minute = divmod(minutes, 60)
        return f"{hours}:{minute:02d}:{second:02d} left" if hours else f"{minute}:{second:02d} left"


class Stages:
    """The time that each stage of a run takes: during which at least one thread was in it.

    Attributes:
      seconds: Time so far, by stage, in the order in which stages were first counted.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begun = time.perf_counter()
        self._entered: dict[str, tuple[int, float]] = {}  # threads in a stage now, and since when there is one
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Count the run's whole time, and that of its stages, from now on."""
        with self._lock:
            self._begun = time.perf_counter()
            self.seconds = dict.fromkeys(self.seconds, 0.0)

    def add(self, stage: str, seconds: float) -> None:
        """Add time to a stage that no thread enters otherwise; from any thread."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's time to a stage, unless another thread is in it, and counts it already."""
        with self._lock:
            self.seconds.setdefault(stage, 0.0)
            count, since = self._entered.get(stage, (0, 0.0))
            self._entered[stage] = count + 1, since if count else time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                count, since = self._entered[stage]
                self._entered[stage] = count - 1, since
                if count == 1:
                    self.seconds[stage] += time.perf_counter() - max(since, self._begun)

    def iterating(self, stage: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and add the time that it takes to get each to a stage."""
        iterator = iter(items)
        try:
            while True:
                with self.timed(stage):
                    item = next(iterator, self)
                if item is self:
                    return
                yield item  # type: ignore[misc]  # not the sentinel
        finally:
            if close := getattr(iterator, "close", None):
                close()

    def report(self, frames: int) -> list[str]:
        """Format a table: each stage with its seconds, milliseconds per frame, and share of the run's whole time.

        Stages run beside each other, so that shares, of which none is above 100 %, add up to more.
        """
        total = max(time.perf_counter() - self._begun, 1e-9)
        lines = [f"{'stage (side by side)':32} {'s':>9} {'ms/frame':>9} {'share':>7}"]
        for stage, seconds in [*self.seconds.items(), ("all", total)]:
            lines.append(f"{stage:32} {seconds:9.2f} {1000 * seconds / max(frames, 1):9.2f} {seconds / total:7.1%}")
        return lines


class DeviceWatch:
    """A thread that measures how long the device is busy.

    A batch counts from when it is handed to the device, or when the batch before it is done, to its own end.
    """

    def __init__(self, stages: Stages, stage: str):
        """Start the thread, which adds the device's time to a stage."""
        self._stages, self._stage = stages, stage
        self._batches: queue.SimpleQueue[tuple[float, Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._watch, name="device watch", daemon=True)
        self._thread.start()

    def watch(self, wait: Callable[[], object]) -> None:
        """Register a batch that was handed to the device; `wait` returns when it is done."""
        self._batches.put((time.perf_counter(), wait))

    def close(self) -> None:
        """Wait for the batches handed over so far, and end the thread."""
        self._batches.put(None)
        self._thread.join()

    def _watch(self) -> None:
        last_end = 0.0
        while (batch := self._batches.get()) is not None:
            begun, wait = batch
            wait()
            now = time.perf_counter()
            self._stages.add(self._stage, now - max(begun, last_end))
            last_end = now

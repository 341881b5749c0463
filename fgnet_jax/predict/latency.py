"""How late the results of a camera are, and how many of its frames were dropped: lately, and in all."""

import array
import collections
import dataclasses
import threading
import time
from typing import Any

import numpy as np

from fgnet_jax.media.frames import Frame

PERCENTILE_COUNT = 100
"""Times from which on there is a 99th percentile of them."""

_LATELY = 5.0  # seconds


@dataclasses.dataclass(frozen=True)
class _Result:
    """A frame whose result is there: when, the frame's number, its faces, and seconds since it was captured."""

    at: float
    number: int
    faces: int
    latency: float


class LatencyMeter:
    """Measures the time from a frame's capture to its result; from any thread."""

    def __init__(self, every: int = 1):
        """Begin without frames, of which every so many were to have a result."""
        self._every = every
        self._lately: collections.deque[_Result] = collections.deque()
        self._latencies = array.array("f")
        self._captured = 0
        self._lock = threading.Lock()

    def capture(self, frame: Frame) -> None:
        """Count a frame that the camera gave, whether it will have a result or be dropped."""
        if frame.image is not None:
            with self._lock:
                self._captured = max(self._captured, (frame.number - 1) // self._every + 1)

    def add(self, frame: Frame, faces: int) -> None:
        """Count a frame whose result is there now."""
        if frame.captured is None or frame.image is None:
            return
        self.capture(frame)
        now = time.monotonic()
        with self._lock:
            self._latencies.append(now - frame.captured)
            self._lately.append(_Result(now, frame.number, faces, now - frame.captured))
            while now - self._lately[0].at > _LATELY:
                self._lately.popleft()

    def line(self) -> str:
        """Return the last seconds' pace, latency and drops as text; empty before there are two frames."""
        with self._lock:
            lately = [*self._lately]
        if len(lately) < 2:
            return ""
        first, last = lately[0], lately[-1]
        rate = sum(result.faces for result in lately[1:]) / max(last.at - first.at, 1e-9)
        captured = (last.number - first.number) / self._every
        median, worst = _percentiles([result.latency for result in lately])
        dropped = max(1 - (len(lately) - 1) / max(captured, 1), 0.0)
        rare = "" if worst is None else f" (99th {worst:.0f})"
        return f"{rate:.1f} faces/s, latency {median:.0f} ms{rare}, {dropped:.0%} dropped"

    def summary(self) -> dict[str, Any]:
        """Return the whole run's numbers, for its JSON: frames captured, predicted and dropped, latency in ms."""
        with self._lock:
            latencies, captured = [*self._latencies], self._captured
        count, latency = len(latencies), None
        if latencies:
            median, worst = _percentiles(latencies)
            rare = None if worst is None else round(worst, 1)
            latency = {"median": round(median, 1), "99th": rare, "most": round(1000 * max(latencies), 1)}
        return {"captured": captured, "predicted": count, "dropped": captured - count, "latency_ms": latency}


def _percentiles(latencies: list[float]) -> tuple[float, float | None]:
    """Return median and 99th percentile, in milliseconds; the latter None of too few frames to know it."""
    median, worst = np.percentile(np.asarray(latencies) * 1000, (50, 99))
    return float(median), float(worst) if len(latencies) >= PERCENTILE_COUNT else None

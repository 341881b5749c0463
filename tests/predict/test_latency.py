"""Latency of a camera's results: the last seconds' as a line, the run's as numbers."""

import numpy as np
import pytest

from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import webcam
from fgnet_jax.predict import latency
from fgnet_jax.predict.latency import LatencyMeter


class Clock:
    """A clock that tests set."""

    now = 0.0

    def monotonic(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Return the clock that latency is measured by."""
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


def _frame(number, captured, image=True):
    pixels = np.zeros((2, 2, 3), np.uint8) if image else None
    return Frame(webcam(0), 0, number, captured, pixels, captured=captured)


def test_the_line_is_of_the_last_seconds(clock):
    """Two faces in each second frame of 20 a second, 40 ms late; what was long ago does not count.

    A hundredth is known of a hundred frames and more.
    """
    meter = LatencyMeter()
    assert meter.line() == ""
    clock.now = 1.9
    meter.add(_frame(1, 0.0), 1)
    for k in range(51):
        clock.now = 100 + k / 10 + 0.04
        meter.add(_frame(2001 + 2 * k, 100 + k / 10), 2)
    assert meter.line() == "20.0 faces/s, latency 40 ms, 50% dropped"
    for k in range(150):
        clock.now = 200 + k / 25 + 0.04
        meter.add(_frame(3001 + k, 200 + k / 25), 1)
    assert meter.line() == "25.0 faces/s, latency 40 ms (99th 40), 0% dropped"


def test_the_summary_is_of_the_whole_run(clock):
    """Frames that `every` leaves out are not dropped, and one without an image is none."""
    meter = LatencyMeter(every=2)
    assert meter.summary() == {"captured": 0, "predicted": 0, "dropped": 0, "latency_ms": None}
    for number, wait in ((1, 0.1), (3, 0.2), (9, 0.3)):
        clock.now = number + wait
        meter.add(_frame(number, float(number)), 1)
    meter.add(_frame(11, 11.0, image=False), 0)
    numbers = meter.summary()
    assert (numbers["captured"], numbers["predicted"], numbers["dropped"]) == (5, 3, 2)
    assert numbers["latency_ms"] == {"median": 200.0, "99th": None, "most": 300.0}
    for number in range(100):
        clock.now = 11 + 2 * number + 0.2
        meter.add(_frame(11 + 2 * number, 11.0 + 2 * number), 1)
    clock.now = 1000.9
    meter.add(_frame(1001, 1000.0), 1)
    latencies = meter.summary()["latency_ms"]
    assert latencies["median"] == 200.0 and latencies["99th"] == 297.0 and latencies["most"] == 900.0

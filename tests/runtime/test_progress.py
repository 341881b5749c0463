"""What a run says of itself: how far, how fast, how long, and where its time goes."""

import re
import time

from fgnet_jax.runtime import progress
from fgnet_jax.runtime.progress import DeviceWatch, Pace, Stages


def test_progress_is_said_with_pace_and_time_left(capsys, monkeypatch):
    """By frames inside of a video, by sources beside it."""
    monkeypatch.setattr(progress, "SECONDS", -1.0)
    pace = Pace(2, "frames")
    for number in range(1, 5):
        time.sleep(0.02)
        pace.add(1, 0, number, 10)
    pace.finish(3)
    lines = capsys.readouterr().err.splitlines()
    assert re.search(r"4 frames, 20 %, [\d.]+ a second, \d+ s left", lines[3])
    assert "3 of 4 frames succeeded" in lines[4] and re.search(r"steady state: \d\d\.\d\d frames a second", lines[5])


def test_a_source_of_unknown_length_has_no_time_left(capsys, monkeypatch):
    """Cameras."""
    monkeypatch.setattr(progress, "SECONDS", -1.0)
    pace = Pace(1, "frames")
    pace.add(1, 0, 1, None)
    pace.add(1, 0, 2, None)
    assert "left" not in capsys.readouterr().err


def test_stages_are_added_up():
    """Blocks, and iterators by what it takes to get their items."""
    stages = Stages()

    def slow():
        for k in range(3):
            time.sleep(0.02)
            yield k

    assert list(stages.iterating("reading", slow())) == [0, 1, 2]
    with stages.timed("writing"):
        time.sleep(0.01)
    assert 0.06 <= stages.seconds["reading"] < 0.5 and stages.seconds["writing"] >= 0.01
    head, first, *_, last = stages.report(3)
    assert head.split() == ["stage", "s", "ms/frame", "share"] and first.startswith("reading")
    assert last.split()[0] == "all" and last.endswith("100.0%")


def test_an_iterator_is_closed_with_its_timing():
    """Threads behind it end."""
    closed = []

    def items():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    timed = Stages().iterating("x", items())
    next(timed)
    timed.close()  # pyright: ignore[reportAttributeAccessIssue]  # a generator
    assert closed


def test_the_devices_time_counts_batches_one_after_the_other():
    """Two handed over at once do not count twice."""
    stages = Stages()
    watch = DeviceWatch(stages, "device")
    for _ in range(3):
        watch.watch(lambda: time.sleep(0.03))
    watch.close()
    assert 0.08 < stages.seconds["device"] < 0.3

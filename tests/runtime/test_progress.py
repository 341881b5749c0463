"""Progress of a run: how far, how fast, how long, and where its time goes."""

import io
import re
import time

import pytest

from fgnet_jax.runtime import progress
from fgnet_jax.runtime.progress import DeviceWatch, Progress, Stages


class Clock:
    """A clock that a test moves; `Progress` reads it instead of `time.monotonic`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of `fgnet_jax.runtime.progress`."""
    moved_by_hand = Clock()
    monkeypatch.setattr(progress.time, "monotonic", moved_by_hand)
    return moved_by_hand


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def lines(stream: io.StringIO) -> list[str]:
    """What was written, line by line."""
    return stream.getvalue().splitlines()


def test_a_log_gets_a_line_every_ten_seconds_and_at_the_end(clock):
    """With count, rate and time left; nothing in between."""
    log = io.StringIO()
    with Progress("scoring", 4000, "frames", stream=log) as bar:
        for done in range(1000, 5000, 1000):
            clock.now += 6
            bar.update(done)
    assert lines(log) == [
        "scoring: 2,000 of 4,000 frames, 166.7 frames/s, 0:12 left",
        "scoring: 4,000 of 4,000 frames, 166.7 frames/s",
    ]


def test_the_last_line_is_printed_once(clock):
    """Though the same count is reported again."""
    log = io.StringIO()
    with Progress("scoring", 2, "frames", stream=log) as bar:
        for done in (1, 2, 2):
            clock.now += 1
            bar.update(done)
    assert len(lines(log)) == 1


def test_the_rate_leaves_out_what_goes_before_the_first_update(clock):
    """Compilation, mostly. Before the second update there is no other rate."""
    bar = Progress("training", 100, "steps", stream=io.StringIO())
    clock.now += 60
    bar.update(1)
    assert bar.rate() == pytest.approx(1 / 60)
    clock.now += 2
    bar.update(5)
    assert bar.rate() == pytest.approx(4 / 2) and bar.seconds == pytest.approx(62)


def test_the_rate_ends_with_the_last_update(clock):
    """Time that passes afterwards, writing a table say, does not count."""
    bar = Progress("predict", 100, "frames", stream=io.StringIO())
    for done in (10, 30):
        clock.now += 1
        bar.update(done)
    clock.now += 100
    assert bar.rate() == pytest.approx(20)


def test_updates_that_come_all_at_once_are_no_rate(clock):
    """The frames of one batch, within a millisecond: the rate is that since the start."""
    bar = Progress("predict", None, "frames", stream=io.StringIO())
    clock.now += 2
    for done in (1, 2, 3, 4):
        clock.now += 0.001
        bar.update(done)
    assert bar.rate() == pytest.approx(2, rel=0.01)


def test_the_last_line_can_be_left_to_the_caller(clock):
    """Who has a summary of its own."""
    log = io.StringIO()
    with Progress("predict", 1, "images", last_line=False, stream=log) as bar:
        clock.now += 1
        bar.update(1)
    assert lines(log) == []


def test_rates_can_have_another_unit(clock):
    """Steps are counted, and images per second are shown; the detail stands before them."""
    log = io.StringIO()
    with Progress("runs/demo", 3, "steps", rate=(16, "images"), stream=log) as bar:
        for step in (1, 2, 3):
            clock.now += 4
            bar.update(step, detail="loss 0.0310")
    assert lines(log) == ["runs/demo: 3 of 3 steps, loss 0.0310, 4.0 images/s"]


def test_an_earlier_run_counts_as_done_but_not_for_the_rate(clock):
    """A run that is resumed at step 50 of 100."""
    log = io.StringIO()
    bar = Progress("training", 100, "steps", start=50, stream=log)
    clock.now += 10
    bar.update(51)
    clock.now += 10
    bar.update(61)
    assert lines(log) == [
        "training: 51 of 100 steps, 0.1 steps/s",  # nothing has been gained yet to estimate the time left by
        "training: 61 of 100 steps, 1.0 steps/s, 0:39 left",
    ]


def test_a_fraction_tells_how_far_work_of_unknown_size_is(clock):
    """Frames of several videos: a percentage, and the time left by it, in hours where it is long."""
    log = io.StringIO()
    bar = Progress("predict", None, "frames", stream=log)
    for done, fraction in ((10, 0.1), (1500, 0.2), (3000, 0.25)):
        clock.now += 1800
        bar.update(done, fraction=fraction)
    assert lines(log) == [
        "predict: 10 frames, 10 %, 0.0 frames/s",
        "predict: 1,500 frames, 20 %, 0.8 frames/s, 4:00:00 left",
        "predict: 3,000 frames, 25 %, 0.8 frames/s, 5:00:00 left",
    ]


def test_a_source_of_unknown_length_has_no_time_left(clock):
    """A camera: neither a percentage."""
    log = io.StringIO()
    bar = Progress("predict", None, "frames", stream=log)
    for done in (1, 11):
        clock.now += 10
        bar.update(done)
    assert lines(log) == ["predict: 1 frames, 0.1 frames/s", "predict: 11 frames, 1.0 frames/s"]


def test_empty_work_is_no_error(clock):
    """Neither a total of 0 nor two updates at the same moment divide by zero."""
    bar = Progress("scoring", 0, "frames", stream=io.StringIO())
    bar.update(0)
    assert bar.rate() == 0
    bar = Progress("scoring", 10, "frames", stream=io.StringIO())
    bar.update(1)
    bar.update(10)
    assert bar.rate() > 0


def test_messages_are_lines_of_their_own(clock):
    """In a log as they are."""
    log = io.StringIO()
    with Progress("training", 10, "steps", stream=log) as bar:
        bar.say("epoch 1: mean F1 0.512\nsaved")
    assert lines(log) == ["epoch 1: mean F1 0.512", "saved"]


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_inactive_writes_nothing(stream, clock):
    """For processes other than the first; the rate is measured all the same."""
    with Progress("training", 10, "steps", active=False, stream=stream) as bar:
        for step in (1, 10):
            clock.now += 20
            bar.update(step, detail="loss 0.1")
        bar.say("done")
    assert stream.getvalue() == "" and bar.rate() == pytest.approx(9 / 20)


def test_standard_error_is_the_default(capsys):
    """Tables and JSON on standard output stay clean."""
    with Progress("scoring", 1, "frames") as bar:
        bar.update(1)
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"scoring: 1 of 1 frames, [\d.]+ frames/s\n", err)


def test_a_terminal_gets_a_bar():
    """With title, count, detail and rate; messages stand above it, and no lines of a log."""
    terminal = Terminal()
    with Progress("runs/demo", 4, "steps", start=1, rate=(16, "images"), stream=terminal) as bar:
        assert "runs/demo:  25%" in terminal.getvalue() and "1/4" in terminal.getvalue()
        for step in (2, 3, 4):
            time.sleep(0.15)  # tqdm draws every 0.1 s
            bar.update(step, detail=f"loss 0.{step}")
        bar.say("epoch 1: mean F1 0.512")
    text = terminal.getvalue()
    last = text.split("\r")[-1]
    assert "100%" in last and "4/4" in last
    assert re.search(r"loss 0\.4, [\d.]+ images/s", last)
    assert "epoch 1: mean F1 0.512\n" in text and "4 of 4 steps" not in text


def test_a_terminals_bar_of_unknown_total_counts():
    """Without a percentage."""
    terminal = Terminal()
    with Progress("predict", None, "frames", stream=terminal) as bar:
        time.sleep(0.15)
        bar.update(7)
    last = terminal.getvalue().split("\r")[-1]
    assert "predict: 7 frames [" in last and "%" not in last and re.search(r"[\d.]+ frames/s", last)


def test_a_terminals_bar_has_the_fraction_where_there_is_no_total():
    """With the time left by it."""
    terminal = Terminal()
    with Progress("predict", None, "frames", stream=terminal) as bar:
        for done in (1, 2):
            time.sleep(0.15)  # tqdm draws every 0.1 s
            bar.update(done, fraction=done / 4)
    assert re.search(
        r"predict:  50%\|.*\| .*, 2 frames, [\d.]+ frames/s, 0:00 left", terminal.getvalue().split("\r")[-1]
    )


def test_a_bar_is_closed_by_an_error():
    """So that a traceback begins on a line of its own."""
    terminal = Terminal()
    with pytest.raises(RuntimeError), Progress("training", 10, "steps", stream=terminal):
        raise RuntimeError
    assert terminal.getvalue().endswith("\n")


def test_training_in_a_log(clock):
    """One every ten seconds, and a last one; the time left is computed by the pace since compilation ended."""
    stream = io.StringIO()
    with Progress("demo", 100, "steps", rate=(16, "images"), stream=stream) as training:
        for step in range(1, 101):
            clock.now += 30 if step == 1 else 1
            training.update(step, f"loss {0.5 / step:.4f}")
        training.say("mean F1 81.5")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "demo: 1 of 100 steps, loss 0.5000, 0.5 images/s", "mostly compilation: no time left by it"
    assert lines[1] == "demo: 11 of 100 steps, loss 0.0455, 16.0 images/s, 1:29 left"
    assert lines[-2] == "demo: 100 of 100 steps, loss 0.0050, 16.0 images/s"
    assert lines[-1] == "mean F1 81.5" and len(lines) == 12
    assert "\r" not in stream.getvalue()


def test_resumed_training_counts_from_where_it_was(clock):
    """Its pace is that of its own steps; hours are shown."""
    stream = io.StringIO()
    with Progress("demo", 7500, "steps", start=6000, rate=(16, "images"), stream=stream) as training:
        for step in (6004, 6005, 6006):
            clock.now += 12
            training.update(step, "loss 0.0200")
    last = stream.getvalue().splitlines()[-1]
    assert last == "demo: 6,006 of 7,500 steps, loss 0.0200, 1.3 images/s, 4:58:48 left"


def test_training_on_a_terminal():
    """With loss, pace and time left, and lines above it."""
    stream = Terminal()
    with Progress("demo", 4, "steps", start=1, rate=(16, "images"), stream=stream) as training:
        for step in (2, 3, 4):
            training.update(step, "loss 0.2500")
        training.say("mean F1 81.5")
    shown = stream.getvalue()
    assert "| 1/4 [" in shown and "| 4/4 [" in shown
    assert "loss 0.2500" in shown and "images/s" in shown and "mean F1 81.5\n" in shown


def test_other_processes_of_training_write_nothing(capfd):
    """On neither kind of stream."""
    for stream in (io.StringIO(), Terminal()):
        with Progress("demo", 4, "steps", active=False, stream=stream) as training:
            training.update(4, "loss 0.2500")
            training.say("done")
        assert stream.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def test_stages_are_added_up():
    """Time of blocks, and of iterators the time that it takes to get their items."""
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
    assert head.split() == ["stage", "(side", "by", "side)", "s", "ms/frame", "share"] and first.startswith("reading")
    assert last.split()[0] == "all" and last.endswith("100.0%")


class Seconds:
    """A clock that a test moves; `Stages` reads it instead of `time.perf_counter`."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)


def test_a_stage_on_two_threads_takes_no_more_than_all_of_the_time(monkeypatch):
    """From when the first thread enters it until the last one leaves."""
    seconds, stages = Seconds(monkeypatch), Stages()
    with stages.timed("alignment"):
        seconds.now += 1
        with stages.timed("alignment"):
            seconds.now += 2
        seconds.now += 1
    assert stages.seconds == {"alignment": 4} and stages.report(4)[1].split()[1:] == ["4.00", "1000.00", "100.0%"]


def test_what_was_done_before_the_run_began_does_not_count(monkeypatch):
    """Frames are read while the network compiles."""
    seconds, stages = Seconds(monkeypatch), Stages()
    with stages.timed("detection"):
        seconds.now += 5
    with stages.timed("reading"):
        seconds.now += 5
        stages.begin()
        seconds.now += 2
    assert stages.seconds == {"detection": 0, "reading": 2}


def test_the_steady_rate_is_that_of_whole_batches(clock):
    """From the end of one to the end of another; none of a run that is shorter than a second after its first batch."""
    bar = Progress("predict", None, "frames", stream=io.StringIO())
    for batch in range(3):
        clock.now += 5
        for k in range(4):
            clock.now += 0.001
            bar.update(4 * batch + k + 1)
        assert bar.steady_rate() == (None if batch == 0 else pytest.approx(4 / 5.004))


def test_an_iterator_is_closed_with_its_timing():
    """So that threads behind it end."""
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


def test_the_device_computes_one_batch_after_the_other():
    """The time of batches that are handed over at once is not counted twice."""
    stages = Stages()
    watch = DeviceWatch(stages, "device")
    for _ in range(3):
        watch.watch(lambda: time.sleep(0.03))
    watch.close()
    assert 0.08 < stages.seconds["device"] < 0.3

"""A camera at its own pace: late frames are dropped, and whatever ends a run leaves whole files."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fgnet_jax.faces import live_finder
from fgnet_jax.media import camera, video
from fgnet_jax.media.sources import webcam
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import live, pipeline
from fgnet_jax.predict.live import LiveCamera
from fgnet_jax.predict.pipeline import PredictOptions
from fgnet_jax.runtime.progress import Stages
from fgnet_jax.runtime.signals import Stopped
from tests.predict.test_main import rows

SIDE = TINY.image_size
CAMERA = f"lavfi:testsrc=size={SIDE}x{SIDE}:rate=20"
LIMIT = 60.0  # seconds: for threads that would never come


def _frame(number):
    image = np.full((SIDE, SIDE, 3), number, np.uint8)
    return video.VideoFrame(number, number / 10, image, captured=time.monotonic())


@pytest.fixture
def live_camera(detector):
    """Return a function that builds a camera of aligned faces."""

    def build(**options):
        source = webcam(0)
        return LiveCamera(detector, source, PredictOptions(aligned=True, **options), heatmaps=False, stages=Stages())

    return build


@pytest.fixture
def held(monkeypatch):
    """Hold the network up at its first frame; return what tells how far the threads are."""
    held = {"began": threading.Event(), "go": threading.Event(), "changed": threading.Condition(), "found": []}
    predict, find = pipeline.predict_frame, live_finder.find

    def slow(network, frame, *, heatmaps):
        held["began"].set()
        assert held["go"].wait(LIMIT)
        return predict(network, frame, heatmaps=heatmaps)

    def watched(*arguments):
        for frame in find(*arguments):
            yield frame  # it is handed over when this goes on
            with held["changed"]:
                held["found"].append(frame.frame.number)
                held["changed"].notify_all()

    monkeypatch.setattr(pipeline, "predict_frame", slow)
    monkeypatch.setattr(live_finder, "find", watched)
    return held


def _handed_over(held, number):
    """Wait until the faces of a frame are where the network takes them from."""
    with held["changed"]:
        return held["changed"].wait_for(lambda: number in held["found"], LIMIT)


def test_late_frames_are_dropped_and_the_newest_wins(live_camera, held, monkeypatch):
    """While the network is at frame 1, four others come: it goes on with the last, at its true time."""

    def frames(device):
        yield _frame(1)
        assert held["began"].wait(LIMIT)
        yield from map(_frame, range(2, 6))
        assert _handed_over(held, 5)
        held["go"].set()

    monkeypatch.setattr(camera, "frames", frames)
    followed = live_camera()
    results = [result.detected.frame for result in followed.results(lambda: None)]
    assert [(frame.number, frame.seconds) for frame in results] == [(1, 0.1), (5, 0.5)]
    assert results[1].image is not None and results[1].image[0, 0, 0] == 5
    numbers = followed.meter.summary()
    assert (numbers["captured"], numbers["predicted"], numbers["dropped"]) == (5, 2, 3)


def test_what_the_network_has_begun_is_finished_when_a_signal_comes(live_camera, held, monkeypatch):
    """And nothing more."""
    signals = iter([None])

    def frames(device):
        yield _frame(1)
        assert held["began"].wait(LIMIT)
        while True:
            yield _frame(2)
            time.sleep(0.001)

    def stop():
        assert held["began"].wait(LIMIT)
        signal = next(signals, "SIGTERM")
        if signal is not None:
            held["go"].set()
        return signal

    monkeypatch.setattr(camera, "frames", frames)
    results = []
    with pytest.raises(Stopped, match="SIGTERM"):
        for result in live_camera().results(stop):
            results.append(result.detected.frame.number)  # noqa: PERF402 - what came before the signal
    assert results[0] == 1 and len(results) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name in ("fgnet_jax camera", "fgnet_jax network")]


def test_frames_after_the_last_result_are_counted_as_dropped(live_camera, held, monkeypatch):
    """With a slow network, they are most of what came before the end."""

    def frames(device):
        yield _frame(1)
        assert held["began"].wait(LIMIT)
        yield from map(_frame, range(2, 6))
        given.set()

    given = threading.Event()

    def stop():
        assert given.wait(LIMIT)
        held["go"].set()
        return "SIGINT"

    monkeypatch.setattr(camera, "frames", frames)
    followed = live_camera()
    with pytest.raises(Stopped):
        list(followed.results(stop))
    numbers = followed.meter.summary()
    assert numbers["captured"] == 5 and numbers["dropped"] == 5 - numbers["predicted"]


def test_every_nth_captured_frame_is_considered(live_camera, monkeypatch):
    """The others are not dropped, but left out."""
    taken = threading.Event()

    def frames(device):
        for number in range(1, 6):
            yield _frame(number)
            if number == 1:
                assert taken.wait(LIMIT)

    monkeypatch.setattr(camera, "frames", frames)
    followed, numbers = live_camera(every=4), []
    for result in followed.results(lambda: None):
        numbers.append(result.detected.frame.number)
        taken.set()
    assert numbers == [1, 5] and followed.meter.summary()["dropped"] == 0


def test_an_error_of_a_thread_ends_the_run(live_camera, monkeypatch):
    """With that error."""

    def broken(*arguments, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(camera, "frames", lambda device: iter([_frame(1)]))
    monkeypatch.setattr(live.pipeline, "predict_frame", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(live_camera().results(lambda: None))


@pytest.mark.parametrize(("stop", "name"), [(signal.SIGINT, "r.csv"), (signal.SIGTERM, "r.parquet")])
def test_a_signal_ends_a_camera_with_whole_files(directory, tmp_path, stop, name):
    """The table and its JSON are complete, and the video has a frame for each row, at its time."""
    table, drawn = tmp_path / name, tmp_path / "r.mp4"
    words = [sys.executable, "-m", "fgnet_jax.predict", "--weights", directory, "--aligned", "--webcam", CAMERA]
    words += ["--csv", table, "--video", drawn, "--overlays", tmp_path / "drawn", "--heatmaps", tmp_path / "r.npz"]
    beginning = table if name.endswith(".csv") else tmp_path / f"{name}.rows.csv"
    with subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True) as process:
        limit = time.monotonic() + 240
        while not beginning.exists() or beginning.read_bytes().count(b"\n") < 6:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        process.send_signal(stop)
        _, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + stop and "Traceback" not in errors, errors
    assert "frames were late and dropped; latency" in errors
    _check_files(table, drawn, tmp_path)


def _check_files(table, drawn, folder):
    """Check that table, JSON, video, archive and drawings of an ended camera have the same frames."""
    if table.suffix == ".csv":
        numbers, times = zip(*((int(row["frame"]), float(row["timestamp"])) for row in rows(table)), strict=True)
    else:
        from pyarrow import parquet

        columns = parquet.read_table(table).to_pydict()
        numbers, times = columns["frame"], columns["timestamp"]
    assert list(numbers) == sorted(set(numbers)) and len(numbers) >= 5
    np.testing.assert_allclose(times, (np.array(numbers) - 1) / 20, atol=1e-5)
    frames = list(video.read(drawn))
    assert len(frames) == len(numbers) and all(frame.image is not None for frame in frames)
    np.testing.assert_allclose([frame.seconds for frame in frames], times, atol=1e-4)
    record = json.loads(table.with_name(f"{table.name}.json").read_text())
    live = record["live"]
    assert record["complete"] and live["predicted"] == len(numbers) and live["captured"] >= numbers[-1]
    with np.load(folder / "r.npz") as archive:
        assert len(archive["scores"]) == len(numbers)
    drawings = sorted(int(path.stem) for path in (folder / "drawn").rglob("*.png"))
    assert drawings == list(numbers) and not list(folder.glob("*.rows.csv"))

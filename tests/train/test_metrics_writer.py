"""Metrics files that survive being killed, event files that TensorBoard reads, progress with and without a terminal."""

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.train import metrics_writer
from fgnet_jax.train.metrics_writer import MetricsWriter, Progress, read_metrics


def _run(workdir: Path, first: int, last: int) -> None:
    """Writes steps as a run does: a line each, and at every tenth an evaluation, of the step it goes on from too."""
    with MetricsWriter(workdir, True, first) as writer:
        if first and first % 10 == 0:
            writer.scalars(first, {"mean_f1": 0.5, "f1/AU01": 0.5})
        for step in range(first + 1, last + 1):
            writer.scalars(step, {"loss": 1 / step, "grad_norm": 0.1 * step})
            if step % 10 == 0:
                writer.scalars(step, {"mean_f1": 0.5, "f1/AU01": 0.5})


def _told(workdir: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "time"} for line in read_metrics(workdir / "metrics.jsonl")]


def _events(workdir: Path) -> list:
    """All events of all files, in the order of the files' making."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    found = []
    for path in sorted((workdir / "tensorboard").iterdir(), key=os.path.getmtime):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_each_call_is_a_line_at_once(tmp_path):
    """With step, time and the figures; readable while the run goes on."""
    with MetricsWriter(tmp_path, True, 0) as writer:
        writer.scalars(3, {"loss": np.float32(0.5), "lr": 1e-4})
        (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line.pop("time") > 1.7e9
    assert line == {"step": 3, "loss": 0.5, "lr": 1e-4}


def test_what_is_not_finite_is_null(tmp_path):
    """The file stays JSON to every reader."""
    with MetricsWriter(tmp_path, True, 0) as writer:
        writer.scalars(1, {"loss": float("nan"), "grad_norm": float("inf")})
    assert _told(tmp_path) == [{"step": 1, "loss": None, "grad_norm": None}]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_own_fields_are_not_overwritten(tmp_path):
    """A figure named `step` is a mistake."""
    with MetricsWriter(tmp_path, True, 0) as writer, pytest.raises(ValueError, match="`step` or `time`"):
        writer.scalars(1, {"step": 2.0})


@pytest.mark.parametrize("saved", [0, 10, 14, 25])
def test_a_resumed_run_ends_with_an_undisturbed_runs_file(tmp_path, saved):
    """Killed at step 25 in the middle of a line, resumed from the last save."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _run(tmp_path / "a", 0, 40)
    _run(tmp_path / "b", 0, 25)
    with open(tmp_path / "b/metrics.jsonl", "ab") as file:
        file.write(b'{"step": 26, "time": 17')
    _run(tmp_path / "b", saved, 40)
    assert _told(tmp_path / "b") == _told(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "b")) == ["metrics.jsonl", "tensorboard"]


def test_tensorboard_gets_figures_images_and_the_restart(tmp_path):
    """Points with their steps, a PNG, and from where on a former file is void."""
    _run(tmp_path, 0, 12)
    with MetricsWriter(tmp_path, True, 10) as writer:
        writer.image(10, "heatmaps", np.zeros((4, 6, 3), np.uint8))
    events = _events(tmp_path)
    losses = [(e.step, v.simple_value) for e in events for v in e.summary.value if v.tag == "loss"]
    assert losses[9] == (10, pytest.approx(0.1)) and len(losses) == 12
    assert [e.step for e in events if e.HasField("session_log")] == [0, 11]
    (image,) = [v.image for e in events for v in e.summary.value if v.tag == "heatmaps"]
    assert (image.width, image.height) == (6, 4) and image.encoded_image_string.startswith(b"\x89PNG")


def test_other_processes_write_nothing(tmp_path):
    """All methods can be called."""
    with MetricsWriter(tmp_path, False, 0) as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "face", np.zeros((4, 4, 3), np.uint8))
    assert os.listdir(tmp_path) == []


def test_a_torn_last_line_is_left_out_and_told(tmp_path, caplog):
    """Whatever is left of it."""
    path = tmp_path / "metrics.jsonl"
    for torn in (b'{"step": 2, "lo', b'{"step": 2}'[:5], b"\x00\x00\xff"):
        path.write_bytes(b'{"step": 1, "loss": 0.5}\n' + torn)
        caplog.clear()
        assert read_metrics(path) == [{"step": 1, "loss": 0.5}]
        assert "metrics.jsonl, line 2 is cut short" in caplog.text
    path.write_bytes(b'{"step": 1, "loss": 0.5}')  # whole but for the newline
    assert read_metrics(path) == [{"step": 1, "loss": 0.5}]


def test_a_damaged_line_is_named(tmp_path):
    """One in the middle is no kill's work."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"loss": 3}\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: expected a JSON object with a \"step\""):
        read_metrics(path)


_UNTIL_FULL = """
import sys, pathlib
from fgnet_jax.train.metrics_writer import MetricsWriter
try:
    with MetricsWriter(pathlib.Path(sys.argv[1]), True, 0) as writer:
        for step in range(100000):
            writer.scalars(step, {"loss": 0.5})
except OSError as error:
    print("stopped:", error.strerror)
"""


@pytest.mark.filterwarnings("ignore:os.fork")  # of the child below, which uses no JAX
def test_a_full_disk_stops_the_run(tmp_path):
    """With the system's error, not by hanging; a resumed run then goes on from whole lines."""

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, str(tmp_path)],
        capture_output=True, text=True, timeout=60, preexec_fn=little_room,
    )  # fmt: skip
    assert done.stdout == "stopped: File too large\n", done.stderr
    _run(tmp_path, 2, 5)
    assert [line["step"] for line in _told(tmp_path)] == [0, 1, 2, 3, 4, 5]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """As a terminal answers."""
        return True


def _clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until its only entry is changed."""
    now = [100.0]
    monkeypatch.setattr(metrics_writer.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_lines_are_few_and_plain(monkeypatch):
    """One in ten seconds, and a last one; time left by the pace since compilation ended."""
    now, stream = _clock(monkeypatch), io.StringIO()
    with Progress(100, 0, 16, True, stream) as progress:
        for step in range(1, 101):
            now[0] += 30 if step == 1 else 1
            progress.update(step, 0.5 / step)
        progress.say("mean F1 81.5")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step 1/100  loss 0.5000", "the first was mostly compilation"
    assert lines[1] == "step 11/100  loss 0.0455  16.0 images/s  1:29 left"
    assert lines[-2] == "step 100/100  loss 0.0050  16.0 images/s  0:00 left"
    assert lines[-1] == "mean F1 81.5" and len(lines) == 12
    assert "\r" not in stream.getvalue()


def test_a_resumed_run_counts_from_where_it_was(monkeypatch):
    """Its pace is of its own steps; hours are told as such."""
    now, stream = _clock(monkeypatch), io.StringIO()
    with Progress(7500, 6000, 16, True, stream) as progress:
        for step in (6004, 6005, 6006):
            now[0] += 12
            progress.update(step, 0.02)
    assert stream.getvalue().splitlines()[-1] == "step 6006/7500  loss 0.0200  1.3 images/s  4:58:48 left"


def test_a_terminal_gets_a_bar():
    """With loss, pace and time left, and lines above it."""
    stream = _Terminal()
    with Progress(4, 1, 16, True, stream) as progress:
        for step in (2, 3, 4):
            progress.update(step, 0.25)
        progress.say("mean F1 81.5")
    shown = stream.getvalue()
    assert "| 1/4 [" in shown and "| 4/4 [" in shown
    assert "loss 0.2500" in shown and "images/s" in shown and "mean F1 81.5\n" in shown


def test_other_processes_show_nothing(capfd):
    """On neither kind of stream."""
    for stream in (io.StringIO(), _Terminal()):
        with Progress(4, 0, 16, False, stream) as progress:
            progress.update(4, 0.25)
            progress.say("done")
        assert stream.getvalue() == ""
    assert capfd.readouterr() == ("", "")

"""Metrics files that survive a kill, and event files that TensorBoard reads."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.metrics_writer import MetricsWriter, read_metrics


def _run(workdir: Path, first: int, last: int) -> None:
    """Write steps as a run does: a line each, and an evaluation of every tenth, of the step it resumes from too."""
    with MetricsWriter(workdir, active=True, resume_step=first) as writer:
        if first and first % 10 == 0:
            writer.scalars(first, {"mean_f1": 0.5, "f1/AU01": 0.5})
        for step in range(first + 1, last + 1):
            writer.scalars(step, {"loss": 1 / step, "grad_norm": 0.1 * step})
            if step % 10 == 0:
                writer.scalars(step, {"mean_f1": 0.5, "f1/AU01": 0.5})


def _written(workdir: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if k != "time"} for line in read_metrics(workdir / "metrics.jsonl")]


def _events(workdir: Path) -> list:
    """Return all events of all files, in the order in which the files were created."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    events = []
    for path in sorted((workdir / "tensorboard").iterdir(), key=os.path.getmtime):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def test_each_call_is_a_line_at_once(tmp_path):
    """With step, time and the metrics; readable while the run continues."""
    with MetricsWriter(tmp_path, active=True, resume_step=0) as writer:
        writer.scalars(3, {"loss": np.float32(0.5), "lr": 1e-4})
        (line,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert line.pop("time") > 1.7e9
    assert line == {"step": 3, "loss": 0.5, "lr": 1e-4}


def test_values_that_are_not_finite_are_null(tmp_path):
    """The file stays valid JSON."""
    with MetricsWriter(tmp_path, active=True, resume_step=0) as writer:
        writer.scalars(1, {"loss": float("nan"), "grad_norm": float("inf")})
    assert _written(tmp_path) == [{"step": 1, "loss": None, "grad_norm": None}]
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_own_fields_are_not_overwritten(tmp_path):
    """A metric named `step` is refused."""
    with (
        MetricsWriter(tmp_path, active=True, resume_step=0) as writer,
        pytest.raises(ValueError, match="`step` or `time`"),
    ):
        writer.scalars(1, {"step": 2.0})


@pytest.mark.parametrize("saved", [0, 10, 14, 25])
def test_a_resumed_run_ends_with_an_uninterrupted_runs_file(tmp_path, saved):
    """Killed at step 25 in the middle of a line, resumed from the last save."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    _run(tmp_path / "a", 0, 40)
    _run(tmp_path / "b", 0, 25)
    with open(tmp_path / "b/metrics.jsonl", "ab") as file:
        file.write(b'{"step": 26, "time": 17')
    _run(tmp_path / "b", saved, 40)
    assert _written(tmp_path / "b") == _written(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "b")) == ["metrics.jsonl", "tensorboard"]


def test_tensorboard_gets_metrics_images_and_the_restart(tmp_path):
    """Points with their steps, a PNG, and the step from which an earlier file is void."""
    _run(tmp_path, 0, 12)
    with MetricsWriter(tmp_path, active=True, resume_step=10) as writer:
        writer.image(10, "heatmaps", np.zeros((4, 6, 3), np.uint8))
    events = _events(tmp_path)
    losses = [(e.step, v.simple_value) for e in events for v in e.summary.value if v.tag == "loss"]
    assert losses[9] == (10, pytest.approx(0.1)) and len(losses) == 12
    assert [e.step for e in events if e.HasField("session_log")] == [0, 11]
    (image,) = [v.image for e in events for v in e.summary.value if v.tag == "heatmaps"]
    assert (image.width, image.height) == (6, 4) and image.encoded_image_string.startswith(b"\x89PNG")


def test_other_processes_write_nothing(tmp_path):
    """All methods can be called."""
    with MetricsWriter(tmp_path, active=False, resume_step=0) as writer:
        writer.scalars(1, {"loss": 1.0})
        writer.image(1, "face", np.zeros((4, 4, 3), np.uint8))
    assert os.listdir(tmp_path) == []


def test_a_cut_off_last_line_is_left_out_with_a_warning(tmp_path, caplog):
    """However much of it was written."""
    path = tmp_path / "metrics.jsonl"
    for partial in (b'{"step": 2, "lo', b'{"step": 2}'[:5], b"\x00\x00\xff"):
        path.write_bytes(b'{"step": 1, "loss": 0.5}\n' + partial)
        caplog.clear()
        assert read_metrics(path) == [{"step": 1, "loss": 0.5}]
        assert "metrics.jsonl, line 2 is cut short" in caplog.text
    path.write_bytes(b'{"step": 1, "loss": 0.5}')  # complete but for the newline
    assert read_metrics(path) == [{"step": 1, "loss": 0.5}]


def test_a_damaged_line_is_named(tmp_path):
    """A kill cannot damage a line in the middle."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"loss": 3}\n{"step": 3}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl, line 2: expected a JSON object with a \"step\""):
        read_metrics(path)


_UNTIL_FULL = """
import sys, pathlib
from fgnet_jax.train.metrics_writer import MetricsWriter
try:
    with MetricsWriter(pathlib.Path(sys.argv[1]), active=True, resume_step=0) as writer:
        for step in range(100000):
            writer.scalars(step, {"loss": 0.5})
except OSError as error:
    print("stopped:", error.strerror)
"""


@pytest.mark.filterwarnings("ignore:os.fork")  # of the child below, which uses no JAX
def test_a_full_disk_stops_the_run(tmp_path):
    """With the system's error, without hanging; a resumed run then continues after the complete lines."""

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, str(tmp_path)],
        capture_output=True, text=True, timeout=60, preexec_fn=limit_file_size,
    )  # fmt: skip
    assert done.stdout == "stopped: File too large\n", done.stderr
    _run(tmp_path, 2, 5)
    assert [line["step"] for line in _written(tmp_path)] == [0, 1, 2, 3, 4, 5]

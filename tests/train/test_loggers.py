"""Further loggers: a table that follows metrics.jsonl, and Weights & Biases in its offline mode."""

import csv
import math
import time
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.train import loggers
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.metrics_writer import MetricsWriter, read_metrics


def _run(workdir: Path, first: int, last: int, names=(loggers.CSV,)) -> None:
    """Write steps as a run does: evaluations of every fourth, of one that it resumes from too; a loss is not finite."""
    with MetricsWriter(workdir, active=True, resume_step=first, loggers=names, config={"name": "try"}) as writer:
        for step in range(first, last + 1):
            if step > first:
                writer.scalars(step, {"loss": math.nan if step == 3 else 1 / step})
            if step and step % 4 == 0:
                writer.scalars(step, {"mean_f1": 0.5, "f1/AU01": 0.25})
                writer.image(step, "heatmaps", np.zeros((4, 6, 3), np.uint8))


def _rows(workdir: Path) -> list[dict]:
    """Return the rows of the table as metrics.jsonl has them; empty cells are left out."""
    with open(workdir / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return rows


@pytest.mark.parametrize("saved", [0, 3, 4, 6])
def test_a_table_has_what_the_lines_have(tmp_path, saved):
    """A row for each, also of a run that was killed at step 6, in the middle of a row."""
    _run(tmp_path, 0, 6)
    with open(tmp_path / "metrics.csv", "a", encoding="utf-8") as file:
        file.write("7,17")
    _run(tmp_path, saved, 9)
    lines = [
        {name: x for name, x in line.items() if x is not None} for line in read_metrics(tmp_path / "metrics.jsonl")
    ]
    assert _rows(tmp_path) == lines and len(lines) == 11
    header = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "step,time,loss,mean_f1,f1/AU01"


def test_a_table_alone_is_written_without_event_files(tmp_path):
    """TensorBoard is one of the loggers; metrics.jsonl is always there."""
    _run(tmp_path, 0, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "metrics.jsonl"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("tensorbord",), "train.loggers must be of tensorboard, csv and wandb, got 'tensorbord'"),
        (("csv", "csv"), "train.loggers names one twice: csv, csv"),
    ],
)
def test_other_loggers_are_refused(names, message):
    """With those that there are."""
    loggers.check((loggers.TENSORBOARD, loggers.CSV))
    with pytest.raises(ConfigError, match=message):
        loggers.check(names)


def test_a_package_that_is_absent_is_named(monkeypatch):
    """With the extra that brings it."""
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"wandb is not installed: pip install 'fgnet_jax\[wandb\]'"):
        loggers.check((loggers.WANDB,))


@pytest.mark.filterwarnings("ignore")  # of wandb's own imports
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    """Its real package writes what `wandb sync` sends; a resumed run is the same one, by its name."""
    pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "CONFIG_DIR": str(tmp_path / "home")}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for first, last in ((0, 4), (4, 6)):
        _run(tmp_path, first, last, names=(loggers.WANDB,))
    name = (tmp_path / "wandb/run_id").read_text(encoding="utf-8")
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb"))
    assert len(files) == 2
    for word in (b"loss", b"f1/AU01", b"heatmaps"):
        assert _has(files[0], word), word


def _has(file: Path, word: bytes, seconds: float = 60) -> bool:
    """Return whether a file has a word, after waiting for the process that writes it."""
    deadline = time.monotonic() + seconds
    while word not in file.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)
    return word in file.read_bytes()

"""Where metrics go beside `metrics.jsonl`: TensorBoard, a CSV file, Weights & Biases; each a small class.

WORKDIR/tensorboard/    event files, with images
WORKDIR/metrics.csv     a row for each line of metrics.jsonl, a column for each metric
WORKDIR/wandb/          what the package wandb keeps, and `run_id`, by which a resumed run is the same one
"""

import csv
import importlib.util
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fgnet_jax.runtime.files import replacing, write_text
from fgnet_jax.train.defaults import ConfigError

TENSORBOARD, CSV, WANDB = "tensorboard", "csv", "wandb"
"""Values of `config.train.loggers`."""

TENSORBOARD_FOLDER, CSV_FILE, WANDB_FOLDER = "tensorboard", "metrics.csv", "wandb"

TensorBoardEvent = Any
"""A protocol buffer around one summary or status: tensorboardX makes its class when it is imported."""

TensorBoardFile = Any
"""tensorboardX' writer of an event file: the library has no types for it."""

WandbRun = Any
"""A run of the package wandb, which may be absent."""


class Logger(Protocol):
    """Takes the metrics of a run, each line right after `metrics.jsonl` has it."""

    def scalars(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Log metrics by name, some of which may not be finite, of a time in seconds since 1970."""
        ...

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Log an image, uint8 (height, width, 3)."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def check(names: Sequence[str]) -> None:
    """Refuse loggers that there are not, or whose package is absent.

    Raises:
      ConfigError: naming `train.loggers`.
    """
    for name in names:
        if name not in (TENSORBOARD, CSV, WANDB):
            raise ConfigError(f"train.loggers must be of {TENSORBOARD}, {CSV} and {WANDB}, got {name!r}")
    if len(set(names)) < len(names):
        raise ConfigError(f"train.loggers names one twice: {', '.join(names)}")
    if WANDB in names and importlib.util.find_spec("wandb") is None:
        raise ConfigError("train.loggers: wandb is not installed: pip install 'fgnet_jax[wandb]'")


def open_logger(
    name: str, workdir: Path, *, lines: Path, resume_step: int, config: Mapping[str, Any] | None = None
) -> Logger:
    """Open a logger of a run, without what an interrupted run wrote of steps that are done again.

    Args:
      name: One that `check` accepts.
      workdir: The run's folder.
      lines: Its `metrics.jsonl`, up to the step that it resumes from.
      resume_step: That step; 0 if the run begins.
      config: The run's configuration, for loggers that show it.
    """
    if name == TENSORBOARD:
        return TensorBoardLogger(workdir / TENSORBOARD_FOLDER, resume_step)
    if name == CSV:
        return CsvLogger(workdir / CSV_FILE, lines)
    return WandbLogger(workdir, dict(config or {}))


class TensorBoardLogger:
    """Writes TensorBoard's event files."""

    def __init__(self, folder: Path, resume_step: int):
        """Open a new event file, beginning with the event by which TensorBoard hides an earlier file's later steps.

        The synchronous writer, not `SummaryWriter`: its thread dies without a message on a full disk, and the run then
        hangs on the thread's queue.
        """
        from tensorboardX.event_file_writer import EventsWriter

        folder.mkdir(exist_ok=True)
        # Without a suffix, two runs that start within a second would share a file.
        self._events: TensorBoardFile = EventsWriter(str(folder / "events"), f".{os.getpid()}.{resume_step}")
        first = resume_step + 1 if resume_step else 0
        self._events.write_event(_event(first, time.time(), session_log={"status": "START"}))

    def scalars(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Write one point per metric."""
        from tensorboardX import summary

        self._add(step, [summary.scalar(name, value) for name, value in values.items()], at)

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Write an image as PNG."""
        from tensorboardX import summary

        self._add(step, [summary.image(name, array, dataformats="HWC")], time.time())

    def _add(self, step: int, summaries: Sequence[object], at: float) -> None:
        for summary in summaries:
            self._events.write_event(_event(step, at, summary=summary))
        self._events.flush()

    def close(self) -> None:
        """Close the file."""
        self._events.close()


def _event(step: int, at: float, **fields: object) -> TensorBoardEvent:
    """Return TensorBoard's event with one summary or status."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at run time

    return Event(wall_time=at, step=int(step), **fields)


class CsvLogger:
    """Writes a table that follows `metrics.jsonl`, which it is written anew from at a start and for a new column."""

    def __init__(self, path: Path, lines: Path):
        """Write what is there already."""
        self._path, self._lines = path, lines
        self._columns: list[str] = []
        self._rewrite()

    def _rewrite(self) -> None:
        rows = [json.loads(line) for line in self._lines.read_text(encoding="utf-8").splitlines()]
        self._columns = list(dict.fromkeys(["step", "time", *(name for row in rows for name in row)]))
        with replacing(self._path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, self._columns)
            table.writeheader()
            table.writerows(rows)

    def scalars(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Add a row; a value that is not finite is an empty cell, as in JSON it is null."""
        if not set(values) <= set(self._columns):
            self._rewrite()
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        with open(self._path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns).writerow({"step": step, "time": at} | finite)

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Write nothing: a table has no images."""

    def close(self) -> None:
        """Do nothing: each row was complete."""


class WandbLogger:
    """Sends metrics to Weights & Biases, or keeps them in WORKDIR/wandb for `wandb sync` (WANDB_MODE=offline)."""

    def __init__(self, workdir: Path, config: dict[str, Any]):
        """Begin a run there, or continue the one that this workdir began.

        Raises:
          ConfigError: It cannot be begun: no account, no network.
        """
        import wandb  # pyright: ignore[reportMissingImports]  # an extra

        folder = workdir / WANDB_FOLDER
        folder.mkdir(exist_ok=True)
        try:
            self._run: WandbRun = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "fgnet_jax"),
                name=config.get("name"),
                id=_run_id(folder / "run_id"),
                resume="allow",
                dir=workdir,
                config=config,
            )
        except wandb.Error as error:
            raise ConfigError(
                f"train.loggers: wandb: {error}; WANDB_MODE=offline needs neither account nor network"
            ) from error
        self._image = wandb.Image

    def scalars(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Log a step; of steps that a resumed run repeats, the first values stay, which are the same."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Log an image."""
        self._run.log({name: self._image(array)}, step=step)

    def close(self) -> None:
        """Wait until all is sent, or written."""
        self._run.finish()


def _run_id(path: Path) -> str:
    """Return the name by which Weights & Biases know a workdir's run; a new one is drawn for a new workdir."""
    if not path.exists():
        write_text(path, os.urandom(8).hex())
    return path.read_text(encoding="utf-8")

"""Metrics of a run while it trains: JSON lines, and what further loggers write of the same (`loggers`).

WORKDIR/metrics.jsonl   one object per line: {"step": 20, "time": 1754650000.1, "loss": 0.031, ...}
"""

import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, SupportsFloat

import numpy as np
from absl import logging

from fgnet_jax.runtime.files import replacing
from fgnet_jax.train import loggers as loggers_lib
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.loggers import Logger

METRICS_FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes metrics and images of a run. A context manager.

    A run that was killed may have written steps that it repeats once it is resumed. These are dropped at the start, and
    so the resumed run's file ends as an uninterrupted run's does, apart from the times. (For that, a step's metrics
    have to be written before its checkpoint.)
    """

    def __init__(
        self,
        workdir: Path,
        *,
        active: bool,
        resume_step: int,
        loggers: Sequence[str] = (loggers_lib.TENSORBOARD,),
        config: Mapping[str, Any] | None = None,
    ):
        """Open nothing yet: files are opened by the `with` statement.

        Args:
          workdir: Existing folder on a local file system.
          active: False makes every method do nothing: for processes other than the first.
          resume_step: The step that the run resumes from; 0 if it starts anew, which drops all earlier lines.
          loggers: Further loggers, by name.
          config: The run's configuration, for loggers that show it.
        """
        self._workdir, self._active, self._resume_step = Path(workdir), active, resume_step
        self._names, self._config = tuple(loggers), config
        self._stack = contextlib.ExitStack()
        self._lines: BinaryIO | None = None
        self._loggers: list[Logger] = []

    def __enter__(self) -> "MetricsWriter":
        if self._active:
            path = self._workdir / METRICS_FILE
            _drop_after(path, self._resume_step)
            # Unbuffered: a line is in the hands of the operating system once it is written.
            self._lines = self._stack.enter_context(open(path, "ab", buffering=0))
            for name in self._names:
                logger = loggers_lib.open_logger(
                    name, self._workdir, lines=path, resume_step=self._resume_step, config=self._config
                )
                self._stack.callback(logger.close)
                self._loggers.append(logger)
        return self

    def __exit__(self, *error: object) -> None:
        self._lines, self._loggers = None, []
        self._stack.close()

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Write metrics of a step: a line of `metrics.jsonl`, then to the further loggers.

        Args:
          step: Updates so far.
          values: By name. A value that is not finite is written to the file as null, since JSON cannot express it.

        Raises:
          ValueError: A metric is named like one of the line's own fields.
          OSError: The file cannot be written, for example because the disk is full.
        """
        if self._lines is None:
            return
        metrics = {name: float(value) for name, value in values.items()}
        if {"step", "time"} & set(metrics):
            raise ValueError("a metric may not be named `step` or `time`: the line has these already")
        now = round(time.time(), 3)
        line = {"step": int(step), "time": now}
        line |= {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        _write_all(self._lines, (json.dumps(line) + "\n").encode())
        for logger in self._loggers:
            logger.scalars(step, metrics, now)

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Write an image, uint8 (height, width, 3), to the loggers that take images."""
        for logger in self._loggers:
            logger.image(step, name, array)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Read what `MetricsWriter.scalars` wrote: one dictionary per line, in order; None stands for values not finite.

    A last line that is cut short (the run was killed while writing it, or is writing it right now) is left out with a
    warning.

    Raises:
      ConfigError: Any other line is no JSON object with a step; the message names file and line.
    """
    lines = Path(path).read_bytes().splitlines()
    metrics = []
    for number, line in enumerate(lines, 1):
        values = _parse(line)
        if values is not None:
            metrics.append(values)
        elif number == len(lines):
            logging.warning("%s, line %d is cut short: left out", path, number)
        else:
            found = f'{path}, line {number}: expected a JSON object with a "step", found {line[:80]!r}'
            raise ConfigError(f"{found}; take this line out, and the run goes on without it in its curves")
    return metrics


def _drop_after(path: Path, step: int) -> None:
    """Reduce a metrics file to what an uninterrupted run had written by the end of `step`; atomically.

    The metrics of a step's evaluation come after the step's own line; the resumed run evaluates that step again.
    """
    if not path.exists():
        return
    lines = read_metrics(path)
    end = next((k + 1 for k, values in enumerate(lines) if values["step"] == step), len(lines))
    remaining = [values for values in lines[:end] if step and values["step"] <= step]
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(values) + "\n" for values in remaining), encoding="utf-8")


def _parse(line: bytes) -> dict[str, Any] | None:
    """Parse a line; None if it is no object with a step."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and isinstance(values.get("step"), int) else None


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take a part only; on a full disk the next part is refused."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[file.write(remaining) :]

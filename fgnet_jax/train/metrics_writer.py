"""What a run tells of itself while it goes: metrics as JSON lines and for TensorBoard, and progress on the terminal.

WORKDIR/metrics.jsonl   one object a line: {"step": 20, "time": 1754650000.1, "loss": 0.031, ...}
WORKDIR/tensorboard/    event files with the same figures, and images
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, SupportsFloat, TextIO

import numpy as np
from absl import logging

METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"
LINE_SECONDS = 10.0
"""How often a plain line of progress is printed where there is no terminal."""


class MetricsWriter:
    """Writes figures and images of a run. A context manager.

    A run that was killed may have written steps that it goes through again once it is resumed. These are dropped at
    the start, and so the resumed run's file ends as an undisturbed run's does, apart from the times. (For that, a
    step's figures have to be written before its checkpoint.)
    """

    def __init__(self, workdir: Path, active: bool, resume_step: int):
        """Nothing is opened before the `with` statement.

        Args:
          workdir: Existing folder on a local file system.
          active: False makes every method do nothing: for processes other than the first.
          resume_step: The step that the run goes on from; 0 if from the start, which drops all former lines.
        """
        self._workdir, self._active, self._resume_step = Path(workdir), active, resume_step
        self._stack = contextlib.ExitStack()
        self._lines: BinaryIO | None = None
        self._events: Any = None

    def __enter__(self) -> "MetricsWriter":
        if self._active:
            path = self._workdir / METRICS_FILE
            _drop_after(path, self._resume_step)
            # Unbuffered: a line is in the hands of the operating system once it is written.
            self._lines = self._stack.enter_context(open(path, "ab", buffering=0))
            self._events = _open_events(self._workdir / TENSORBOARD_FOLDER, self._resume_step)
            self._stack.callback(self._events.close)
        return self

    def __exit__(self, *error: Any) -> None:
        self._lines = self._events = None
        self._stack.close()

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Writes figures of a step: a line of `metrics.jsonl`, and a point each in TensorBoard.

        Args:
          step: Updates done.
          values: By name. One that is not finite is written to the file as null, since JSON has no word for it.

        Raises:
          ValueError: for a figure named like one of the line's own fields.
          OSError: where the disk is full, say.
        """
        if self._lines is None:
            return
        figures = {name: float(value) for name, value in values.items()}
        if {"step", "time"} & set(figures):
            raise ValueError("a figure may not be named `step` or `time`: the line has these already")
        line = {"step": int(step), "time": round(time.time(), 3)}
        line |= {name: value if math.isfinite(value) else None for name, value in figures.items()}
        _write_all(self._lines, (json.dumps(line) + "\n").encode())
        from tensorboardX import summary

        self._add(step, [summary.scalar(name, value) for name, value in figures.items()])

    def image(self, step: int, name: str, array: np.ndarray) -> None:
        """Writes an image, uint8 (height, width, 3), for TensorBoard."""
        if self._events is None:
            return
        from tensorboardX import summary

        self._add(step, [summary.image(name, array, dataformats="HWC")])

    def _add(self, step: int, summaries: Sequence[Any]) -> None:
        for summary in summaries:
            self._events.write_event(_event(step, summary=summary))
        self._events.flush()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Reads what `MetricsWriter.scalars` wrote: a dictionary a line, in order; None stands for what was not finite.

    A last line that is cut short (the run was killed while it wrote, or writes right now) is left out with a warning.

    Raises:
      ValueError: for any other line that is no JSON object with a step; file and line are named.
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
            raise ValueError(f'{path}, line {number}: expected a JSON object with a "step", found {line[:80]!r}')
    return metrics


class Progress:
    """How far a run is: a bar on a terminal, elsewhere a plain line every `LINE_SECONDS`. A context manager."""

    def __init__(self, total: int, start: int, batch_size: int, active: bool, stream: TextIO | None = None):
        """Draws the empty bar.

        Args:
          total: Steps of the whole run.
          start: Steps that were done before.
          batch_size: Images a step, over all processes.
          active: False shows nothing.
          stream: Where to; standard error by default.
        """
        self._total, self._batch_size, self._active = total, batch_size, active
        self._stream = stream or sys.stderr
        self._shown = (time.monotonic(), start)
        self._begun: tuple[float, int] | None = None
        self._bar = None
        if active and self._stream.isatty():
            from tqdm import tqdm

            form = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
            self._bar = tqdm(total=total, initial=start, bar_format=form, file=self._stream, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, step: int, loss: float) -> None:
        """Shows that `step` steps are done, the last with this loss."""
        if self._bar is not None:
            rate = (self._bar.format_dict["rate"] or 0) * self._batch_size
            self._bar.set_postfix_str(f"loss {loss:.4f}, {rate:.1f} images/s", refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._active:
            self._line(step, loss)

    def say(self, text: str) -> None:
        """Prints lines that the bar does not run into."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        elif self._active:
            print(text, file=self._stream, flush=True)

    def _line(self, step: int, loss: float) -> None:
        now = time.monotonic()
        then, shown = self._shown
        if now - then < LINE_SECONDS and step < self._total:
            return
        figures = f"loss {loss:.4f}"
        if self._begun is None:
            self._begun = (now, step)  # what went before was mostly compilation, which tells nothing about what is left
        else:
            rate = (step - shown) / max(now - then, 1e-9)
            left = _time_left(self._total - step, (step - self._begun[1]) / max(now - self._begun[0], 1e-9))
            figures += f"  {rate * self._batch_size:.1f} images/s  {left} left"
        self._shown = (now, step)
        print(f"step {step}/{self._total}  {figures}", file=self._stream, flush=True)


def _time_left(steps: int, pace: float) -> str:
    """`1:02:03` or `2:03` for the steps that are left, at `pace` steps a second."""
    minutes, second = divmod(round(steps / max(pace, 1e-9)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _open_events(folder: Path, resume_step: int) -> Any:
    """A new event file, with the word that TensorBoard hides a former file's later steps by.

    The synchronous writer, not `SummaryWriter`: its thread dies silently on a full disk, and the run then hangs on the
    thread's queue.
    """
    from tensorboardX.event_file_writer import EventsWriter

    folder.mkdir(exist_ok=True)
    # Without a suffix, two runs that begin within a second would share a file.
    events = EventsWriter(str(folder / "events"), f".{os.getpid()}.{resume_step}")
    events.write_event(_event(resume_step + 1 if resume_step else 0, session_log={"status": "START"}))
    return events


def _event(step: int, **fields: Any) -> Any:
    """TensorBoard's envelope around one summary or note."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  # made at run time

    return Event(wall_time=time.time(), step=int(step), **fields)


def _drop_after(path: Path, step: int) -> None:
    """Leaves in a file of metrics what an undisturbed run had written by the end of `step`; all at once or nothing.

    What a step's state was found worth comes after the step's own line, and is found again.
    """
    if not path.exists():
        return
    lines = read_metrics(path)
    ends = next((k + 1 for k, values in enumerate(lines) if values["step"] == step), len(lines))
    kept = [values for values in lines[:ends] if step and values["step"] <= step]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text("".join(json.dumps(values) + "\n" for values in kept), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object of a line, or None where it is none with a step."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and isinstance(values.get("step"), int) else None


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Writes to an unbuffered file, which may take a part only; on a full disk the next part is refused."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]

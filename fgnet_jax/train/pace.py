"""How fast training is on this machine, by the times that runs of the same kind have written into metrics.jsonl."""

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fgnet_jax.train import config as config_lib
from fgnet_jax.train import workdirs
from fgnet_jax.train.config import Config
from fgnet_jax.train.metrics_writer import METRICS_FILE, read_metrics

MIN_STEPS = 4
"""Fewest steps of a run, one after the other, that its pace is taken from."""

_IRRELEVANT = (
    *("name", "seed", "init_from", "init_fold", "data.fold", "data.seed", "data.samples", "data.dir"),
    *("train.epochs", "train.steps_per_epoch", "train.equal_updates", "train.checkpoint_steps", "train.patience"),
    *("optim.lr", "optim.lr_encoder", "optim.lr_generator", "optim.lr_interpreter", "optim.weight_decay"),
    *("optim.clip", "optim.warmup_steps", "optim.schedule"),
)
"""Keys that change how long a run is, or its numbers, but not how long a step or an evaluation takes."""

_PAUSE = 10  # times the median: the run had been stopped in between


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long parts of a run take.

    Attributes:
      step: Seconds of a training step.
      epoch: Seconds of an evaluation, with images and best weights; None where no run got so far.
      ends: Seconds of compilation and of the final test; 0 where that is not known.
      source: What they were taken from, in words.
      disk: Bytes of the folder of a run that is finished; None where none is.
    """

    step: float
    epoch: float | None
    ends: float
    source: str
    disk: int | None = None

    def seconds(self, steps: int, evaluations: float) -> float | None:
        """Return how long so many steps and evaluations take, and the run's end; None where it is not known."""
        if self.epoch is None and evaluations:
            return None
        return steps * self.step + evaluations * (self.epoch or 0) + self.ends


@dataclasses.dataclass(frozen=True)
class _Times:
    """Seconds that one run has measured; an array is empty where it has not."""

    steps: np.ndarray
    epochs: np.ndarray
    ends: np.ndarray


def kind(config: Config) -> str:
    """Return what all configurations have in common that have the same pace, as JSON."""
    values = json.loads(json.dumps(config.to_dict()))
    for key in _IRRELEVANT:
        section, _, name = key.rpartition(".")
        (values[section] if section else values).pop(name, None)
    return json.dumps(values, sort_keys=True)


def of_runs(config: Config, folder: Path, devices: Mapping[str, Any]) -> Pace | None:
    """Return the pace of runs in a folder whose configuration is of the same `kind`; None without any.

    Args:
      config: The configuration of the run to come.
      folder: The folder that runs are in.
      devices: This machine's (`provenance.provenance`); runs of others do not count.
    """
    found = {path.parent.name: times for path in _similar(config, folder, devices) if (times := _times(path.parent))}
    if not found:
        return None
    steps, epochs, ends = (
        np.concatenate([getattr(times, kind) for times in found.values()]) for kind in ("steps", "epochs", "ends")
    )
    names = sorted(found)
    finished = [_size(folder / name) for name in names if (folder / name / workdirs.RESULTS).exists()]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = f"metrics.jsonl of {shown}, on {devices['count']} × {devices['kind']}: {np.mean(steps):.3g} s a step"
    return Pace(
        step=float(np.mean(steps)),
        epoch=float(np.median(epochs)) if len(epochs) else None,
        ends=float(np.median(ends)) if len(ends) else 0.0,
        source=text + (f", {np.median(epochs):.3g} s an evaluation" if len(epochs) else ""),
        disk=max(finished, default=None),
    )


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files, which another process may remove meanwhile: it may add epochs."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _similar(config: Config, folder: Path, devices: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the metrics of runs that were trained on such devices, with a configuration of the same pace."""
    now = kind(config)
    for path in sorted(folder.glob(f"*/{METRICS_FILE}")):
        stored = workdirs.read_json(path.parent / workdirs.CONFIG)
        record = workdirs.read_json(path.parent / workdirs.PROVENANCE) or {}
        same_host = devices["platform"] != "cpu" or record.get("hostname") == socket.gethostname()
        if not isinstance(stored, dict) or record.get("devices") != devices or not same_host:
            continue
        if kind(ConfigDict(config_lib.as_now(stored))) == now:
            yield path


def _times(workdir: Path) -> _Times | None:
    """Return what a run has measured; None if these are too few steps."""
    lines = read_metrics(workdir / METRICS_FILE)
    of_steps = [k for k, line in enumerate(lines) if "loss" in line]
    pairs = [(k, after) for k, after in zip(of_steps, of_steps[1:], strict=False)]
    gaps = [(after - k, lines[after]["time"] - lines[k]["time"]) for k, after in pairs]
    steps = _without_pauses([seconds for apart, seconds in gaps if apart == 1])
    if len(steps) < MIN_STEPS:
        return None
    # Between two steps with lines between them, there was an evaluation, and the second step.
    epochs = _without_pauses([max(0.0, seconds - float(np.median(steps))) for apart, seconds in gaps if apart > 1])
    return _Times(steps, epochs, _ends(workdir, lines))


def _without_pauses(seconds: Sequence[float]) -> np.ndarray:
    values = np.array([value for value in seconds if value >= 0], np.float64)
    return values[values <= _PAUSE * np.median(values)] if len(values) else values


def _ends(workdir: Path, lines: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the seconds before the first step and after the last evaluation, of a run that was not interrupted."""
    begun = _time(workdirs.read_json(workdir / workdirs.PROVENANCE) or {})
    results = workdirs.read_json(workdir / workdirs.RESULTS) or {}
    ended = _time(results.get("provenance", {}))
    if begun is None or ended is None or lines[0]["time"] < begun:
        return np.array([])  # resumed: its provenance is of the last start
    return np.array([lines[0]["time"] - begun + max(0.0, ended - lines[-1]["time"])])


def _time(record: Mapping[str, Any]) -> float | None:
    return datetime.fromisoformat(record["time"]).timestamp() if "time" in record else None

"""Configurations that train in seconds, for the tests of this folder."""

import json
from pathlib import Path
from typing import Any

from fgnet_jax.train import defaults

_TINY = defaults.load_config_file("tiny")


def config(**changes: Any) -> defaults.Config:
    """Return the `tiny` configuration with changes, such as `**{"train.epochs": 3}`."""
    values = _TINY.get_config()
    values.update_from_flattened_dict(changes)
    return values


def short_run(data: Path, **changes: Any) -> defaults.Config:
    """Return a still smaller network and corpus, with two steps per epoch."""
    small = {"model.image_size": 16, "model.heatmap_size": 8, "model.mapping_layers": 1, "data.frames": 60}
    return config(**{"data.dir": str(data), "train.steps_per_epoch": 2} | small | changes)


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]

"""Configurations that train in seconds, for the tests of this folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.train import defaults
from fgnet_jax.train.splits import FaceSubset, RunData

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


def faces(
    corpus: str, subjects: Sequence[str], *, aus: Sequence[int] = CORPUS_AUS["disfa"], **preparation: Any
) -> FaceSubset:
    """Return a face without an image of each of these subjects of a corpus, such as `disfa/left`."""
    labels = np.zeros(len(aus), np.int8)
    records = [
        {
            "subject": name.encode(),
            "sequence": b"left",
            "frame": 0,
            "labels": labels,
            "intensities": labels.astype("f4"),
        }
        for name in subjects
    ]
    identity = CorpusIdentity.of(f"{corpus}/1.0.0", aus=aus, preparation=preparation, faces={"fold_0": len(records)})
    name = folds.base_name(corpus)
    opened = Corpus(name=name, aus=tuple(aus), splits=("fold_0",), sources=(records,), identities=(identity,))
    return FaceSubset(f"{corpus} fold_0", opened, np.arange(len(records)))


def run_data(train: FaceSubset, test: FaceSubset, *, select: FaceSubset | None = None, **further: Any) -> RunData:
    """Return the faces of a run; without others, the best epoch is selected on the test fold."""
    rule = "best epoch on the test fold, as published"
    return RunData(train=train, test=test, select=select or test, **{"also_test": (), "selection": rule} | further)

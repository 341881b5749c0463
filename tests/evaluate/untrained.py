"""Runs that nobody has trained, and predictions of them, for the tests of studies in this folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.runs import EvaluatedRun
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train.defaults import Config

AUS = (1, 2, 4)
FRAMES, SUBJECTS = 60, 4
"""Frames and subjects of a fold."""


def run(config: Config, name: str = "", corpus: str = "") -> EvaluatedRun:
    """Return the run of a configuration, as it is opened; its weights do not exist."""
    name, samples, equal = name or config.name, config.data.samples, config.train.equal_updates
    record = {"subjects": {}, "fold": config.data.fold, "samples": samples, "equal_updates": equal}
    record |= {"frames": samples or 50_000, "updates": 7500 if equal or not samples else samples}
    extra = {"trained_on": record, "selection": "held out"}
    return EvaluatedRun(
        name=name,
        weights=Path(name) / "best",
        meta=WeightsMeta(aus=AUS, corpus=corpus or config.data.corpus, extra=extra),
        config=json.loads(config.to_json_best_effort()),
        fold=config.data.fold,
        recorded_sha256=name * 9,
    )


class Predictor:
    """Predictions that depend on fold, split and seed alone; of a fold, all seeds have the same labels."""

    def __init__(self, subjects: int = SUBJECTS):
        """Take the number of subjects of a fold."""
        self._subjects = subjects

    def folds(self, corpus: str) -> tuple[int, ...]:
        """Return three folds."""
        del corpus
        return (0, 1, 2)

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        """Return the predictions of a run."""
        labels = np.concatenate([_labels(split) for split in splits])
        rng = np.random.default_rng([run.fold or 0, (run.config or {})["seed"], len(splits)])
        names = np.array([f"{split}_{k % self._subjects}" for split in splits for k in range(FRAMES)])
        predictions = FramePredictions(
            aus=AUS,
            splits=np.repeat(splits, FRAMES),
            subjects=names,
            sequences=np.full(len(labels), "left"),
            frames=np.arange(len(labels)),
            labels=labels,
            scores=(labels - 0.5 + rng.normal(size=labels.shape)).astype(np.float32),
            thresholds=np.zeros(labels.shape),
        )
        return TestedRun(run, corpus, predictions, np.zeros(len(AUS)))


def _labels(split: str) -> np.ndarray:
    return (np.random.default_rng(int(split[-1])).random((FRAMES, len(AUS))) < 0.4).astype(np.int8)

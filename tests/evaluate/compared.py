"""Predictions of two methods on a corpus of four subjects, as evaluation keeps them and as tools write tables."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import frame_predictions, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.runs import EvaluatedRun
from fgnet_jax.models.weights import WeightsMeta

AUS = (12, 1, 4)
FRAMES = 20
SUBJECTS = tuple(f"s{k}" for k in range(8))
PREPARED = CorpusIdentity.of("mine/1.0.0", aus=AUS, preparation={"folds": 2}, faces={"fold_0": 80, "fold_1": 80})


def run(name: str, fold: int, settings: Mapping[str, object]) -> EvaluatedRun:
    """A run that left a fold out: the even subjects are fold 0."""
    trained = [subject for k, subject in enumerate(SUBJECTS) if k % 2 != fold]
    record = {"corpus": "mine", "fold": fold, "samples": 0, "subjects": {"mine": trained}, "held_out": {}}
    meta = WeightsMeta(aus=AUS, corpus="mine", extra={"trained_on": record, "selection": "held out"})
    weights = Path(f"runs/{name}/best")
    return EvaluatedRun(
        name, weights, meta, config={"name": name, **settings}, fold=fold, recorded_sha256=f"{name:x<64}"
    )


def labels() -> np.ndarray:
    """Of all subjects' frames, (160, 3); AU4 is present in none."""
    values = np.random.default_rng(5).random((len(SUBJECTS) * FRAMES, 3)) < (0.4, 0.2, 0)
    return values.astype(np.int8)


def scores(noise: float, seed: int) -> np.ndarray:
    """Above 0 where an AU is present, but for noise, (160, 3)."""
    rng = np.random.default_rng(seed)
    return (labels() - 0.5 + rng.normal(0, noise, (len(SUBJECTS) * FRAMES, 3))).astype(np.float32)


def predictions(values: np.ndarray, fold: int) -> FramePredictions:
    """The frames of a fold with these scores."""
    subjects = np.repeat(SUBJECTS, FRAMES)
    rows = np.repeat(np.arange(len(SUBJECTS)) % 2, FRAMES) == fold
    return FramePredictions(
        aus=AUS,
        splits=np.full(rows.sum(), f"fold_{fold}"),
        subjects=subjects[rows],
        sequences=np.full(rows.sum(), "x"),
        frames=np.tile(np.arange(1, FRAMES + 1), len(SUBJECTS))[rows],
        labels=labels()[rows],
        scores=values[rows],
        thresholds=np.zeros((rows.sum(), len(AUS))),
    )


def keep(folder: Path, *, noise: float, seed: int, name: str = "run", settings: Mapping[str, object] = {}) -> Path:
    """Keep predictions of two folds' runs in a folder, as `scoring` does."""
    folder.mkdir(parents=True, exist_ok=True)
    values = scores(noise, seed)
    for fold in (0, 1):
        of_fold = run(f"{name}_f{fold}", fold, settings)
        metadata = {
            "corpus": "mine",
            "split": f"fold_{fold}",
            "weights_sha256": of_fold.recorded_sha256,
            scoring.CORPORA: [PREPARED.to_dict()],
            scoring.EVALUATED_RUN: of_fold.to_dict(),
        }
        frame_predictions.write(folder / f"{of_fold.name}.parquet", predictions(values, fold), metadata)
    return folder


def openface(folder: Path, values: np.ndarray, *, lost: tuple[str, int] | None = None) -> Path:
    """Write a table per subject as OpenFace does, with a space before every name; a lost frame is zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, subject in enumerate(SUBJECTS):
        lines = ["frame, face_id, timestamp, confidence, success, AU01_r, AU04_r, AU12_r, AU01_c, AU04_c, AU12_c"]
        for number, row in enumerate(values[k * FRAMES : (k + 1) * FRAMES], 1):
            au12, au1, au4 = (float(x) for x in row)
            cells = [
                number,
                0,
                0.04 * number,
                0.98,
                1,
                au1 + 2,
                au4 + 2,
                au12 + 2,
                int(au1 > 0),
                int(au4 > 0),
                int(au12 > 0),
            ]
            if (subject, number) == lost:
                cells = [number, 0, 0.04 * number, *[0] * 8]
            lines.append(", ".join(map(str, cells)))
        (folder / f"video_{subject}.csv").write_text("\n".join(lines) + "\n")
    return folder

"""Predicting the frames of a corpus with the networks under evaluation, and keeping the predictions.

Predictions that are in the folder of predictions already, of the same weights and the same prepared corpus, are not
computed again: a stopped evaluation resumes where it was.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fgnet_jax.data.corpus import Corpus, find_corpus, open_directory
from fgnet_jax.data.folds import base_name, train_splits
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.evaluate import frame_predictions, leakage
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, LoadedNetwork, checksum, load, shared_aus
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.runtime import sharding
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.runtime.version import __version__
from fgnet_jax.train.evaluator import EvalBatch, EvalStep, compile_eval_steps, score


@dataclasses.dataclass(frozen=True)
class EvalData:
    """Where corpora are, and how frames are loaded.

    Attributes:
      data_dir: Folder of prepared corpora.
      predictions: Folder to keep predictions in, or None.
      batch_size: Frames per batch.
      threads: Threads that decode images.
    """

    data_dir: Path
    predictions: Path | None = None
    batch_size: int = 16
    threads: int = 4


def predict_split_cached(data: EvalData, run: EvaluatedRun, *, corpus: str, split: str) -> FramePredictions:
    """Predict every frame of a split with a run's network, at the published threshold, or read earlier predictions.

    Raises:
      LeakageError: The network was trained or selected on some of the subjects.
      EvaluationError: Network and corpus share no AU.
      FileNotFoundError: The corpus is not prepared.
    """
    opened, folder = _open_splits(data, corpus, split)
    aus = shared_aus(run, opened)
    subjects = set(opened.subjects().tolist())
    leakage.check_no_leakage(run.meta, corpus=corpus, subjects=subjects, name=run.name, fold=run.fold)
    metadata = _metadata(run, corpus=corpus, folder=folder, split=split)
    path = _predictions_path(data, run, corpus=corpus, split=split)
    earlier = _read_earlier(path, metadata) if path else None
    if earlier is not None:
        return earlier
    indices, title = np.arange(len(opened)), f"{run.name} on {corpus} {split}"
    predictions = predict_split(data, run, opened, indices=indices, aus=aus, title=title)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame_predictions.write(path, predictions, metadata)
    return predictions


def apply_thresholds(
    data: EvalData,
    run: EvaluatedRun,
    *,
    corpus: str,
    split: str,
    predictions: FramePredictions,
    thresholds: Sequence[float] | np.ndarray,
) -> FramePredictions:
    """Return the predictions at other thresholds (K,); the file that they are kept in is rewritten with these, too."""
    result = predictions.at(thresholds)
    path = _predictions_path(data, run, corpus=corpus, split=split)
    if path and (result.thresholds != predictions.thresholds).any():
        _, folder = _open_splits(data, corpus, split)
        frame_predictions.write(path, result, _metadata(run, corpus=corpus, folder=folder, split=split))
    return result


def predict_held_out(data: EvalData, run: EvaluatedRun) -> FramePredictions:
    """Predict the held-out training subjects that a run's best epoch was selected on.

    Raises:
      EvaluationError: It was selected otherwise.
    """
    record = run.trained_on
    subjects = {name for names in record.get("held_out", {}).values() for name in names}
    if not subjects:
        raise EvaluationError(
            f"{run.name} has no held-out training subjects to fit thresholds on (selection: {run.selection})"
        )
    corpus = (run.config or {}).get("data", {}).get("corpus", record["corpus"])
    opened, _ = _open_splits(data, corpus, "+".join(train_splits(record["fold"])))
    indices = np.flatnonzero(np.isin(opened.subjects(), sorted(subjects)))
    aus, title = shared_aus(run, opened), f"{run.name} on its held-out subjects"
    return predict_split(data, run, opened, indices=indices, aus=aus, title=title)


def predict_heatmaps(
    data: EvalData, run: EvaluatedRun, *, corpus: str, split: str, indices: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Predict the heatmaps of some frames of a split.

    Returns:
      The faces (N, 256, 256, 3) uint8, their heatmaps (N, H, H, K) clipped to [-1, 1], and the K AUs.
    """
    opened, _ = _open_splits(data, corpus, split)
    network = load(run)
    images, heatmaps = [opened[int(index)]["image"] for index in indices], []
    step = compile_eval_steps(network.config, len(run.meta.aus), sharding.create()).heatmaps
    layout = sharding.create()
    loader = _loader_config(data, run, network, opened)
    for batch in eval_batches(opened, np.asarray(indices), loader, shard=ProcessShard()):
        output = np.asarray(step(network.variables, sharding.global_batch(batch, layout)))
        heatmaps.append(output[batch["valid"]])
    return np.stack(images), np.clip(np.concatenate(heatmaps), -1, 1), run.meta.aus


def predict_split(
    data: EvalData, run: EvaluatedRun, corpus: Corpus, *, indices: np.ndarray, aus: tuple[int, ...], title: str
) -> FramePredictions:
    """Predict some faces of a corpus with a run's network, at threshold 0, with progress on standard error.

    Args:
      data: How frames are loaded.
      run: The network.
      corpus: The opened corpus.
      indices: (N,) places of the faces in it.
      aus: The K AUs to predict, of those that the network has.
      title: Name of the work in progress and in errors.

    Raises:
      EvaluationError: The network's scores are not finite.
    """
    network = load(run)
    loader = _loader_config(data, run, network, corpus)
    with Progress(title, len(indices), "frames") as progress:
        step = _with_progress(
            compile_eval_steps(network.config, len(run.meta.aus), sharding.create()).score,
            progress,
            loader.batch_size,
            len(indices),
        )
        scored = score(
            step,
            network.variables,
            corpus,
            indices,
            loader=loader,
            sharding=sharding.create(),
            shard=ProcessShard(),
        )
    if not np.isfinite(scored.scores).all():
        raise EvaluationError(f"{title}: the network's scores are not finite")
    columns = [run.meta.aus.index(au) for au in aus]
    records = list(_records(corpus, scored.indices))
    return FramePredictions(
        aus=aus,
        splits=np.array([record["split"] for record in records]),
        subjects=np.array([record["subject"] for record in records]),
        sequences=np.array([record["sequence"] for record in records]),
        frames=np.array([record["frame"] for record in records]),
        labels=scored.labels[:, columns],
        scores=scored.scores[:, columns],
        thresholds=np.zeros((len(records), len(columns))),
    )


def _with_progress(step: EvalStep, progress: Progress, batch_size: int, total: int) -> EvalStep:
    """Return the step with a report of progress after every batch."""

    def reporting(variables: fgnet.Variables, batch: EvalBatch) -> dict[str, jax.Array]:
        result = step(variables, batch)
        progress.update(min(progress.done + batch_size, total))
        return result

    return reporting


def _records(corpus: Corpus, indices: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield `split`, `subject`, `sequence` and `frame` of each of these faces."""
    ends = np.cumsum([len(source) for source in corpus.sources])
    for index in indices.tolist():
        split = corpus.splits[int(np.searchsorted(ends, index, side="right"))]
        record = corpus.record(index)
        yield {"split": split} | {key: record[key] for key in ("subject", "sequence", "frame")}


def _open_splits(data: EvalData, corpus: str, splits: str) -> tuple[Corpus, Path]:
    """Open splits of a prepared corpus; return them with the corpus' folder."""
    try:
        folder = find_corpus(corpus, data.data_dir)
        return open_directory(folder, splits), folder
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def _loader_config(data: EvalData, run: EvaluatedRun, network: LoadedNetwork, corpus: Corpus) -> LoaderConfig:
    devices = jax.device_count()
    batch_size = -(-data.batch_size // devices) * devices
    return LoaderConfig(
        batch_size=batch_size,
        image_size=network.config.image_size,
        threads=data.threads,
        columns=corpus.columns(run.meta.aus),
    )


def _predictions_path(data: EvalData, run: EvaluatedRun, *, corpus: str, split: str) -> Path | None:
    """Return the file that predictions are kept in, if they are kept."""
    name = f"{run.name}-on-{base_name(corpus)}-{split}"
    return data.predictions / f"{name}.parquet" if data.predictions else None


def _metadata(run: EvaluatedRun, *, corpus: str, folder: Path, split: str) -> dict[str, Any]:
    """Return what predictions depend on, to be kept with them."""
    return {
        "run": run.name,
        "weights_sha256": checksum(run),
        "dtype": run.meta.model["dtype"],
        "precision": ModelConfig.from_dict(run.meta.model).precision,
        "corpus": corpus,
        "prepared_sha256": hashlib.sha256((folder / "dataset_info.json").read_bytes()).hexdigest(),
        "split": split,
        "version": __version__,
    }


def _read_earlier(path: Path, metadata: dict[str, Any]) -> FramePredictions | None:
    """Read the predictions of an earlier evaluation, if they are of the same weights and the same faces."""
    if not path.exists():
        return None
    predictions, earlier = frame_predictions.read(path)
    return predictions if all(earlier.get(key) == value for key, value in metadata.items()) else None

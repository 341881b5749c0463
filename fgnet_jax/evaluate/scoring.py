"""Predicting the frames of a corpus with the networks under evaluation, and keeping the predictions.

Predictions that are in the folder of predictions already, of the same weights and of a corpus of the same fingerprint,
are not computed again, and neither are the scores of batches that were computed before an evaluation was stopped: it
resumes where it was.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fgnet_jax.data.corpus import Corpus, corpus_folds, find_corpus, open_directory
from fgnet_jax.data.folds import base_name, train_splits
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.evaluate import frame_predictions, intensity, leakage, partial_scores
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.kept_predictions import CORPORA, EVALUATED_RUN, HELD_OUT, KeptPredictions
from fgnet_jax.evaluate.partial_scores import PartialScores
from fgnet_jax.evaluate.runs import (
    EvaluatedRun,
    EvaluationError,
    check_corpora,
    checksum,
    load,
    shared_aus,
)
from fgnet_jax.models.config import network_config
from fgnet_jax.runtime import sharding
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.runtime.version import __version__
from fgnet_jax.train.evaluator import ScoredFaces, compile_eval_steps

THRESHOLDS_RULE, FITTED_ON = "thresholds_rule", "fitted_on"
"""Further keys: where the thresholds come from, in words, and the subjects that they were fitted on, by corpus."""

PUBLISHED_RULE = "0, as published"
"""The rule of the published thresholds."""


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


@dataclasses.dataclass(frozen=True)
class StoredSplit:
    """Predictions for one split of a corpus.

    Attributes:
      predictions: The predictions.
      metadata: What they are of, as their file has it (`_metadata`).
      path: The file that they are kept in, or None.
    """

    predictions: FramePredictions
    metadata: dict[str, Any]
    path: Path | None

    @property
    def identities(self) -> tuple[CorpusIdentity, ...]:
        """What the corpus is and how it was prepared."""
        return tuple(map(CorpusIdentity.from_dict, self.metadata.get(CORPORA, ())))


def predict_split_cached(data: EvalData, run: EvaluatedRun, *, corpus: str, split: str) -> StoredSplit:
    """Predict every frame of a split with a run's network, at the published threshold, or read earlier predictions.

    Raises:
      LeakageError: The network was trained or selected on some of the subjects.
      EvaluationError: Network and corpus share no AU, or the network was trained with another preparation of it.
      FileNotFoundError: The corpus is not prepared.
    """
    opened, folder = _open_splits(data, corpus, split)
    aus = shared_aus(run, opened)
    check_corpora(run, opened)
    subjects = set(opened.subjects().tolist())
    recordings = opened.recordings(opened.name)
    leakage.check_no_leakage(run.meta, corpus=recordings, subjects=subjects, name=run.name, fold=run.trained_fold)
    metadata = _metadata(run, opened, corpus=corpus, folder=folder, split=split)
    path = predictions_path(data.predictions, run, corpus=corpus, split=split) if data.predictions else None
    kept = KeptPredictions(path, metadata) if path else None
    indices, title = np.arange(len(opened)), f"{run.name} on {corpus} {split}"
    predictions = _predict_or_read(data, run, opened, indices=indices, aus=aus, title=title, kept=kept)
    return StoredSplit(predictions, metadata, path)


def aus_of(data: EvalData, run: EvaluatedRun, *, corpus: str) -> tuple[int, ...]:
    """Return the AUs that a network and a prepared corpus share, in the network's order; reads no face.

    Raises:
      EvaluationError: They share none, or the name is ambiguous.
      FileNotFoundError: The corpus is not prepared.
    """
    return shared_aus(run, _open_splits(data, corpus, ())[0])


def open_identity(data: EvalData, corpus: str) -> CorpusIdentity:
    """Return what a prepared corpus is and how it was prepared; raises as `aus_of` does."""
    [identity] = _open_splits(data, corpus, ())[0].identities
    return identity


def apply_thresholds(
    stored: StoredSplit,
    thresholds: Sequence[float] | np.ndarray,
    *,
    rule: str = PUBLISHED_RULE,
    fitted_on: Mapping[str, list[str]] | None = None,
) -> FramePredictions:
    """Return the predictions at other thresholds (K,); the file that they are kept in is rewritten with these, too.

    Args:
      stored: The predictions.
      thresholds: One per AU.
      rule: Where the thresholds come from, in words.
      fitted_on: Subjects that they were fitted on, by corpus.
    """
    result = stored.predictions.at(thresholds)
    if stored.path:
        metadata = stored.metadata | {THRESHOLDS_RULE: rule, FITTED_ON: dict(fitted_on or {})}
        _, earlier = frame_predictions.read(stored.path)
        is_same = all(earlier.get(key) == value for key, value in metadata.items())
        if not is_same or (result.thresholds != stored.predictions.thresholds).any():
            frame_predictions.write(stored.path, result, metadata)
    return result


def held_out_subjects(run: EvaluatedRun) -> tuple[str, dict[str, list[str]]]:
    """Return the corpus of a run, and its subjects whom the best epoch was selected on, by whose recordings they are.

    Raises:
      EvaluationError: It was selected otherwise.
    """
    record = run.trained_on
    corpus = (run.config or {}).get("data", {}).get("corpus", record.get("corpus", ""))
    recorded = [CorpusIdentity.from_dict(values) for values in run.meta.extra.get(CORPORA, ())]
    same = {base_name(corpus), *(item.recordings for item in recorded if leakage.same_corpus(item.name, corpus))}
    groups = {key: names for key, names in record.get("held_out", {}).items() if base_name(key) in same and names}
    if not groups:
        raise EvaluationError(
            f"{run.name} has no held-out training subjects to fit thresholds on (selection: {run.selection})"
        )
    return corpus, groups


def predict_held_out(data: EvalData, run: EvaluatedRun) -> FramePredictions:
    """Predict the held-out training subjects that a run's best epoch was selected on, or read earlier predictions.

    Raises:
      EvaluationError: It was selected otherwise.
    """
    corpus, groups = held_out_subjects(run)
    subjects = {name for names in groups.values() for name in names}
    opened, folder = _open_splits(
        data, corpus, train_splits(run.trained_on["fold"], corpus_folds(corpus, data.data_dir))
    )
    check_corpora(run, opened)
    indices = np.flatnonzero(np.isin(opened.subjects(), sorted(subjects)))
    aus, title = shared_aus(run, opened), f"{run.name} on its held-out subjects"
    kept = None
    if data.predictions:
        metadata = _metadata(run, opened, corpus=corpus, folder=folder, split="held-out subjects")
        metadata |= {HELD_OUT: sorted(subjects)}
        kept = KeptPredictions(data.predictions / HELD_OUT / f"{run.name}.parquet", metadata)
    return _predict_or_read(data, run, opened, indices=indices, aus=aus, title=title, kept=kept)


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
    loader = _loader_config(data, run, opened)
    for batch in eval_batches(opened, np.asarray(indices), loader, shard=ProcessShard()):
        output = np.asarray(step(network.variables, sharding.global_batch(batch, layout)))
        heatmaps.append(output[batch["valid"]])
    return np.stack(images), np.clip(np.concatenate(heatmaps), -1, 1), run.meta.aus


def predict_split(
    data: EvalData,
    run: EvaluatedRun,
    corpus: Corpus,
    *,
    indices: np.ndarray,
    aus: tuple[int, ...],
    title: str,
    partial: PartialScores | None = None,
) -> FramePredictions:
    """Predict some faces of a corpus with a run's network, at threshold 0, with progress on standard error.

    Args:
      data: How frames are loaded.
      run: The network.
      corpus: The opened corpus.
      indices: (N,) places of the faces in it.
      aus: The K AUs to predict, of those that the network has.
      title: Name of the work in progress and in errors.
      partial: Where scores are kept on the way, and are from where an earlier evaluation has kept them.

    Raises:
      EvaluationError: The network's scores are not finite.
    """
    loader = _loader_config(data, run, corpus)
    scored = _scored(run, corpus, indices, loader=loader, partial=partial, title=title)
    columns = [run.meta.aus.index(au) for au in aus]
    index = corpus.index
    predictions = FramePredictions(
        aus=aus,
        splits=_splits(corpus, scored.indices),
        subjects=index.subjects[scored.indices],
        sequences=index.sequences[scored.indices],
        frames=index.frames[scored.indices],
        labels=scored.labels[:, columns],
        scores=scored.scores[:, columns],
        thresholds=np.zeros((len(scored.indices), len(columns))),
    )
    return intensity.with_intensities(predictions, run, corpus, scored.indices)


def _predict_or_read(
    data: EvalData,
    run: EvaluatedRun,
    corpus: Corpus,
    *,
    indices: np.ndarray,
    aus: tuple[int, ...],
    title: str,
    kept: KeptPredictions | None,
) -> FramePredictions:
    """Predict faces as `predict_split` does, from where an earlier evaluation was, and keep the predictions."""
    if kept is None:
        return predict_split(data, run, corpus, indices=indices, aus=aus, title=title)
    earlier = kept.read()
    if earlier is not None:
        return earlier
    partial = kept.partial(indices, _loader_config(data, run, corpus).batch_size)
    predictions = predict_split(data, run, corpus, indices=indices, aus=aus, title=title, partial=partial)
    kept.write(predictions)
    partial.remove()
    return predictions


def _scored(
    run: EvaluatedRun,
    corpus: Corpus,
    indices: np.ndarray,
    *,
    loader: LoaderConfig,
    partial: PartialScores | None,
    title: str,
) -> ScoredFaces:
    """Score faces with a run's network, from where an earlier evaluation was.

    Raises:
      EvaluationError: The scores are not finite.
    """
    before = partial.read(loader.batch_size, len(indices)) if partial else []
    first = sum(len(part["index"]) for part in before)
    network, layout = load(run), sharding.create()
    with Progress(title, len(indices), "frames", start=first) as progress:
        if first:
            progress.say(f"{title}: going on after {first:,} of {len(indices):,} frames")
        scored = partial_scores.score(
            compile_eval_steps(network.config, len(run.meta.aus), layout).score,
            network.variables,
            corpus,
            indices,
            loader=loader,
            layout=layout,
            before=before,
            keep=partial.write if partial else lambda part, first: None,
            done=progress.update,
        )
    if not np.isfinite(scored.scores).all():
        raise EvaluationError(f"{title}: the network's scores are not finite")
    return scored


def _splits(corpus: Corpus, indices: np.ndarray) -> np.ndarray:
    """Return the split of each of these faces, (N,) str."""
    ends = np.cumsum([len(source) for source in corpus.sources])
    return np.array(corpus.splits)[np.searchsorted(ends, indices, side="right")]


def _open_splits(data: EvalData, corpus: str, splits: str | Sequence[str]) -> tuple[Corpus, Path]:
    """Open splits of a prepared corpus; return them with the corpus' folder."""
    try:
        folder = find_corpus(corpus, data.data_dir)
        return open_directory(folder, splits), folder
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def _loader_config(data: EvalData, run: EvaluatedRun, corpus: Corpus) -> LoaderConfig:
    devices = jax.device_count()
    batch_size = -(-data.batch_size // devices) * devices
    return LoaderConfig(
        batch_size=batch_size,
        image_size=network_config(run.meta.model).image_size,
        threads=data.threads,
        columns=corpus.columns(run.meta.aus),
    )


def predictions_path(folder: Path, run: EvaluatedRun, *, corpus: str, split: str) -> Path:
    """Return the file of a folder that the predictions for a split are kept in."""
    return folder / f"{run.name}-on-{base_name(corpus)}-{split}.parquet"


def _metadata(run: EvaluatedRun, opened: Corpus, *, corpus: str, folder: Path, split: str) -> dict[str, Any]:
    """Return what predictions are of and depend on, to be kept with them."""
    return {
        "run": run.name,
        "weights_sha256": checksum(run),
        "dtype": run.meta.model["dtype"],
        "precision": network_config(run.meta.model).precision,
        "corpus": corpus,
        "prepared_sha256": hashlib.sha256((folder / "dataset_info.json").read_bytes()).hexdigest(),
        CORPORA: [identity.to_dict() for identity in opened.identities],
        "split": split,
        "version": __version__,
        EVALUATED_RUN: run.to_dict(),
        **intensity.metadata(run),
    }

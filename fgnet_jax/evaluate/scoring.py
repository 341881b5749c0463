"""Networks under test: opened, asked about the frames of a corpus, and their answers kept.

Answers that lie in the folder of predictions already, of the same weights and the same prepared corpus, are not
computed again: a stopped evaluation goes on where it was.
"""

import dataclasses
import functools
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fgnet_jax.data.corpus import Corpus, find_corpus, open_directory
from fgnet_jax.data.folds import train_splits
from fgnet_jax.data.pipeline import LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.evaluate import frame_predictions, leakage
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError, LoadedNetwork, checksum, load, shared_aus
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime import sharding
from fgnet_jax.runtime.version import __version__
from fgnet_jax.train.evaluator import score

LINE_SECONDS = 10.0
"""How often progress is said."""


@dataclasses.dataclass(frozen=True)
class EvalData:
    """Where corpora lie and how frames are scored.

    Attributes:
      data_dir: Folder of prepared corpora.
      predictions: Folder that answers are kept in, or None.
      batch_size: Frames of a batch.
      threads: Threads that decode images.
    """

    data_dir: Path
    predictions: Path | None = None
    batch_size: int = 16
    threads: int = 4


@functools.lru_cache(maxsize=4)
def _steps(config: ModelConfig, count: int):
    """Jitted: variables and a batch to scores of the first `count` channels, and to their heatmaps."""

    def heatmaps(variables: fgnet.Variables, batch: Mapping[str, jax.Array]) -> jax.Array:
        return fgnet.au_heatmaps(config, variables, batch["image"], count)

    def evaluate(variables: fgnet.Variables, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        kept = {name: batch[name] for name in ("labels", "index", "valid")}
        return kept | {"scores": fgnet.scores(heatmaps(variables, batch))}

    layout = sharding.create()
    options = compiler_options.inference()
    return tuple(jax.jit(fn, out_shardings=layout.whole, compiler_options=options) for fn in (evaluate, heatmaps))


def predict_split_cached(setup: EvalData, run: EvaluatedRun, corpus: str, split: str) -> FramePredictions:
    """What a run's network says of every frame of a split, at the published threshold.

    Raises:
      LeakageError: where the network has seen some of the people in training.
      EvaluationError: where network and corpus have no AU in common.
      FileNotFoundError: where the corpus is not prepared.
    """
    opened, folder = _open(setup, corpus, split)
    aus = shared_aus(run, opened)
    leakage.check_unseen(run.meta, corpus, set(opened.subjects().tolist()), run.name, run.fold)
    about = _about(run, corpus, folder, split)
    kept = _kept(setup, run, corpus, split)
    former = _former(kept, about) if kept else None
    if former is not None:
        return former
    result = predict_split(setup, run, opened, np.arange(len(opened)), aus, f"{run.name} on {corpus} {split}")
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        frame_predictions.write(kept, result, about)
    return result


def apply_thresholds(
    setup: EvalData,
    run: EvaluatedRun,
    corpus: str,
    split: str,
    found: FramePredictions,
    limits: Sequence[float] | np.ndarray,
) -> FramePredictions:
    """The same answers at other thresholds (K,); a file that keeps them then says present by these, too."""
    result = found.at(limits)
    kept = _kept(setup, run, corpus, split)
    if kept and (result.thresholds != found.thresholds).any():
        frame_predictions.write(kept, result, _about(run, corpus, _open(setup, corpus, split)[1], split))
    return result


def _kept(setup: EvalData, run: EvaluatedRun, corpus: str, split: str) -> Path | None:
    """The file that answers are kept in."""
    name = f"{run.name}-on-{corpus.split('/')[0]}-{split}"
    return setup.predictions / f"{name}.parquet" if setup.predictions else None


def _former(path: Path, about: dict[str, Any]) -> FramePredictions | None:
    """Answers that an earlier evaluation left, if they are of the same weights and the same faces."""
    if not path.exists():
        return None
    found, theirs = frame_predictions.read(path)
    return found if all(theirs.get(key) == value for key, value in about.items()) else None


def predict_held_out(setup: EvalData, run: EvaluatedRun) -> FramePredictions:
    """What a run's network says of the training subjects that its best epoch was selected on.

    Raises:
      EvaluationError: where it was selected otherwise.
    """
    record = run.trained_on
    subjects = {name for names in record.get("held_out", {}).values() for name in names}
    if not subjects:
        raise EvaluationError(
            f"{run.name} has no held-out training subjects to fit thresholds on (selection: {run.selection})"
        )
    corpus = (run.config or {}).get("data", {}).get("corpus", record["corpus"])
    opened, _ = _open(setup, corpus, "+".join(train_splits(record["fold"])))
    indices = np.flatnonzero(np.isin(opened.subjects(), sorted(subjects)))
    return predict_split(setup, run, opened, indices, shared_aus(run, opened), f"{run.name} on its held-out subjects")


def heatmaps(
    setup: EvalData, run: EvaluatedRun, corpus: str, split: str, indices: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Faces (N, 256, 256, 3) uint8 of some frames of a split, their heatmaps (N, H, H, K) clipped, and the K AUs."""
    opened, _ = _open(setup, corpus, split)
    network = load(run)
    images, maps = [opened[int(index)]["image"] for index in indices], []
    step = _steps(network.config, len(run.meta.aus))[1]
    layout = sharding.create()
    for batch in eval_batches(opened, np.asarray(indices), _loading(setup, run, network, opened), ProcessShard()):
        maps.append(np.asarray(step(network.variables, sharding.global_batch(batch, layout)))[batch["valid"]])
    return np.stack(images), np.clip(np.concatenate(maps), -1, 1), run.meta.aus


def _open(setup: EvalData, corpus: str, splits: str) -> tuple[Corpus, Path]:
    """Splits of a prepared corpus, and its folder."""
    try:
        folder = find_corpus(corpus, setup.data_dir)
        return open_directory(folder, splits), folder
    except ValueError as error:
        raise EvaluationError(str(error)) from error


def _about(run: EvaluatedRun, corpus: str, folder: Path, split: str) -> dict[str, Any]:
    """What answers depend on, to be kept beside them."""
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


def _loading(setup: EvalData, run: EvaluatedRun, network: LoadedNetwork, corpus: Corpus) -> LoaderConfig:
    devices = jax.device_count()
    batch_size = -(-setup.batch_size // devices) * devices
    return LoaderConfig(batch_size, network.config.image_size, setup.threads, corpus.columns(run.meta.aus))


def predict_split(
    setup: EvalData, run: EvaluatedRun, corpus: Corpus, indices: np.ndarray, aus: tuple[int, ...], title: str
) -> FramePredictions:
    network = load(run)
    step = _steps(network.config, len(run.meta.aus))[0]
    loading = _loading(setup, run, network, corpus)
    with _Ticker(title, len(indices)) as ticker:
        counted = ticker.counting(step, loading.batch_size)
        scored = score(counted, network.variables, corpus, indices, loading, sharding.create(), ProcessShard())
    if not np.isfinite(scored.scores).all():
        raise EvaluationError(f"{title}: the network's scores are not finite")
    columns = [run.meta.aus.index(au) for au in aus]
    labels, scores = scored.labels[:, columns], scored.scores[:, columns]
    records = list(_records(corpus, scored.indices))
    splits, subjects, sequences, frames = (
        np.array([record[key] for record in records]) for key in ("split", "subject", "sequence", "frame")
    )
    return FramePredictions(aus, splits, subjects, sequences, frames, labels, scores, np.zeros(scores.shape))


def _records(corpus: Corpus, indices: np.ndarray) -> Iterator[dict[str, Any]]:
    ends = np.cumsum([len(source) for source in corpus.sources])
    for index in indices.tolist():
        split = corpus.splits[int(np.searchsorted(ends, index, side="right"))]
        record = corpus.record(index)
        yield {"split": split} | {key: record[key] for key in ("subject", "sequence", "frame")}


class _Ticker:
    """Says now and then how far the scoring of a split is: a plain line on standard error."""

    def __init__(self, title: str, total: int):
        self._title, self._total, self._done = title, total, 0
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> "_Ticker":
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._say(f"{self._total:,} frames in {time.monotonic() - self._begun:.0f} s")

    def counting(self, step, batch_size: int):
        """The step, counting the frames that go through it."""

        def counted(variables, batch):
            out = step(variables, batch)
            self._done = min(self._done + batch_size, self._total)
            now = time.monotonic()
            if now - self._said > LINE_SECONDS:
                self._said, rate = now, self._done / (now - self._begun)
                left = (self._total - self._done) / rate
                self._say(f"{self._done:,} of {self._total:,} frames, {rate:.1f} a second, {left:.0f} s left")
            return out

        return counted

    def _say(self, text: str) -> None:
        print(f"{self._title}: {text}", file=sys.stderr, flush=True)

"""Which faces a run trains on, selects its best epoch on, and is tested on."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from fgnet_jax.data import folds
from fgnet_jax.data.corpus import Corpus, join, open_corpus, open_directory
from fgnet_jax.data.synthetic.builders import prepare_synthetic
from fgnet_jax.runtime.files import NotWritableError
from fgnet_jax.train.config import Config, ConfigError


@dataclasses.dataclass(frozen=True)
class FaceSubset:
    """Some faces of an opened corpus.

    Attributes:
      name: What reports call them: "synthetic_bp4d fold_0".
      corpus: Where they are.
      indices: Which, (N,) int64.
    """

    name: str
    corpus: Corpus
    indices: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunData:
    """The faces of a run.

    Attributes:
      train: Trained on.
      select: What the best epoch is selected by.
      test: The fold that was left out of training.
      also_test: The same fold of further corpora.
      selection: How reports name the rule of selection.
    """

    train: FaceSubset
    select: FaceSubset
    test: FaceSubset
    also_test: tuple[FaceSubset, ...]
    selection: str

    @property
    def aus(self) -> tuple[int, ...]:
        """The AUs that are trained, in channel order."""
        return self.train.corpus.aus


def open_run(config: Config) -> RunData:
    """Opens the corpora of a run, drawing synthetic ones that are missing.

    Raises:
      FileNotFoundError: for a corpus that was not prepared.
      NotWritableError: where a synthetic corpus cannot be drawn into the folder of data.
      ConfigError: for a fold that the corpus does not have, or a share of subjects that cannot be held out.
    """
    try:
        return _open_run(config)
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def _open_run(config: Config) -> RunData:
    data, train = config.data, config.train
    fold = folds.split_name(data.fold)
    together = (data.corpus, *data.also_train)
    corpus = join([_open(name, config, "+".join(folds.train_splits(data.fold))) for name in together])
    test = _whole(data.corpus, _open(data.corpus, config, fold), fold)
    kept, held, rule = np.arange(len(corpus)), test.indices, "best epoch on the test fold, as published"
    select = test
    if train.select_on == "held_out":
        kept, held, names = _hold_out(corpus, data.held_out, config.seed)
        rule = f"best epoch on {len(names)} held-out training subjects ({', '.join(names)})"
        select = FaceSubset(f"{corpus.name} held-out subjects", corpus, held)
    if data.samples:
        kept = np.random.default_rng([config.seed, 1]).permutation(kept)[: data.samples]
    others = dict.fromkeys((*data.also_train, *data.also_test))
    also = tuple(_whole(name, _open(name, config, fold), fold) for name in others)
    select = dataclasses.replace(select, indices=_evenly(select.indices, train.eval_frames))
    return RunData(FaceSubset(f"{corpus.name} training folds", corpus, kept), select, test, also, rule)


def _hold_out(corpus: Corpus, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Indices trained on, indices of held-out subjects, and those subjects."""
    subjects = corpus.subjects()
    _, held = folds.hold_out(sorted(set(subjects.tolist())), share, seed)
    is_held = np.isin(subjects, held)
    return np.flatnonzero(~is_held), np.flatnonzero(is_held), tuple(held)


def _open(name: str, config: Config, splits: str) -> Corpus:
    if not name.startswith(folds.SYNTHETIC):
        return open_corpus(name, config.data.dir, splits)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # a log would have thousands of its lines
    workers = 2 if config.data.frames > 500 else 1
    try:
        Path(config.data.dir).mkdir(parents=True, exist_ok=True)
        builder = prepare_synthetic(name, config.data.dir, frames=config.data.frames, seed=config.seed, workers=workers)
    except OSError as error:
        raise NotWritableError(f"data.dir: cannot draw {name} into {config.data.dir}: {error}") from error
    return open_directory(str(builder.data_path), splits)


def _whole(name: str, corpus: Corpus, split: str) -> FaceSubset:
    return FaceSubset(f"{name} {split}", corpus, np.arange(len(corpus)))


def _evenly(indices: np.ndarray, count: int) -> np.ndarray:
    """`count` of the indices, evenly spaced; all where count is 0."""
    if not count or count >= len(indices):
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).astype(int)]


def trained_on(config: Config, data: RunData, updates: int) -> dict[str, Any]:
    """What weights say about the faces that they come from, ready for JSON.

    Returns:
      `corpus`, `fold` (the one left out), `samples` (0: all), `equal_updates`, `updates`, `frames`, and the people by
      corpus: `subjects` (trained on) and `held_out` (training subjects that the best epoch was selected on).
    """
    held_out = subjects_by_corpus(data.select) if config.train.select_on == "held_out" else {}
    return {
        "corpus": config.data.corpus,
        "fold": config.data.fold,
        "samples": config.data.samples,
        "equal_updates": config.train.equal_updates,
        "updates": updates,
        "frames": len(data.train.indices),
        "subjects": subjects_by_corpus(data.train),
        "held_out": held_out,
    }


def subjects_by_corpus(faces: FaceSubset) -> dict[str, list[str]]:
    """The subjects of some faces, by corpus."""
    return faces.corpus.people(faces.indices)

"""The faces that a run trains on, selects its best epoch on, and is tested on: never the same subjects."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import SYNTHETIC
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import Corpus, corpus_folds, join, open_corpus, open_directory
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.data.synthetic.builders import prepare_synthetic
from fgnet_jax.runtime.files import NotWritableError
from fgnet_jax.train.defaults import Config, ConfigError


@dataclasses.dataclass(frozen=True)
class FaceSubset:
    """Some faces of an opened corpus.

    Attributes:
      name: Their name in reports: "synthetic_bp4d fold_0".
      corpus: The corpus.
      indices: Their positions in it, (N,) int64.
    """

    name: str
    corpus: Corpus
    indices: np.ndarray

    def subjects_by_corpus(self) -> dict[str, list[str]]:
        """Return the subjects that the faces show, by the corpus that they are from."""
        return self.corpus.subjects_by_corpus(self.indices)

    def labels(self, aus: tuple[int, ...]) -> np.ndarray:
        """Return the labels of these AUs, (N, K) int8, -1 for an AU that the corpus lacks; reads no face."""
        return self.corpus.index.as_part("", self.corpus.columns(aus)).labels[self.indices]


@dataclasses.dataclass(frozen=True)
class RunData:
    """The faces of a run.

    Attributes:
      train: Trained on.
      select: Evaluated after every epoch; the best epoch is selected by them.
      test: The fold that was left out of training.
      also_test: The same fold of further corpora.
      selection: The rule of selection, in words.
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

    @property
    def identities(self) -> tuple[CorpusIdentity, ...]:
        """What the corpora are that are trained, selected and tested on, in the configuration's order."""
        corpora = [faces.corpus for faces in (self.train, self.test, *self.also_test)]
        return tuple(dict.fromkeys(identity for corpus in corpora for identity in corpus.identities))


def open_run(config: Config) -> RunData:
    """Open the corpora of a run; synthetic ones that are missing are rendered first.

    Raises:
      FileNotFoundError: A corpus is not prepared.
      NotWritableError: A synthetic corpus cannot be written to the data folder.
      ConfigError: The corpus does not have the fold, or the share of subjects cannot be held out.
    """
    try:
        return _open_run(config)
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def _open_run(config: Config) -> RunData:
    data = config.data
    train, select, selection = _train_and_select(config)
    test_split = folds.split_name(data.fold)
    test = _all_faces(data.corpus, config, test_split)
    others = dict.fromkeys((*data.also_train, *data.also_test))
    also_test = tuple(_all_faces(name, config, test_split) for name in others)
    select = select or test
    select = dataclasses.replace(select, indices=_evenly_spaced(select.indices, config.train.eval_frames))
    run = RunData(train=train, select=select, test=test, also_test=also_test, selection=selection)
    check_tests(run)
    return run


def check_tests(run: RunData) -> None:
    """Refuse a run that is tested on subjects whom it is trained or selected on under another corpus' name.

    `disfa` and a second preparation of the same recordings have the same subjects, and may have other folds.

    Raises:
      ConfigError: The run is; the message names corpora and subjects.
    """
    selects_on_test = run.select.corpus is run.test.corpus
    learnt = [run.train] if selects_on_test else [run.train, run.select]
    for tested in (run.test, *run.also_test):
        for corpus, subjects in tested.subjects_by_corpus().items():
            groups = [faces.subjects_by_corpus().get(corpus, ()) for faces in learnt]
            both = sorted(set(subjects) & {name for names in groups for name in names})
            if both:
                shown = ", ".join(both[:5]) + (f" and {len(both) - 5} more" if len(both) > 5 else "")
                raise ConfigError(
                    f"data: {tested.name} would be tested on {len(both)} subjects who are trained or selected on as "
                    f"subjects of {corpus}, the same recordings: {shown}; leave one of the two out, or prepare both "
                    "with the same folds"
                )


def _train_and_select(config: Config) -> tuple[FaceSubset, FaceSubset | None, str]:
    """Return the faces to train on, the held-out faces (None: select on the test fold), and the rule of selection."""
    data = config.data
    splits = _training_splits(config)
    corpus = join([_open_corpus(name, config, splits) for name in (data.corpus, *data.also_train)])
    indices, select, selection = np.arange(len(corpus)), None, "best epoch on the test fold, as published"
    if config.train.select_on == "held_out":
        indices, held_out, subjects = _hold_out(corpus, data.held_out, data.seed)
        selection = f"best epoch on {len(subjects)} held-out training subjects ({', '.join(subjects)})"
        select = FaceSubset(f"{corpus.name} held-out subjects", corpus, held_out)
    if data.samples:
        indices = np.random.default_rng([data.seed, 1]).permutation(indices)[: data.samples]
    return FaceSubset(f"{corpus.name} training folds", corpus, indices), select, selection


def _training_splits(config: Config) -> str:
    """Return the splits to train on: all but the fold that is tested on, of every corpus that is trained on.

    Raises:
      ValueError: There is no such fold, or the corpora have not the same folds.
    """
    data = config.data
    own = corpus_folds(data.corpus, data.dir)
    for name in data.also_train:
        if (others := corpus_folds(name, data.dir)) != own:
            raise ValueError(
                f"{data.corpus} has folds {folds.listed(own)}, and {name} of data.also_train {folds.listed(others)}: "
                "prepare both with the same number of folds"
            )
    return "+".join(folds.train_splits(data.fold, own))


def _hold_out(corpus: Corpus, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return the indices to train on, the indices of held-out subjects, and those subjects."""
    subjects = corpus.subjects()
    _, held_out = folds.hold_out(sorted(set(subjects.tolist())), share, seed)
    is_held_out = np.isin(subjects, held_out)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out), tuple(held_out)


def _all_faces(name: str, config: Config, split: str) -> FaceSubset:
    corpus = _open_corpus(name, config, split)
    return FaceSubset(f"{name} {split}", corpus, np.arange(len(corpus)))


def _open_corpus(name: str, config: Config, splits: str) -> Corpus:
    """Open splits of a corpus; a synthetic one that is missing is rendered first."""
    data = config.data
    if not name.startswith(SYNTHETIC):
        return open_corpus(name, data.dir, splits)
    workers = 2 if data.frames > 500 else 1
    try:
        Path(data.dir).mkdir(parents=True, exist_ok=True)
        builder = prepare_synthetic(name, data.dir, frames=data.frames, seed=data.seed, workers=workers)
    except OSError as error:
        raise NotWritableError(f"data.dir: cannot render {name} into {data.dir}: {error}") from error
    return open_directory(str(builder.data_path), splits)


def _evenly_spaced(indices: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the indices, evenly spaced; all if count is 0."""
    if not count or count >= len(indices):
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).astype(int)]


def trained_on(config: Config, data: RunData, updates: int) -> dict[str, Any]:
    """Return what weights record about their training data, ready for JSON.

    Returns:
      `corpus`, `fold` (the one left out), `samples` (0: all), `equal_updates`, `updates`, `frames`, and subjects by
      corpus: `subjects` (trained on) and `held_out` (training subjects that the best epoch was selected on).
    """
    is_held_out = config.train.select_on == "held_out"
    return {
        "corpus": config.data.corpus,
        "fold": config.data.fold,
        "samples": config.data.samples,
        "equal_updates": config.train.equal_updates,
        "updates": updates,
        "frames": len(data.train.indices),
        "subjects": data.train.subjects_by_corpus(),
        "held_out": data.select.subjects_by_corpus() if is_held_out else {},
    }

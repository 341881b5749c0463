"""How long a run would be, and on which AUs, where its corpora may be absent."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from fgnet_jax.aus import CORPUS_AUS, SYNTHETIC
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import find_corpus
from fgnet_jax.data.synthetic.builders import make_config
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import splits
from fgnet_jax.train.defaults import Config


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that is not begun.

    Attributes:
      aus: AUs that are trained.
      steps: Steps of all epochs; None if the number of faces is not known.
      remark: What these were taken from.
    """

    aus: tuple[int, ...]
    steps: int | None
    remark: str


def plan(config: Config) -> PlannedRun:
    """Return AUs and steps of a run: by its corpora where they are prepared, else by what is known of them.

    Raises:
      ConfigError: It cannot be run on its corpora.
    """
    if all(_is_prepared(name, config) for name in _corpora(config)):
        data = splits.open_run(config)
        faces = len(data.train.indices)
        return PlannedRun(data.aus, config_lib.schedule(config, faces).total, f"{faces:,} faces to train on")
    aus, remark = _known_aus(config)
    faces, source = _known_faces(config)
    if faces is None:
        return PlannedRun(aus, None, f"{remark}; without it the number of steps is not known (--config.data.samples=N)")
    return PlannedRun(aus, config_lib.schedule(config, faces).total, f"{remark}; {faces:,} faces by {source}")


def _corpora(config: Config) -> Iterator[str]:
    """Yield the names of all corpora of a run."""
    yield from dict.fromkeys((config.data.corpus, *config.data.also_train, *config.data.also_test))


def _is_prepared(name: str, config: Config) -> bool:
    """Return whether a corpus is there; a synthetic one that is not would be rendered when it is opened."""
    if name.startswith(SYNTHETIC):
        folder = Path(config.data.dir) / name / make_config(config.data.frames, config.seed).name
        return folder.is_dir()
    try:
        find_corpus(name, config.data.dir)
    except FileNotFoundError:
        return False
    return True


def _known_aus(config: Config) -> tuple[tuple[int, ...], str]:
    """Return the AUs of absent corpora, in the order in which they would be joined, and what they were taken from."""
    names = (config.data.corpus, *config.data.also_train)
    missing = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not in {config.data.dir}"
    try:
        aus = dict.fromkeys(au for name in names for au in CORPUS_AUS[folds.family(folds.base_name(name))])
    except ValueError:
        own = tuple(int(row[0]) for row in config.centres)
        return (*CORPUS_AUS["disfa"], *own), f"{missing}: with the AUs of disfa and of config.centres"
    return tuple(aus), missing


def _known_faces(config: Config) -> tuple[int | None, str]:
    """Return the number of faces to train on, and what says so; None if nothing does."""
    data = config.data
    if data.samples:
        return data.samples, "data.samples"
    kept = 1 - data.held_out if config.train.select_on == "held_out" else 1.0
    names = (data.corpus, *data.also_train)
    if all(name.startswith(SYNTHETIC) for name in names):
        return int(len(names) * data.frames * kept * (folds.NUM_FOLDS - 1) / folds.NUM_FOLDS), "data.frames, about"
    known = [folds.PUBLISHED_FRAMES.get(folds.base_name(name)) for name in names]
    if not all(known):
        return None, ""
    frames = sum(sum(counts) - counts[data.fold] for counts in known if counts)
    return int(frames * kept), "the published numbers, about"

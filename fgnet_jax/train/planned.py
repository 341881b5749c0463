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
from fgnet_jax.train.defaults import Config, ConfigError


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run that is not begun.

    Attributes:
      aus: AUs that are trained.
      steps: Steps of all epochs; None if the number of faces is not known.
      remark: What these were taken from.
      evaluated: Faces that are scored, those of the selection set in every epoch, or as often as
        `train.evaluate_steps` says; None if not known.
    """

    aus: tuple[int, ...]
    steps: int | None
    remark: str
    evaluated: int | None = None


def plan(config: Config) -> PlannedRun:
    """Return AUs and steps of a run: by its corpora where they are prepared, else by what is known of them.

    Raises:
      ConfigError: It cannot be run on its corpora.
    """
    if is_prepared(config):
        data = splits.open_run(config)
        faces = len(data.train.indices)
        tested = sum(len(subset.indices) for subset in (data.test, *data.also_test))
        schedule = config_lib.schedule(config, faces)
        evaluated = _evaluated(schedule, len(data.select.indices), tested)
        return PlannedRun(data.aus, schedule.total, f"{faces:,} faces to train on", evaluated)
    aus, remark = _known_aus(config)
    trained, scored, source = _known_faces(config)
    if config.data.samples:
        trained, source = config.data.samples, "data.samples"
    if trained is None:
        return PlannedRun(aus, None, f"{remark}; without it the number of steps is not known (--config.data.samples=N)")
    schedule = config_lib.schedule(config, trained)
    evaluated = _evaluated(schedule, *scored) if scored else None
    return PlannedRun(aus, schedule.total, f"{remark}; {trained:,} faces by {source}", evaluated)


def _evaluated(schedule: config_lib.Schedule, selected: int, tested: int) -> int:
    """Return how many faces a run scores: those of its selection set each time, and all of the test set at the end."""
    every = schedule.evaluate_steps or schedule.steps_per_epoch
    return -(-schedule.total // every) * selected + tested


def missing_corpora(config: Config) -> list[str]:
    """Return the corpora of a run that are not prepared, and that it cannot render itself."""
    return [name for name in _corpora(config) if not name.startswith(SYNTHETIC) and not _is_prepared(name, config)]


def is_prepared(config: Config) -> bool:
    """Return whether all corpora of a run are there."""
    return all(_is_prepared(name, config) for name in _corpora(config))


def _corpora(config: Config) -> Iterator[str]:
    """Yield the names of all corpora of a run."""
    yield from dict.fromkeys((config.data.corpus, *config.data.also_train, *config.data.also_test))


def _is_prepared(name: str, config: Config) -> bool:
    """Return whether a corpus is there; a synthetic one that is not would be rendered when it is opened."""
    if name.startswith(SYNTHETIC):
        folder = Path(config.data.dir) / name / make_config(config.data.frames, config.data.seed).name
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


def _known_faces(config: Config) -> tuple[int | None, tuple[int, int] | None, str]:
    """Return the numbers of faces to train on, and to select by and to test on, and what says so; None if nothing does.

    Raises:
      ConfigError: There is no such fold.
    """
    data, fold = config.data, config.data.fold
    counts = {name: _faces_by_fold(name, config) for name in _corpora(config)}
    trained_on = [counts[name] for name in dict.fromkeys((data.corpus, *data.also_train))]
    if not all(trained_on):
        return None, None, ""
    try:
        folds.train_splits(fold)
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error
    faces = sum(sum(count) - count[fold] for count in trained_on)
    is_held_out = config.train.select_on == "held_out"
    selected = int(data.held_out * faces) if is_held_out else trained_on[0][fold]
    tested = sum(count[fold] for count in counts.values() if count)
    scored = min(selected, config.train.eval_frames or selected), tested
    is_rendered = all(name.startswith(SYNTHETIC) for name in (data.corpus, *data.also_train))
    source = "data.frames, about" if is_rendered else "the published numbers, about"
    return faces - selected * is_held_out, scored if all(counts.values()) else None, source


def _faces_by_fold(name: str, config: Config) -> tuple[int, ...]:
    """Return the numbers of faces of an absent corpus, by fold; none if they are not known."""
    if name.startswith(SYNTHETIC):
        return (config.data.frames // folds.NUM_FOLDS,) * folds.NUM_FOLDS
    return folds.PUBLISHED_FRAMES.get(folds.base_name(name), ())

"""From an ml_collections configuration to the frozen dataclasses that programs are compiled for.

What cannot be run is refused with a `ConfigError` that names the key.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.aus import Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig
from fgnet_jax.models.config import DTYPES, REMOVED_REMAT, ModelConfig
from fgnet_jax.runtime import files
from fgnet_jax.train import workdirs
from fgnet_jax.train.defaults import Config, ConfigError, get_config
from fgnet_jax.train.optimizer import PARTS, OptimConfig
from fgnet_jax.train.steps import StepConfig
from fgnet_jax.train.targets import au_centres

RESUMABLE_KEYS = ("data.dir", "data.threads", "init_fold", "train.checkpoint_steps", "train.shard_params")
"""Keys that may differ when a run is resumed: they change no number."""

NUM_LANDMARKS = 68


def model_config(config: Config) -> ModelConfig:
    """Convert `config.model` to the network's configuration.

    Raises:
      ConfigError: A value fits no network, or is not supported any more.
    """
    with _naming("model"):
        return ModelConfig.from_dict(config.model.to_dict())


def optim_config(config: Config) -> OptimConfig:
    """Convert `config.optim` to the optimiser's configuration; a part's negative learning rate means the common one.

    Raises:
      ConfigError: A value is not supported, or nothing would be trained.
    """
    values = config.optim.to_dict()
    for part in PARTS:
        if values[f"lr_{part}"] < 0:
            values[f"lr_{part}"] = None
    with _naming("optim"):
        optim = OptimConfig(**values)
    if not optim.trained:
        raise ConfigError("optim: every part has rate 0, so nothing would be trained")
    return optim


def step_config(config: Config, aus: tuple[int, ...]) -> StepConfig:
    """Return what the steps of a run on these AUs are compiled for.

    Raises:
      ConfigError: The network has fewer heatmaps than there are AUs, its sizes do not fit each other, or its number
        format is not supported in training.
    """
    model, train = model_config(config), config.train
    if model.heatmap_size > model.generator_size:
        raise ConfigError(
            f"model.heatmap_size {model.heatmap_size} is larger than what the generator makes, "
            f"{model.generator_size} (generator_channels has one width per resolution, from 4 up)"
        )
    if model.dtype not in DTYPES:
        raise ConfigError(f"model.dtype must be one of {', '.join(DTYPES)}, got {model.dtype!r}")
    if model.num_heatmaps < len(aus):
        raise ConfigError(f"model.num_heatmaps is {model.num_heatmaps}, but the corpus has {len(aus)} AUs")
    if train.select_on not in ("held_out", "test"):
        raise ConfigError(f'train.select_on must be "held_out" or "test", got {train.select_on!r}')
    return StepConfig(
        model=model,
        optim=optim_config(config),
        centres=centres(config, aus),
        accumulate=train.accumulate,
        flip=train.flip,
        colour=train.colour,
    )


def centres(config: Config, aus: tuple[int, ...]) -> tuple[Centres, ...]:
    """Return the two heatmap centres of each AU: the published ones, unless `config.centres` has others.

    Raises:
      ConfigError: A row is not (AU, landmarks, landmarks, how far down), or an AU has no centres.
    """
    try:
        return au_centres(aus, dict(map(_parse_centres, config.centres)))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{error}; give others in config.centres") from error


def _parse_centres(row: Sequence[Any]) -> tuple[int, Centres]:
    """Parse a row of `config.centres` to the AU and its centres."""
    expected = "(AU, landmarks of one centre, of the other, how far down), such as (43, (37, 38), (43, 44), 0.0)"
    try:
        au, *landmarks, down = row
        first, second = (tuple(int(number) for number in numbers) for numbers in landmarks)
        au, centre = int(au), Centres(first, second, down=float(down))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"centres: {row!r} is not {expected}") from error
    if not first or not second or not all(0 <= number < NUM_LANDMARKS for number in first + second):
        raise ConfigError(
            f"centres: {row!r} names landmarks out of 0 to {NUM_LANDMARKS - 1}, or none; expected {expected}"
        )
    return au, centre


def check_divides(config: Config, devices: int) -> None:
    """Check that counts are at least 1, and that batches and their accumulated parts divide over the devices.

    Raises:
      ConfigError: One does not; the message names the key.
    """
    train = config.train
    for key in ("batch_size", "eval_batch_size", "epochs", "steps_per_epoch", "accumulate", "checkpoint_steps"):
        if train[key] < 1:
            raise ConfigError(f"train.{key} must be at least 1, got {train[key]}")
    if train.batch_size % (devices * train.accumulate):
        parts = f" in {train.accumulate} parts (train.accumulate)" if train.accumulate > 1 else ""
        raise ConfigError(f"train.batch_size {train.batch_size}{parts} does not divide over {devices} devices")
    if train.eval_batch_size % devices:
        raise ConfigError(f"train.eval_batch_size {train.eval_batch_size} does not divide over {devices} devices")


def loader_config(config: Config, *, batch_size: int, corpus: Corpus, aus: tuple[int, ...]) -> LoaderConfig:
    """Return how the faces of a corpus are loaded for a network of these AUs."""
    return LoaderConfig(
        batch_size=batch_size,
        image_size=config.model.image_size,
        threads=config.data.threads,
        columns=corpus.columns(aus),
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the keys in which two configurations differ, as "train.epochs: 15 there, 3 here"."""
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} there, {b!r} here")
    return lines


def folder(workdir: str) -> Path:
    """Return the workdir's path.

    Raises:
      ConfigError: It is an address, such as gs://…, which would become a local folder of that name.
    """
    if "://" in workdir:
        raise ConfigError(f"--workdir {workdir}: expected a folder; a bucket must be mounted as one")
    return Path(_expanded("--workdir", workdir))


def with_home(config: Config) -> Config:
    """Return a copy of a configuration in whose values `~` and `~user` are home folders: `init_from`, `data.dir`.

    Raises:
      ConfigError: There is no such user.
    """
    copy = config.copy_and_resolve_references()
    for section, key in ((copy, "init_from"), (copy.data, "dir")):
        section[key] = _expanded(key, section[key])
    return copy


def _expanded(key: str, path: str) -> str:
    try:
        return files.expanded(path)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def check_same(config: Config, workdir: Path) -> None:
    """Check that a run can be resumed in this workdir: it is new, or was begun with the same configuration.

    Raises:
      ConfigError: It was begun with another configuration; the message lists what differs, but for `RESUMABLE_KEYS`.
    """
    stored = workdirs.read_json(workdir / workdirs.CONFIG)
    if stored is None:
        return
    if not isinstance(stored, dict) or not isinstance(stored.get("model", {}), dict):
        raise ConfigError(f"{workdir / workdirs.CONFIG}: not the configuration of a run; give another --workdir")
    if stored.get("model", {}).get("remat") == REMOVED_REMAT:
        raise ConfigError(
            f'{workdir} was begun with model.remat "{REMOVED_REMAT}", which was removed: '
            'give another --workdir and use "blocks", and train.accumulate to save more memory'
        )
    default, now = (json.loads(json.dumps(values.to_dict())) for values in (get_config(), config))
    lines = differences(with_defaults(stored, default), now)
    lines = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in RESUMABLE_KEYS))]
    if lines:
        text = "\n  ".join(lines)
        raise ConfigError(f"{workdir} was begun with another configuration; give another --workdir\n  {text}")


def with_defaults(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with the default of each key that it lacks: it was begun before there was that key."""
    known = {
        key: with_defaults(value, default[key])
        if isinstance(value, Mapping) and isinstance(default.get(key), Mapping)
        else value
        for key, value in values.items()
    }
    return dict(default) | known


@contextlib.contextmanager
def _naming(section: str) -> Iterator[None]:
    """Raise errors about a section of the configuration as a `ConfigError` that names it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{section}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How many steps a run has.

    Attributes:
      steps_per_epoch: Steps of an epoch, after which the network is evaluated on the selection set.
      total: Steps of the run.
      steps_per_pass: Steps until the faces are shuffled anew: an epoch, or less where there are equal updates.
    """

    steps_per_epoch: int
    total: int
    steps_per_pass: int


def schedule(config: Config, faces: int) -> Schedule:
    """Compute the schedule of a run on so many faces.

    An epoch has `train.steps_per_epoch` batches, or as many as the faces fill if that is fewer; with
    `train.equal_updates` always the former.

    Raises:
      ConfigError: The faces do not fill a batch.
    """
    batches = min(config.train.steps_per_epoch, faces // config.train.batch_size)
    if batches < 1:
        raise ConfigError(f"{faces} faces to train on do not fill one batch of {config.train.batch_size}")
    steps = config.train.steps_per_epoch if config.train.equal_updates else batches
    return Schedule(steps_per_epoch=steps, total=steps * config.train.epochs, steps_per_pass=batches)

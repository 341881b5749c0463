"""From an ml_collections configuration to the frozen dataclasses that programs are compiled for.

What cannot be run is refused with a `ConfigError` that names the key.
"""

import contextlib
import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import DTYPES, REMOVED_REMAT, ModelConfig
from fgnet_jax.runtime import files
from fgnet_jax.train import weighting, workdirs
from fgnet_jax.train.defaults import Config, ConfigError, get_config
from fgnet_jax.train.evaluator import METRICS
from fgnet_jax.train.optimizer import PARTS, OptimConfig, is_trained, is_within
from fgnet_jax.train.steps import StepConfig
from fgnet_jax.train.targets import INTENSITY, PRESENCE, au_centres

RESUMABLE_KEYS = (
    "data.dir",
    "data.threads",
    "init_fold",
    "train.checkpoint_steps",
    "train.loggers",
    "train.shard_params",
)
"""Keys that may differ when a run is resumed: they change no number."""

NUM_LANDMARKS = 68

_NO_MORE_EPOCHS = (
    "--config.init_from={}/best (epochs can be added at a constant rate alone: a cosine has ended with the last one)"
)


def model_config(config: Config) -> ModelConfig:
    """Convert `config.model` to the network's configuration.

    Raises:
      ConfigError: A value fits no network, or is not supported any more.
    """
    with naming("model"):
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
    with naming("optim"):
        values["options"] = parse_options(values["options"])
        values["frozen"] = tuple(str(name).rstrip("/") for name in values["frozen"])
        optim = OptimConfig(**values)
    if not optim.trained:
        raise ConfigError("optim: every part has rate 0, so nothing would be trained")
    return optim


def parse_options(rows: Sequence[Any]) -> tuple[tuple[str, Any], ...]:
    """Parse `optim.options`; what is equal is equal as a key, too, so that programs are compiled once."""
    try:
        return tuple((str(name), tuple(value) if isinstance(value, list) else value) for name, value in rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"optim.options: {rows!r} is not rows of (name, value), such as (('b1', 0.8),)") from error


def step_config(config: Config, aus: tuple[int, ...], labels: np.ndarray | None = None) -> StepConfig:
    """Return what the steps of a run on these AUs are compiled for.

    Args:
      config: The run's configuration.
      aus: The K AUs.
      labels: (N, K) of the training faces, which inverse frequencies are computed from; None where they are not known,
        for a program of the same size.

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
    if train.select_metric not in METRICS:
        raise ConfigError(f"train.select_metric must be one of {', '.join(METRICS)}, got {train.select_metric!r}")
    if not 0 <= train.ema < 1:
        raise ConfigError(f"train.ema must be at least 0, for none, and below 1, got {train.ema}")
    optim = optim_config(config)
    _check_frozen(optim, model)
    return StepConfig(
        model=model,
        optim=optim,
        centres=centres(config, aus),
        accumulate=train.accumulate,
        flip=train.flip,
        colour=train.colour,
        target=target(config),
        loss=weighting.loss_config(config, aus, labels),
        ema=train.ema,
    )


def _check_frozen(optim: OptimConfig, model: ModelConfig) -> None:
    """Refuse modules of `optim.frozen` that the network does not have, and those that leave nothing to train."""
    if not optim.frozen:
        return
    paths = list(fgnet.abstract(model).params)
    modules = {path.rsplit("/", k)[0] for path in paths for k in range(1, path.count("/") + 1)}
    for name in optim.frozen:
        if not any(is_within(path, name) for path in paths):
            near = difflib.get_close_matches(name, sorted(modules), n=1, cutoff=0.0)
            raise ConfigError(f"optim.frozen: the network has no module {name!r}; did you mean {near[0]!r}?")
    if not any(is_trained(path, optim) for path in paths):
        raise ConfigError("optim.frozen: every parameter is frozen, so nothing would be trained")


def target(config: Config) -> str:
    """Return what target heatmaps show, `targets.PRESENCE` or `targets.INTENSITY`.

    Raises:
      ConfigError: It is neither; or it is intensity, and there are no held-out subjects to calibrate scores on.
    """
    value = config.data.target
    if value not in (PRESENCE, INTENSITY):
        raise ConfigError(f'data.target must be "{PRESENCE}" or "{INTENSITY}", got {value!r}')
    if value == INTENSITY and config.train.select_on != "held_out":
        raise ConfigError(
            f'data.target "{INTENSITY}" needs train.select_on "held_out": scores are calibrated to intensities on '
            "held-out training subjects, never on those that are tested"
        )
    return value


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


def check_seeds(config: Config) -> None:
    """Check that a configuration's seeds are of those that differ: JAX takes numbers modulo 2**32.

    Raises:
      ConfigError: One is not; the message names the key.
    """
    for key, seed in (("seed", config.seed), ("data.seed", config.data.seed)):
        if not 0 <= seed < 2**32:
            raise ConfigError(f"{key} must be at least 0 and below 2**32, got {seed}")


def check_divides(config: Config, devices: int) -> None:
    """Check that counts are at least 1, and that batches and their accumulated parts divide over the devices.

    Raises:
      ConfigError: One does not; the message names the key.
    """
    train = config.train
    counts = (
        "batch_size",
        "eval_batch_size",
        "epochs",
        "steps_per_epoch",
        "accumulate",
        "checkpoint_steps",
        "keep_best",
    )
    for key in counts:
        if train[key] < 1:
            raise ConfigError(f"train.{key} must be at least 1, got {train[key]}")
    for key in ("patience", "eval_frames"):
        if train[key] < 0:
            raise ConfigError(f"train.{key} must be at least 0, got {train[key]}")
    if train.evaluate_steps < 0:
        raise ConfigError(f"train.evaluate_steps must be at least 0, for epochs' ends, got {train.evaluate_steps}")
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
        intensities=config.data.target == INTENSITY,
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
        if key in section:  # a student begins from no weights
            section[key] = _expanded(key, section[key])
    return copy


def _expanded(key: str, path: str) -> str:
    try:
        return files.expanded(path)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def check_same(config: Config, workdir: Path) -> str:
    """Check that a run can be resumed in this workdir: it is new, or was begun with the same configuration.

    Epochs may be added at a constant rate: the run is then the one that had these epochs from the beginning.

    Returns:
      A line for the log where epochs were added; or "".

    Raises:
      ConfigError: It was begun with another configuration; the message lists what differs, but for `RESUMABLE_KEYS`.
    """
    stored = workdirs.read_json(workdir / workdirs.CONFIG)
    if stored is None:
        return ""
    if not isinstance(stored, dict) or not isinstance(stored.get("model", {}), dict):
        raise ConfigError(f"{workdir / workdirs.CONFIG}: not the configuration of a run; give another folder")
    if stored.get("model", {}).get("remat") == REMOVED_REMAT:
        raise ConfigError(
            f'{workdir} was begun with model.remat "{REMOVED_REMAT}", which was removed: '
            'give another --workdir and use "blocks", and train.accumulate to save more memory'
        )
    begun = as_now(stored)
    lines = differences(begun, json.loads(json.dumps(config.to_dict())))
    lines = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in RESUMABLE_KEYS))]
    added = [
        line for line in lines if line.startswith("train.epochs:") and config.train.epochs > begun["train"]["epochs"]
    ]
    if lines == added and added and config.optim.schedule == "constant":
        return f"{workdir} was begun for {begun['train']['epochs']} epochs, and goes on to {config.train.epochs} now"
    if lines:
        why = f", or begin a run from its weights: {_NO_MORE_EPOCHS.format(workdir)}" if lines == added else ""
        text = "\n  ".join(lines)
        raise ConfigError(f"{workdir} was begun with another configuration; give another --workdir{why}\n  {text}")
    return ""


def as_now(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a workdir, as its JSON has it, with every key that there is now.

    A key that it lacks had its default. What the data were was drawn by `seed` before there was `data.seed`.
    """
    if isinstance(stored.get("data"), Mapping) and "seed" in stored and "seed" not in stored["data"]:
        stored = {**stored, "data": {**stored["data"], "seed": stored["seed"]}}
    return with_defaults(stored, json.loads(json.dumps(get_config().to_dict())))


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
def naming(section: str) -> Iterator[None]:
    """Raise errors about a section of the configuration as a `ConfigError` that names it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{section}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How many steps a run has.

    Attributes:
      steps_per_epoch: Steps of an epoch, at whose end the state is saved.
      total: Steps of the run.
      steps_per_pass: Steps until the faces are shuffled anew: an epoch, or less where there are equal updates.
      evaluate_steps: Steps from one evaluation on the selection set to the next; 0 for those of an epoch.
    """

    steps_per_epoch: int
    total: int
    steps_per_pass: int
    evaluate_steps: int = 0

    def evaluates(self, step: int) -> bool:
        """Return whether the network is evaluated after a step; it always is after the last one."""
        return step % (self.evaluate_steps or self.steps_per_epoch) == 0 or step == self.total


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
    return Schedule(
        steps_per_epoch=steps,
        total=steps * config.train.epochs,
        steps_per_pass=batches,
        evaluate_steps=config.train.evaluate_steps,
    )

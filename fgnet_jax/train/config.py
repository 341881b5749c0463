"""From an ml_collections configuration to the frozen dataclasses that the program is compiled for."""

import dataclasses
import difflib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fgnet_jax.aus import Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.pipeline import LoaderConfig
from fgnet_jax.models.config import DTYPES, ModelConfig
from fgnet_jax.train.optimizer import PARTS, OptimConfig
from fgnet_jax.train.steps import StepConfig
from fgnet_jax.train.targets import au_centres

Config = Any
"""An `ml_collections.ConfigDict` with the keys of configs/base.py, which a type checker cannot know."""


RESUMABLE_KEYS = ("data.dir", "data.threads", "train.checkpoint_steps", "train.shard_params")
"""Keys that may differ when a run is continued: they change no number."""


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the key and what was expected."""


def model_config(config: Config) -> ModelConfig:
    """The network that `config.model` describes."""
    return _build(ModelConfig.from_dict, config.model.to_dict(), "model")


def optim_config(config: Config) -> OptimConfig:
    """What `config.optim` says; a part's negative rate means the common one."""
    values = config.optim.to_dict()
    for part in PARTS:
        if values[f"lr_{part}"] < 0:
            values[f"lr_{part}"] = None
    optim = _build(lambda v: OptimConfig(**v), values, "optim")
    if not optim.trained:
        raise ConfigError("optim: every part has rate 0, so nothing would be trained")
    return optim


def step_config(config: Config, aus: tuple[int, ...]) -> StepConfig:
    """What a step is compiled for.

    Raises:
      ConfigError: where the network has fewer heatmaps than there are AUs, sizes do not fit each other, or its number
        format is none to train in.
    """
    model, train = model_config(config), config.train
    if model.heatmap_size > model.generator_size:
        raise ConfigError(
            f"model.heatmap_size {model.heatmap_size} is larger than what the generator makes, "
            f"{model.generator_size} (generator_channels has one width a resolution, from 4 up)"
        )
    if model.dtype not in DTYPES:
        raise ConfigError(f"model.dtype must be one of {', '.join(DTYPES)}, got {model.dtype!r}")
    if model.num_heatmaps < len(aus):
        raise ConfigError(f"model.num_heatmaps is {model.num_heatmaps}, but the corpus has {len(aus)} AUs")
    if train.select_on not in ("held_out", "test"):
        raise ConfigError(f'train.select_on must be "held_out" or "test", got {train.select_on!r}')
    values = {
        "model": model,
        "optim": optim_config(config),
        "centres": centres(config, aus),
        "accumulate": train.accumulate,
        "flip": train.flip,
        "colour": train.colour,
    }
    return _build(lambda v: StepConfig(**v), values, "train")


def centres(config: Config, aus: tuple[int, ...]) -> tuple[Centres, ...]:
    """Where the two centres of each AU lie: as published, or as `config.centres` says.

    Raises:
      ConfigError: for a row that is not (AU, landmarks, landmarks, how far down), or an AU without centres.
    """
    wanted = "(AU, landmarks of one centre, of the other, how far down), such as (43, (37, 38), (43, 44), 0.0)"
    own: dict[int, Centres] = {}
    for row in config.centres:
        try:
            au, first, second, down = row
            points = [tuple(int(point) for point in part) for part in (first, second)]
            own[int(au)] = Centres(*points, down=float(down))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"centres: {row!r} is not {wanted}") from error
        if not all(points) or not all(0 <= point < 68 for part in points for point in part):
            raise ConfigError(f"centres: {row!r} names landmarks out of 0 to 67, or none; expected {wanted}")
    try:
        return au_centres(aus, own)
    except ValueError as error:
        raise ConfigError(f"{error}; give others in config.centres") from error


def check_divides(config: Config, devices: int) -> None:
    """Refuses counts below 1, and batches that do not divide over the devices, or accumulated parts that do not.

    Raises:
      ConfigError: naming the key.
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


def loader_config(config: Config, batch_size: int, corpus: Corpus, aus: tuple[int, ...]) -> LoaderConfig:
    """How faces of a corpus are loaded for a network of these AUs."""
    return LoaderConfig(
        batch_size=batch_size,
        image_size=config.model.image_size,
        threads=config.data.threads,
        columns=corpus.columns(aus),
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Keys in which two configurations differ, "train.epochs: 15 there, 3 here"."""
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} there, {b!r} here")
    return lines


def folder(workdir: str) -> Path:
    """The workdir's path.

    Raises:
      ConfigError: for an address, such as gs://…, which would become a local folder of that name.
    """
    if "://" in workdir:
        raise ConfigError(f"--workdir {workdir}: expected a folder; a bucket must be mounted as one")
    return Path(workdir)


def check_same(config: Config, workdir: Path) -> None:
    """Refuses to go on with a run that was begun with another configuration, saying what differs."""
    file = workdir / "config.json"
    if not file.exists():
        return
    as_json = json.loads(json.dumps(config.to_dict()))
    lines = differences(json.loads(file.read_text()), as_json)
    lines = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in RESUMABLE_KEYS))]
    if lines:
        text = "\n  ".join(lines)
        raise ConfigError(f"{workdir} was begun with another configuration; give another --workdir\n  {text}")


def check_overrides(argv: list[str], config: Config) -> None:
    """Refuses `--config.KEY` for a key that the configuration lacks, with the nearest one that it has.

    absl would show a traceback of ml_collections' insides.

    Raises:
      ConfigError: for the first such key.
    """
    known = list(_flatten(config.to_dict()))
    for argument in argv:
        name = argument.split("=", 1)[0].lstrip("-")
        key = name.removeprefix("config.")
        if name.startswith("config.") and key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise ConfigError(f"--config.{key}: there is no such key; did you mean --config.{near[0]}?")


def without_traceback(error: Exception) -> ConfigError:
    """absl's error about a flag, without the traceback that it quotes where a configuration file raised."""
    text = str(error)
    last = text.rstrip().rsplit("\n", 1)[-1].strip()
    return ConfigError(last.removeprefix("ValueError: ") if "Traceback" in text else text)


def exit_with(error: Exception) -> NoReturn:
    """Ends the program as a usage error: the message alone on standard error, status 2."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)


def _flatten(values: Mapping[str, Any], prefix: str = ""):
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _build(make: Callable[[Any], Any], values: Any, section: str) -> Any:
    try:
        return make(values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{section}: {error}") from error


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How many steps there are.

    Attributes:
      steps_per_epoch: Steps of an epoch, after which the selection set is scored.
      total: Steps in all.
      steps_per_pass: Steps until the faces are shuffled anew: an epoch, or less where there are equal updates.
    """

    steps_per_epoch: int
    total: int
    steps_per_pass: int


def schedule(config: Config, faces: int) -> Schedule:
    """Epochs of `steps_per_epoch` batches, or of as many as the faces make (`train.equal_updates`: of the former).

    Raises:
      ConfigError: where the faces do not fill a batch.
    """
    batches = min(config.train.steps_per_epoch, faces // config.train.batch_size)
    if batches < 1:
        raise ConfigError(f"{faces} faces to train on do not fill one batch of {config.train.batch_size}")
    steps = config.train.steps_per_epoch if config.train.equal_updates else batches
    return Schedule(steps, steps * config.train.epochs, batches)

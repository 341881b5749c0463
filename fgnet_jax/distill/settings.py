"""From a configuration to what steps are compiled for; what cannot be run is refused with the key's name."""

import dataclasses
from collections.abc import Sequence

from ml_collections import ConfigDict

from fgnet_jax.distill.augment import AugmentConfig
from fgnet_jax.distill.steps import OptimConfig, StepConfig
from fgnet_jax.models.config import DTYPES, StudentConfig
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import splits
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.splits import RunData

RESUMABLE_KEYS = (
    "data.dir",
    "data.threads",
    "distill.shard_faces",
    "distill.teacher_batch_size",
    "train.checkpoint_steps",
    "train.loggers",
)
"""Keys that may differ when a run is resumed: they change no number."""

_COUNTS = (
    ("train", "batch_size"),
    ("train", "steps"),
    ("train", "evaluate_steps"),
    ("train", "eval_batch_size"),
    ("train", "checkpoint_steps"),
    ("distill", "shard_faces"),
)
_NATURAL = (("distill", "faces"), ("distill", "teacher_batch_size"), ("train", "eval_frames"))


def step_config(config: Config, aus: Sequence[int]) -> StepConfig:
    """Return what the steps of a student of these AUs are compiled for.

    Raises:
      ConfigError: A value cannot be used; the message names its key.
    """
    with config_lib.naming("model"):
        model = StudentConfig.from_dict(config.model.to_dict() | {"num_heatmaps": len(aus)})
        if model.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {model.dtype!r}")
    with config_lib.naming("optim"):
        values = config.optim.to_dict()
        values["options"] = config_lib.parse_options(values["options"])
        optim = OptimConfig(**values, steps=config.train.steps)
    names = [field.name for field in dataclasses.fields(AugmentConfig)]
    with config_lib.naming("distill"):
        augment = AugmentConfig(**{name: config.distill[name] for name in names})
        if not config.distill.label_weight >= 0:
            raise ValueError(f"label_weight must be at least 0, got {config.distill.label_weight}")
    weight = config.distill.label_weight
    return StepConfig(
        model=model,
        optim=optim,
        augment=augment,
        label_weight=weight,
        centres=config_lib.centres(config, tuple(aus)) if weight else (),
        ema=config.train.ema,
    )


def check(config: Config, devices: int, has_files: bool) -> None:
    """Check seeds, counts and shares, that batches divide over the devices, and that there is something to learn from.

    Raises:
      ConfigError: One is wrong; the message names the key.
    """
    config_lib.check_seeds(config)
    for section, key in _COUNTS:
        if config[section][key] < 1:
            raise ConfigError(f"{section}.{key} must be at least 1, got {config[section][key]}")
    for section, key in _NATURAL:
        if config[section][key] < 0:
            raise ConfigError(f"{section}.{key} must be at least 0, got {config[section][key]}")
    for key in ("batch_size", "eval_batch_size"):
        if config.train[key] % devices:
            raise ConfigError(f"train.{key} {config.train[key]} does not divide over {devices} devices")
    if not 0 <= config.train.ema < 1:
        raise ConfigError(f"train.ema must be at least 0, for none, and below 1, got {config.train.ema}")
    if not 0 < config.data.held_out < 1:
        raise ConfigError(f"data.held_out must be above 0 and below 1, got {config.data.held_out}")
    if not config.data.corpus and not has_files:
        raise ConfigError("no faces: give --faces, images, videos or folders, or a corpus, --config.data.corpus=NAME")
    if config.distill.label_weight and not config.data.corpus:
        raise ConfigError("distill.label_weight needs a corpus with labels: --config.data.corpus=NAME")


def open_data(config: Config) -> RunData | None:
    """Open the corpus; None where there is none. Synthetic corpora that are missing are rendered first.

    Raises:
      FileNotFoundError: The corpus is not prepared.
      ConfigError: It does not have the fold, or the share of its subjects cannot be held out.
    """
    if not config.data.corpus:
        return None
    values = ConfigDict({"data": config.data.to_dict()})
    values.train = ConfigDict({"select_on": "held_out", "eval_frames": config.train.eval_frames})
    return splits.open_run(values)

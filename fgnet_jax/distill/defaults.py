"""The keys of a student's configuration, with their defaults; `configs/student.py` sets values only."""

import ast
import functools
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from fgnet_jax.train import command_line, defaults
from fgnet_jax.train.defaults import Config, ConfigError

DEFAULT = "student"
"""The configuration that is taken where none is named."""


def get_config() -> Config:
    """Return a new configuration with every key there is."""
    config: Config = ConfigDict()
    config.name = "student"
    config.seed = 0  # of initialisation, order and augmentation; what the data are has its own, data.seed

    # A prepared or synthetic corpus whose training faces are learnt from, beside those of --faces; as in `train`.
    config.data = ConfigDict()
    config.data.corpus = ""  # empty: only those of --faces
    config.data.dir = "data"
    config.data.fold = 0  # none of its subjects is learnt from; tested on at the end, with its labels
    config.data.seed = 0  # of held-out subjects and files, of the permutation of `samples`, and of rendered faces
    config.data.samples = 0  # faces of the corpus that teachers see: the first n of a seeded permutation; 0: all
    config.data.held_out = 0.05  # share of the faces that the student is compared with its teachers on
    config.data.also_train = ()  # further corpora
    config.data.also_test = ()  # further corpora, scored at the end on the AUs that both have
    config.data.frames = 4000  # of a synthetic corpus, which is rendered where it is missing
    config.data.threads = 4  # that decode faces

    config.model = ConfigDict()  # StudentConfig; num_heatmaps follows from the teachers
    config.model.image_size = 128
    config.model.channels = (32, 64, 128)
    config.model.units = (2, 3, 3)
    config.model.block = "residual"
    config.model.decoder = 48
    config.model.heatmap_size = 32
    config.model.dtype = "float32"
    config.model.param_dtype = "float32"
    config.model.precision = "highest"

    config.distill = ConfigDict()
    config.distill.faces = 0  # train on the first n of a seeded permutation of what teachers have seen; 0: on all
    config.distill.label_weight = 0.0  # of the published loss on a corpus' labels, beside that on teachers' heatmaps
    config.distill.teacher_fold = -1  # the fold that teachers left out, where they do not record it; -1: not known
    config.distill.teacher_batch_size = 0  # faces per batch of a teacher; 0: by the device, as in `predict`
    config.distill.shard_faces = 256  # faces per file of the cache
    # Augmentation: the most that each changes a face, drawn anew for every face and step; 0: none.
    config.distill.flip = True  # half of the faces are mirrored, with their heatmaps
    config.distill.shift = 0.06  # of the face's side, in any direction
    config.distill.scale = 0.12  # larger or smaller by this share
    config.distill.rotation = 10.0  # degrees
    config.distill.colour = 0.25  # brightness, contrast, saturation
    config.distill.light = 0.3  # brighter on one side, in the unit of faces in [-1, 1]
    config.distill.blur = 0.015  # standard deviation, as a share of the side; of half of the faces
    config.distill.resolution = 3.0  # so many times fewer pixels along a side; of half of the faces
    config.distill.noise = 0.05  # standard deviation, in the unit of faces in [-1, 1]; of half of the faces

    # Where AUs lie that have no published centres, for `label_weight`; as in `train`.
    config.centres = ()

    config.optim = ConfigDict()
    config.optim.name = "adamw"  # or another optimiser of optax
    config.optim.options = ()  # its further arguments, rows of (name, value)
    config.optim.lr = 2e-3
    config.optim.weight_decay = 1e-2
    config.optim.clip = 1.0  # largest norm of the gradient; 0: no clipping
    config.optim.warmup_steps = 200  # from 0; then a cosine down to 0 at the last step

    config.train = ConfigDict()
    config.train.batch_size = 32  # over all devices
    config.train.steps = 20000
    config.train.ema = 0.999  # decay of averages of the weights, which are evaluated and kept; 0: none
    config.train.evaluate_steps = 500  # steps between evaluations on the held-out faces
    config.train.eval_batch_size = 32
    config.train.eval_frames = 0  # held-out faces of the corpus, evenly spaced, at most; 0: all
    config.train.checkpoint_steps = 500
    config.train.loggers = ("tensorboard",)  # beside metrics.jsonl; also "csv" and "wandb"
    return config


def split_overrides(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take `--config.KEY=VALUE`, or `--config.KEY VALUE`, out of a command line.

    Returns:
      The other words; and the overrides, each `--config.KEY=VALUE`, their keys spelled with `_`.
    """
    rest, overrides = [], []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if not name.startswith("--config."):
            rest.append(word)
            continue
        value = value if equals else next(left, "")
        overrides.append(f"{name.replace('-', '_').replace('__', '--', 1)}={value}")
    return rest, overrides


def load(words: str, overrides: Sequence[str]) -> Config:
    """Load a configuration by its name or file, and change keys of it.

    Args:
      words: As for `--config`: NAME or FILE, with arguments after a colon.
      overrides: `--config.KEY=VALUE`.

    Raises:
      ConfigError: It cannot be loaded, is not a student's, or has no such key; or a value is of another type.
    """
    name, colon, arguments = words.partition(":")
    config = defaults.check_config(name, arguments if colon else None, of_student=True)
    command_line.check_overrides(overrides, config)
    for word in overrides:
        key, _, text = word.removeprefix("--config.").partition("=")
        section, _, last = key.rpartition(".")
        owner = functools.reduce(lambda part, name: part[name], filter(None, section.split(".")), config)
        owner[last] = _parsed(word, text, owner[last])
    return config


def _parsed(word: str, text: str, old: Any) -> Any:  # noqa: ANN401 - whatever a key holds
    """Parse a value by the type of the one that it replaces."""
    if isinstance(old, str):
        return text
    expected = type(old).__name__
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(old, int | float):
            return type(old)(text)
        value = ast.literal_eval(text)
    except (ValueError, KeyError, SyntaxError) as error:
        raise ConfigError(f"{word}: expected a value of type {expected}, such as {old!r}") from error
    return tuple(value) if isinstance(value, list | tuple) else (value,)

"""Every configuration file: its words, its arguments, and that a network and a step come of it."""

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from configs import base
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.optimizer import OptimConfig

FILES = sorted(set(Path(base.__file__).parent.glob("*.py")) - {Path(base.__file__).with_name("__init__.py")})
EXPERIMENTS = [file.stem for file in FILES if file.stem != "base"]
REAL = ["bp4d", "disfa"]


def _module(name):
    return importlib.import_module(f"configs.{name}")


def test_all_are_tested():
    """The files that the README speaks of."""
    assert set(EXPERIMENTS) >= {"demo", "tiny", "disfa", "bp4d"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_opens_and_builds(name):
    """Network, step and schedule, for the corpus that it names."""
    config = _module(name).get_config()
    own = tuple(row[0] for row in config.centres)
    aus = CORPUS_AUS.get(config.data.corpus.removeprefix("synthetic_"), (1, 12, *own))
    step = config_lib.step_config(config, aus)
    assert len(step.centres) == len(aus)
    assert config_lib.schedule(config, 100_000).total == config.train.epochs * config.train.steps_per_epoch
    config_lib.check_divides(config, 1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_has_no_key_of_its_own(name):
    """Values differ between experiments, keys do not; nor does a key's type."""
    ours, others = (dict(_leaves(c)) for c in (base.get_config().to_dict(), _module(name).get_config().to_dict()))
    assert ours.keys() == others.keys()
    assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in others.items()}


def _leaves(values, prefix=""):
    for key, value in values.items():
        yield from _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_says_its_command_and_what_to_expect(name):
    """The command names the file; arguments in it are ones that the file takes."""
    words = _module(name).__doc__ or ""
    command = re.search(rf"^    python -m fgnet_jax.train --config configs/{name}\.py(:\S+)?", words, re.MULTILINE)
    assert command, words
    if command[1]:
        _module(name).get_config(command[1][1:])
    assert re.search(r"Expect|Published", words)


@pytest.mark.parametrize("name", REAL)
def test_the_published_recipe(name):
    """Every value that FG-Net was trained with."""
    config = _module(name).get_config()
    assert config.optim.to_dict() == {
        "name": "adamw",
        "lr": 5e-5,
        "lr_encoder": -1.0,
        "lr_generator": -1.0,
        "lr_interpreter": -1.0,
        "weight_decay": 5e-4,
        "clip": 0.1,
        "warmup_steps": 0,
        "schedule": "constant",
    }
    train = config.train
    assert (train.batch_size, train.epochs, train.steps_per_epoch, train.accumulate) == (16, 15, 500, 1)
    assert (train.flip, train.colour, train.patience) == (False, 0.0, 0)
    assert (config.model.dropout, config.model.interpreter, config.seed) == (0.1, "pyramid", 0)
    assert config.data.corpus == name and config.init_from


@pytest.mark.parametrize("name", REAL)
def test_the_network_and_optimiser_are_the_published_ones(name):
    """The defaults of the code and of the configuration files are one."""
    config = _module(name).get_config()
    assert config_lib.model_config(config) == ModelConfig()
    assert config_lib.optim_config(config) == OptimConfig()
    assert {field.name for field in dataclasses.fields(ModelConfig)} == set(config.model)
    assert {field.name for field in dataclasses.fields(OptimConfig)} == set(config.optim)


def test_arguments_of_the_published_protocol():
    """fold, samples and select_on; the name, and so the default workdir, tells runs apart."""
    config = _module("disfa").get_config("fold=2,samples=100,select_on=test")
    assert (config.data.fold, config.data.samples, config.train.select_on) == (2, 100, "test")
    words = (None, "fold=1", "samples=100", "samples=100,updates=equal", "select_on=test")
    assert len({_module("disfa").get_config(a).name for a in words}) == 5


def test_updates_of_few_samples():
    """Published: 15 epochs of what the faces make; equal: as many as with all faces."""
    for words, total in (("samples=100", 15 * 6), ("samples=100,updates=equal", 7500), ("samples=10000", 7500)):
        config = _module("bp4d").get_config(words)
        assert config_lib.schedule(config, config.data.samples).total == total


def test_a_corpus_of_ones_own():
    """Which, which fold, and what it is trained together with; the name tells them apart."""
    config = _module("own").get_config("corpus=mine,fold=2,with_=disfa")
    assert (config.data.corpus, config.data.fold, config.data.also_train) == ("mine", 2, ("disfa",))
    assert config.name == "mine_f2_with_disfa" != _module("own").get_config("corpus=mine,fold=2").name


def test_argument_of_the_tiny_one():
    """Steps an epoch."""
    assert _module("tiny").get_config("steps=7").train.steps_per_epoch == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fld=1", "expected key=value with a key of fold, samples, select_on, updates"),
        ("updates=many", "updates=many: expected published or equal"),
        ("fold", "expected key=value"),
        ("fold=one", "fold must be of type int"),
    ],
)
def test_wrong_arguments_are_refused(text, message):
    """Naming those that there are."""
    with pytest.raises(ValueError, match=message):
        _module("bp4d").get_config(text)

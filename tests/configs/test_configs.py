"""Every configuration: its docstring, its arguments, and that it describes a network and a step."""

import dataclasses
import re
from pathlib import Path

import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import defaults, optimizer
from fgnet_jax.train.optimizer import OptimConfig

EXPERIMENTS = list(defaults.config_files())
REAL = ["bp4d", "disfa"]
ROOT = Path(__file__).parents[2]


def test_all_are_tested():
    """The files of the checkout, those that the README speaks of among them."""
    assert set(EXPERIMENTS) >= {"demo", "tiny", "disfa", "bp4d"}
    assert {file.parent for file in defaults.config_files().values()} == {ROOT / "configs"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_opens_and_builds(name):
    """Network, step and schedule, for the corpus that it names."""
    config = defaults.load_config_file(name).get_config()
    own = tuple(row[0] for row in config.centres)
    aus = CORPUS_AUS.get(config.data.corpus.removeprefix("synthetic_"), (1, 12, *own))
    step = config_lib.step_config(config, aus)
    assert len(step.centres) == len(aus)
    assert config_lib.schedule(config, 100_000).total == config.train.epochs * config.train.steps_per_epoch
    config_lib.check_divides(config, 1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_has_no_key_of_its_own(name):
    """Values differ between experiments, keys do not; nor does a key's type."""
    base, own = (
        dict(_leaves(c))
        for c in (defaults.get_config().to_dict(), defaults.load_config_file(name).get_config().to_dict())
    )
    assert base.keys() == own.keys()
    assert {key: type(value) for key, value in base.items()} == {key: type(value) for key, value in own.items()}


def _leaves(values, prefix=""):
    for key, value in values.items():
        yield from _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_names_its_command_and_what_to_expect(name):
    """The command names the configuration; arguments in it are ones that the configuration takes."""
    words = defaults.load_config_file(name).__doc__ or ""
    command = re.search(rf"^    fgnet-jax train --config {name}(:\S+)?", words, re.MULTILINE)
    assert command, words
    if command[1]:
        defaults.load_config_file(name).get_config(command[1][1:])
    assert re.search(r"Expect|Published", words)


@pytest.mark.parametrize("name", REAL)
def test_the_published_recipe(name):
    """Every value that FG-Net was trained with."""
    config = defaults.load_config_file(name).get_config()
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
        "options": (),
        "layer_decay": 1.0,
        "frozen": (),
    }
    assert config.loss.to_dict() == {"positive_weight": "none", "focal": 0.0} and config.data.sampler == "shuffled"
    train = config.train
    assert (train.batch_size, train.epochs, train.steps_per_epoch, train.accumulate) == (16, 15, 500, 1)
    assert (train.flip, train.colour, train.patience, train.ema) == (False, 0.0, 0, 0.0)
    assert (config.model.dropout, config.model.interpreter, config.seed) == (0.1, "pyramid", 0)
    assert config.data.corpus == name and config.init_from


@pytest.mark.parametrize("name", REAL)
def test_the_network_and_optimiser_are_the_published_ones(name):
    """The defaults of the code and of the configurations are the same."""
    config = defaults.load_config_file(name).get_config()
    assert config_lib.model_config(config) == ModelConfig()
    assert config_lib.optim_config(config) == OptimConfig()
    assert {field.name for field in dataclasses.fields(ModelConfig)} == set(config.model)
    assert {field.name for field in dataclasses.fields(OptimConfig)} == set(config.optim)


def test_arguments_of_the_published_protocol():
    """fold, samples and select_on; the name, and so the default workdir, tells runs apart."""
    config = defaults.load_config_file("disfa").get_config("fold=2,samples=100,select_on=test")
    assert (config.data.fold, config.data.samples, config.train.select_on) == (2, 100, "test")
    arguments = (None, "fold=1", "samples=100", "samples=100,updates=equal", "select_on=test")
    assert len({defaults.load_config_file("disfa").get_config(a).name for a in arguments}) == 5


def test_updates_of_few_samples():
    """Published: 15 epochs of as many batches as there are; equal: as many updates as with all faces."""
    for words, total in (("samples=100", 15 * 6), ("samples=100,updates=equal", 7500), ("samples=10000", 7500)):
        config = defaults.load_config_file("bp4d").get_config(words)
        assert config_lib.schedule(config, config.data.samples).total == total


def test_your_own_corpus():
    """Which, which fold, and what it is trained together with; the run's name differs."""
    config = defaults.load_config_file("own").get_config("corpus=mine,fold=2,with_=disfa")
    assert (config.data.corpus, config.data.fold, config.data.also_train) == ("mine", 2, ("disfa",))
    assert config.name == "mine_f2_with_disfa" != defaults.load_config_file("own").get_config("corpus=mine,fold=2").name


def test_fine_tuning():
    """From published weights or others; the input of the encoder and the mapping network are frozen."""
    config = defaults.load_config_file("finetune").get_config("corpus=mine,weights=bp4d,fold=1")
    assert (config.data.corpus, config.data.fold, config.init_from) == ("mine", 1, "weights/fgnet_bp4d")
    other = defaults.load_config_file("finetune").get_config("corpus=mine,weights=runs/a/best,fold=1")
    assert other.init_from == "runs/a/best" and (config.name, other.name) == ("mine_from_bp4d_f1", "mine_from_best_f1")
    optim = config_lib.step_config(config, (1, 12)).optim
    paths = list(fgnet.abstract(config_lib.model_config(config)).params)
    frozen = {path for path in paths if not optimizer.is_trained(path, optim)}
    assert {"encoder/input_conv/kernel", "encoder/body/6/conv1/kernel", "generator/mapping/0/kernel"} <= frozen
    assert not {"encoder/body/7/conv1/kernel", "generator/constant", "interpreter/output/kernel"} & frozen
    assert optim.trained == ("encoder", "generator", "interpreter") and optim.warmup_steps == 200
    factors = optimizer.layer_factors(tuple(set(paths) - frozen), optim.layer_decay)
    assert factors["interpreter/output/kernel"] == 1 and 0.1 < factors["encoder/body/7/conv1/kernel"] < 0.3


def test_argument_of_the_tiny_one():
    """Steps an epoch."""
    assert defaults.load_config_file("tiny").get_config("steps=7").train.steps_per_epoch == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fld=1", "expected key=value with a key of fold, seed, samples, select_on, updates"),
        ("updates=many", "updates=many: expected published or equal"),
        ("fold", "expected key=value"),
        ("fold=0,fold=2", "fold is given twice"),
        ("fold=one", "fold must be of type int"),
        ("fold=all", "fold must be of type int; of several runs, one each"),
    ],
)
def test_wrong_arguments_are_refused(text, message):
    """With the keys that there are."""
    with pytest.raises(ValueError, match=message):
        defaults.load_config_file("bp4d").get_config(text)


def test_a_file_is_loaded_by_its_path(tmp_path):
    """It builds on a configuration by that one's name; a file may be called as a configuration is."""
    text = "from fgnet_jax.train import defaults\n\ndef get_config():\n"
    text += "    config = defaults.load_config_file('tiny').get_config()\n    config.seed = 7\n    return config\n"
    (tmp_path / "tiny.py").write_text(text)
    assert defaults.load_config_file(str(tmp_path / "tiny.py")).get_config().seed == 7
    assert defaults.load_config_file("tiny").get_config().seed == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dmo", "--config dmo: there is no such file; did you mean --config demo\\?"),
        ("nowhere/bp4d.py", "--config nowhere/bp4d.py: there is no such file; did you mean --config bp4d\\?"),
        ("nowhere", "configurations with a name: bp4d, demo, disfa, finetune, own, synthetic, tiny"),
    ],
)
def test_a_configuration_that_does_not_exist_is_refused(name, message):
    """With the nearest name, or with all."""
    with pytest.raises(defaults.ConfigError, match=message):
        defaults.load_config_file(name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nosuchmodule", "line 1: ModuleNotFoundError: No module named 'nosuchmodule'"),
        (
            "from configs import base",
            "line 1: .*a configuration imports fgnet_jax.train.defaults, which was configs.base",
        ),
        ("x = 1\ndef get_config(:", "line 2: SyntaxError: invalid syntax"),
        ("x = 1", "expected a function get_config"),
        ("def get_config():\n    return {}['foo']", "line 2: KeyError: 'foo'"),
        ("def get_config():\n    raise ValueError('fold is 7: expected 0 to 2')", "^fold is 7: expected 0 to 2"),
    ],
)
def test_a_file_that_raises_is_refused_in_a_line(tmp_path, source, message):
    """Naming file and line; a ValueError is the file's own word to its user."""
    (tmp_path / "mine.py").write_text(source + "\n")
    with pytest.raises(defaults.ConfigError, match=message) as caught:
        defaults.check_config(str(tmp_path / "mine.py"), None)
    assert "mine.py" in str(caught.value) or source.count("ValueError")


def test_arguments_for_a_configuration_that_takes_none_are_refused(tmp_path):
    """In words, not by Python's."""
    (tmp_path / "my.py").write_text("from fgnet_jax.train.defaults import get_config\n")
    with pytest.raises(defaults.ConfigError, match="my.py:fold=1: this configuration takes no arguments"):
        defaults.check_config(str(tmp_path / "my.py"), "fold=1")


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name != "own"])
def test_fold_and_seed_name_the_run_and_leave_the_data_alone(name):
    """Seed 0 has the name that it had when there was no other; what the data are is drawn by another seed."""
    get_config = defaults.load_config_file(name).get_config
    first, second = get_config(), get_config("fold=1,seed=2")
    assert (second.seed, second.data.fold, second.data.seed, first.data.seed) == (2, 1, 0, 0)
    assert second.name.endswith("_f1_s2") and "_s" not in first.name.removeprefix("synthetic")
    assert get_config("fold=1").name == second.name.removesuffix("_s2")


def test_a_file_that_is_no_python_is_refused(tmp_path):
    """Naming what is expected."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(defaults.ConfigError, match="config.json: expected a Python file"):
        defaults.load_config_file(str(tmp_path / "config.json"))

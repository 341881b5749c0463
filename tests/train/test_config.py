"""From configuration to what a program is compiled for; what cannot be run is refused by name."""

import dataclasses
import json

import pytest

from configs import base, tiny
from fgnet_jax.aus import CENTRES, CORPUS_AUS, Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.config import ConfigError

AUS = CORPUS_AUS["bp4d"]


def _config(**changes):
    config = tiny.get_config()
    config.update_from_flattened_dict(changes)
    return config


def test_a_negative_rate_means_the_common_one():
    """And 0 freezes."""
    optim = config_lib.optim_config(_config(**{"optim.lr_encoder": 0.0, "optim.lr_interpreter": 1e-2}))
    assert (optim.lr_encoder, optim.lr_generator, optim.lr_interpreter) == (0.0, None, 1e-2)
    assert optim.trained == ("generator", "interpreter")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.num_heatmaps": 8}, "model.num_heatmaps is 8, but the corpus has 12 AUs"),
        ({"model.image_size": 48}, "model: image_size must be a power of two, got 48"),
        ({"model.heatmap_size": 64}, "model.heatmap_size 64 is larger than what the generator makes, 32"),
        ({"model.dtype": "float64"}, "model.dtype must be one of float32, bfloat16, got 'float64'"),
        ({"model.precision": "tf32"}, "model: precision must be one of default, high, highest, got 'tf32'"),
        ({"train.select_on": "val"}, 'train.select_on must be "held_out" or "test", got \'val\''),
        ({"optim.schedule": "step"}, 'optim: optim.schedule must be "constant" or "cosine"'),
        ({"optim.lr": 0.0}, "nothing would be trained"),
    ],
)
def test_what_fits_nothing_is_refused(changes, message):
    """With the key and what was expected."""
    with pytest.raises(ConfigError, match=message):
        config_lib.step_config(_config(**changes), AUS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.batch_size": 12}, "train.batch_size 12 does not divide over 8 devices"),
        ({"train.accumulate": 2}, "train.batch_size 8 in 2 parts .* does not divide over 8 devices"),
        ({"train.eval_batch_size": 4}, "train.eval_batch_size 4 does not divide over 8 devices"),
        ({"train.accumulate": 0}, "train.accumulate must be at least 1, got 0"),
        ({"train.checkpoint_steps": 0}, "train.checkpoint_steps must be at least 1, got 0"),
    ],
)
def test_batches_divide_over_devices(changes, message):
    """Eight of them."""
    config_lib.check_divides(_config(), 8)
    with pytest.raises(ConfigError, match=message):
        config_lib.check_divides(_config(**changes), 8)


def test_epochs_are_as_long_as_the_faces_last():
    """The published 500 batches of 16 at most; fewer faces make shorter epochs, and none a refusal."""
    config = base.get_config()
    assert config_lib.schedule(config, 100_000) == config_lib.Schedule(500, 7500, 500)
    assert config_lib.schedule(config, 100) == config_lib.Schedule(6, 90, 6)
    with pytest.raises(ConfigError, match="15 faces to train on do not fill one batch of 16"):
        config_lib.schedule(config, 15)


def test_labels_are_brought_into_the_networks_order():
    """DISFA's faces for a network of BP4D's AUs: columns by AU number, -1 for what DISFA lacks."""
    disfa = Corpus("disfa", CORPUS_AUS["disfa"], (), ())
    loading = config_lib.loader_config(_config(), 8, disfa, AUS)
    assert loading.columns == (0, 1, 2, 3, -1, -1, 5, -1, -1, -1, -1, -1)
    assert (loading.batch_size, loading.image_size) == (8, 32)


def test_centres_of_further_aus_stand_in_the_configuration():
    """Beside the published ones, or in place of them."""
    rows = ((43, (37, 38), (43, 44), 0.0), (12, [48], [54], 0.25))
    places = config_lib.centres(_config(centres=rows), (1, 43, 12))
    assert places == (CENTRES[1], Centres((37, 38), (43, 44)), Centres((48,), (54,), 0.25))
    step = config_lib.step_config(_config(centres=rows), (1, 43))
    assert step.centres[1].first == (37, 38)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "no heatmap centres are known for AU 43; known: .*; give others in config.centres"),
        (((43, (37, 38), (43, 44)),), "is not \\(AU, landmarks of one centre, of the other, how far down\\)"),
        (((43, (37, 68), (43,), 0.0),), "names landmarks out of 0 to 67, or none"),
        (((43, (), (43,), 0.0),), "names landmarks out of 0 to 67, or none"),
        ((43,), "centres: 43 is not"),
    ],
)
def test_centres_that_make_no_sense_are_refused(rows, message):
    """With what a row looks like."""
    with pytest.raises(ConfigError, match=message):
        config_lib.centres(_config(centres=rows), (1, 43))


def test_differences_are_told_by_key():
    """Nested ones, absent ones."""
    lines = config_lib.differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5})
    assert lines == ["a.c: 2 there, 4 here", "d: 3 there, None here", "e: None there, 5 here"]


def test_a_workdir_is_gone_on_with_by_its_own_configuration_only(tmp_path):
    """What changes no number may differ, such as where the data lie or how often is saved."""
    config_lib.check_same(_config(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(_config().to_dict()))
    config_lib.check_same(_config(), tmp_path)
    neutral = {"data.dir": "/elsewhere", "train.checkpoint_steps": 9, "train.shard_params": True, "data.threads": 7}
    assert set(neutral) == set(config_lib.RESUMABLE_KEYS)
    config_lib.check_same(_config(**neutral), tmp_path)
    with pytest.raises(ConfigError, match="begun with another configuration.*\n  train.epochs: 2 there, 3 here$"):
        config_lib.check_same(_config(**{"train.epochs": 3}), tmp_path)


@pytest.mark.parametrize(
    ("argument", "near"),
    [("--config.optim.lrr=1", "optim.lr"), ("--config.traim.epochs", "train.epochs"), ("-config.sed=3", "seed")],
)
def test_a_wrong_key_is_refused_with_the_nearest(argument, near):
    """A right one, and other flags, pass."""
    config_lib.check_overrides(["train", "--config.optim.lr=1", "--workdir=x"], _config())
    with pytest.raises(ConfigError, match=f"there is no such key; did you mean --config.{near}\\?"):
        config_lib.check_overrides(["train", argument], _config())


def test_absls_tracebacks_are_left_out():
    """Its message quotes one where a configuration file raised."""
    quoted = "flag --config=x:\nTraceback (most recent call last):\n  File\nValueError: expected key=value\n"
    assert str(config_lib.without_traceback(ValueError(quoted))) == "expected key=value"
    assert str(config_lib.without_traceback(ValueError("Unknown flag"))) == "Unknown flag"


def test_a_refusal_is_one_line_and_status_2(capsys):
    """On standard error."""
    with pytest.raises(SystemExit) as ended:
        config_lib.exit_with(ConfigError("train.epochs must be at least 1"))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: train.epochs must be at least 1\n"


def test_the_step_is_compiled_for_what_the_configuration_says():
    """Beside the network and optimiser: accumulation and augmentation."""
    changes = {"train.accumulate": 4, "train.flip": True, "train.colour": 0.2}
    step = config_lib.step_config(_config(**changes), AUS)
    assert (step.accumulate, step.flip, step.colour, len(step.centres)) == (4, True, 0.2, 12)
    assert step.model == dataclasses.replace(config_lib.model_config(_config()))

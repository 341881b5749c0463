"""From a configuration to what programs are compiled for; what cannot be run is refused by name."""

import dataclasses
import json

import pytest

from fgnet_jax.aus import CENTRES, CORPUS_AUS, Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import defaults
from fgnet_jax.train.config import ConfigError
from tests.train import tiny

AUS = CORPUS_AUS["bp4d"]


def test_a_negative_rate_means_the_common_one():
    """And 0 freezes."""
    optim = config_lib.optim_config(tiny.config(**{"optim.lr_encoder": 0.0, "optim.lr_interpreter": 1e-2}))
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
        ({"model.remat": "twice"}, 'model: remat "twice" was removed: use "blocks", and train.accumulate'),
        ({"train.select_on": "val"}, 'train.select_on must be "held_out" or "test", got \'val\''),
        ({"optim.schedule": "step"}, 'optim: optim.schedule must be "constant" or "cosine"'),
        ({"optim.lr": 0.0}, "nothing would be trained"),
    ],
)
def test_what_cannot_be_run_is_refused(changes, message):
    """With the key and what is expected."""
    with pytest.raises(ConfigError, match=message):
        config_lib.step_config(tiny.config(**changes), AUS)


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
    config_lib.check_divides(tiny.config(), 8)
    with pytest.raises(ConfigError, match=message):
        config_lib.check_divides(tiny.config(**changes), 8)


def test_epochs_are_as_long_as_the_faces_last():
    """The published 500 batches of 16 at most; fewer faces make shorter epochs, and less than a batch is refused."""
    config = defaults.get_config()
    assert config_lib.schedule(config, 100_000) == config_lib.Schedule(500, 7500, 500)
    assert config_lib.schedule(config, 100) == config_lib.Schedule(6, 90, 6)
    with pytest.raises(ConfigError, match="15 faces to train on do not fill one batch of 16"):
        config_lib.schedule(config, 15)


def test_labels_are_reordered_for_the_network():
    """DISFA's faces for a network of BP4D's AUs: columns by AU number, -1 for what DISFA lacks."""
    disfa = Corpus("disfa", CORPUS_AUS["disfa"], (), ())
    loader = config_lib.loader_config(tiny.config(), batch_size=8, corpus=disfa, aus=AUS)
    assert loader.columns == (0, 1, 2, 3, -1, -1, 5, -1, -1, -1, -1, -1)
    assert (loader.batch_size, loader.image_size) == (8, 32)


def test_the_configuration_can_have_custom_centres():
    """Of further AUs, or in place of the published ones."""
    rows = ((43, (37, 38), (43, 44), 0.0), (12, [48], [54], 0.25))
    places = config_lib.centres(tiny.config(centres=rows), (1, 43, 12))
    assert places == (CENTRES[1], Centres((37, 38), (43, 44)), Centres((48,), (54,), 0.25))
    step = config_lib.step_config(tiny.config(centres=rows), (1, 43))
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
def test_wrong_centres_are_refused(rows, message):
    """With what a row must look like."""
    with pytest.raises(ConfigError, match=message):
        config_lib.centres(tiny.config(centres=rows), (1, 43))


def test_differences_are_listed_by_key():
    """Nested ones and absent ones."""
    lines = config_lib.differences({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5})
    assert lines == ["a.c: 2 there, 4 here", "d: 3 there, None here", "e: None there, 5 here"]


def test_a_workdir_is_resumed_with_its_own_configuration_only(tmp_path):
    """What changes no number may differ, such as the data folder or how often checkpoints are saved."""
    config_lib.check_same(tiny.config(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny.config().to_dict()))
    config_lib.check_same(tiny.config(), tmp_path)
    resumable = {"data.dir": "/elsewhere", "train.checkpoint_steps": 9, "train.shard_params": True, "data.threads": 7}
    resumable |= {"init_fold": 2}
    assert set(resumable) == set(config_lib.RESUMABLE_KEYS)
    config_lib.check_same(tiny.config(**resumable), tmp_path)
    with pytest.raises(ConfigError, match="begun with another configuration.*\n  train.epochs: 2 there, 3 here$"):
        config_lib.check_same(tiny.config(**{"train.epochs": 3}), tmp_path)


def test_a_workdir_begun_before_a_key_existed_is_resumed(tmp_path):
    """Its value was the default; another one is another configuration."""
    stored = tiny.config().to_dict()
    del stored["init_from"], stored["train"]["patience"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    config_lib.check_same(tiny.config(), tmp_path)
    with pytest.raises(ConfigError, match="\n  train.patience: 0 there, 3 here$"):
        config_lib.check_same(tiny.config(**{"train.patience": 3}), tmp_path)


@pytest.mark.parametrize("text", ['{"seed": 0', "[1, 2]", "\x00\x80", '{"model": 3}'])
def test_a_damaged_configuration_of_a_workdir_is_named(tmp_path, text):
    """In one line, with what to do."""
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"^\S*/config\.json: .*give another --workdir$"):
        config_lib.check_same(tiny.config(), tmp_path)


def test_the_step_is_compiled_for_what_the_configuration_says():
    """Beside the network and optimiser: accumulation and augmentation."""
    changes = {"train.accumulate": 4, "train.flip": True, "train.colour": 0.2}
    step = config_lib.step_config(tiny.config(**changes), AUS)
    assert (step.accumulate, step.flip, step.colour, len(step.centres)) == (4, True, 0.2, 12)
    assert step.model == dataclasses.replace(config_lib.model_config(tiny.config()))


def test_a_workdir_elsewhere_is_refused():
    """A bucket's address would become a folder of that name."""
    with pytest.raises(ConfigError, match="gs://bucket/run.*mounted"):
        config_lib.folder("gs://bucket/run")


def test_a_workdir_begun_with_a_removed_rematerialisation_is_refused(tmp_path):
    """With what to use instead, whatever the configuration is now."""
    (tmp_path / "config.json").write_text(json.dumps(tiny.config(**{"model.remat": "twice"}).to_dict()))
    for remat in ("twice", "blocks"):
        with pytest.raises(ConfigError, match='was begun with model.remat "twice".*use "blocks", and train.accumulate'):
            config_lib.check_same(tiny.config(**{"model.remat": remat}), tmp_path)

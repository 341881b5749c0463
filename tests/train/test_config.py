"""From a configuration to what programs are compiled for; what cannot be run is refused by name."""

import dataclasses
import json

import numpy as np
import pytest

from fgnet_jax.aus import CENTRES, CORPUS_AUS, Centres
from fgnet_jax.data.corpus import Corpus
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import defaults, weighting
from fgnet_jax.train.config import ConfigError
from fgnet_jax.train.losses import LossConfig
from tests.train import tiny

AUS = CORPUS_AUS["bp4d"]


def test_a_negative_rate_means_the_common_one():
    """And 0 freezes."""
    optim = config_lib.optim_config(tiny.config(**{"optim.lr_encoder": 0.0, "optim.lr_interpreter": 1e-2}))
    assert (optim.lr_encoder, optim.lr_generator, optim.lr_interpreter) == (0.0, None, 1e-2)
    assert optim.trained == ("generator", "interpreter")


def test_a_part_that_is_frozen_by_the_name_of_its_folder_is_frozen_whole():
    """Its BatchNorm, too."""
    for name in ("encoder", "encoder/"):
        optim = config_lib.optim_config(tiny.config(**{"optim.frozen": (name, "generator/mapping/")}))
        assert optim.trained == ("generator", "interpreter")
        assert optim.frozen == ("encoder", "generator/mapping")


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
        ({"optim.name": "adamx"}, 'optim: optim.name must be "adamw" .* did you mean "adamax"'),
        ({"optim.options": (("epss", 0.5),)}, "optim: optim.options: optax.adamw has no argument 'epss'; did you mean"),
        ({"optim.options": ("b1", 0.5)}, "optim: optim.options: .* is not rows of \\(name, value\\)"),
        ({"optim.options": (("b1", 0.5), ("b1", 0.9))}, "optim.options: 'b1' is named twice"),
        ({"optim.options": (("b1", "high"),)}, "optim.options: optax.adamw does not take {'b1': 'high'}"),
        ({"optim.options": (("mask", {"a": True}),)}, "optim.options: optax.adamw does not take {'mask': {'a': True}}"),
        ({"optim.lr": float("nan")}, "optim: optim.lr must be a finite number, at least 0, got nan"),
        ({"optim.lr_encoder": float("inf")}, "optim: optim.lr_encoder must be a finite number, at least 0, got inf"),
        ({"optim.clip": -1.0}, "optim: optim.clip must be at least 0, got -1.0"),
        ({"optim.weight_decay": float("nan")}, "optim: optim.weight_decay must be at least 0, got nan"),
        ({"optim.warmup_steps": -1}, "optim: optim.warmup_steps must be at least 0, got -1"),
        ({"optim.layer_decay": 0.0}, "optim.layer_decay must be above 0, and 1 at most, got 0.0"),
        (
            {"optim.frozen": ("encoder/bodies",)},
            "the network has no module 'encoder/bodies'; did you mean 'encoder/body'",
        ),
        ({"optim.frozen": ("encoder", "generator", "interpreter")}, "nothing would be trained"),
        ({"train.select_metric": "accuracy"}, "train.select_metric must be one of f1, auc, average_precision, bal"),
        ({"train.ema": 1.0}, "train.ema must be at least 0, for none, and below 1, got 1.0"),
        ({"loss.focal": -1.0}, "loss.focal must be at least 0, got -1.0"),
        ({"loss.positive_weight": "balanced"}, "loss.positive_weight: expected .*rows of .* got 'balanced'"),
        ({"loss.positive_weight": ((2, 8.0, 1),)}, "loss.positive_weight: expected"),
        ({"loss.positive_weight": ((3, 8.0),)}, "loss.positive_weight: AU 3 is not trained; trained are 1, 2, 4"),
        ({"loss.positive_weight": ((2, 0.0),)}, "the weight of AU 2 must be above 0, got 0.0"),
        ({"loss.positive_weight": ((2, 1.0), (2, 3.0))}, "an AU is named twice"),
        ({"data.sampler": "even"}, 'data.sampler must be "shuffled" or "balanced", got \'even\''),
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
        ({"train.keep_best": 0}, "train.keep_best must be at least 1, got 0"),
        ({"train.patience": -1}, "train.patience must be at least 0, got -1"),
        ({"train.eval_frames": -1}, "train.eval_frames must be at least 0, got -1"),
        ({"train.evaluate_steps": -1}, "train.evaluate_steps must be at least 0, for epochs' ends, got -1"),
    ],
)
def test_batches_divide_over_devices(changes, message):
    """Eight of them."""
    config_lib.check_divides(tiny.config(), 8)
    with pytest.raises(ConfigError, match=message):
        config_lib.check_divides(tiny.config(**changes), 8)


@pytest.mark.parametrize(("key", "seed"), [("seed", -1), ("seed", 2**32), ("data.seed", -1)])
def test_seeds_that_are_like_others_are_refused(key, seed):
    """JAX takes 2**32 for 0: two runs that were meant to differ would drop out and augment alike."""
    config_lib.check_seeds(tiny.config(**{"seed": 2**32 - 1, "data.seed": 0}))
    with pytest.raises(ConfigError, match=rf"^{key} must be at least 0 and below 2\*\*32, got {seed}$"):
        config_lib.check_seeds(tiny.config(**{key: seed}))


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
    resumable |= {"init_fold": 2, "train.loggers": ("csv",)}
    assert set(resumable) == set(config_lib.RESUMABLE_KEYS)
    config_lib.check_same(tiny.config(**resumable), tmp_path)
    with pytest.raises(ConfigError, match="begun with another configuration.*\n  train.epochs: 2 there, 3 here$"):
        config_lib.check_same(tiny.config(**{"train.epochs": 3}), tmp_path)


def test_epochs_are_added_at_a_constant_rate_alone(tmp_path):
    """With a line that says so; with a cosine, the way to go on is named. Nothing else may differ, nor be less."""
    constant = {"optim.schedule": "constant"}
    (tmp_path / "config.json").write_text(json.dumps(tiny.config(**constant).to_dict()))
    assert config_lib.check_same(tiny.config(**constant), tmp_path) == ""
    line = config_lib.check_same(tiny.config(**constant, **{"train.epochs": 3}), tmp_path)
    assert line == f"{tmp_path} was begun for 2 epochs, and goes on to 3 now"
    for changes in ({"train.epochs": 1}, {"train.epochs": 3, "seed": 1}):
        with pytest.raises(ConfigError, match="another configuration; give another --workdir\n"):
            config_lib.check_same(tiny.config(**constant, **changes), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(tiny.config().to_dict()))
    with pytest.raises(ConfigError, match="init_from=.*/best .*epochs can be added at a constant rate alone: a cosine"):
        config_lib.check_same(tiny.config(**{"train.epochs": 3}), tmp_path)


def test_evaluations_and_their_steps():
    """At epochs' ends, or at multiples of a number of steps; always after the last step."""
    epochs, often = config_lib.Schedule(5, 15, 5), config_lib.Schedule(5, 15, 5, evaluate_steps=4)
    assert [step for step in range(1, 16) if epochs.evaluates(step)] == [5, 10, 15]
    assert [step for step in range(1, 16) if often.evaluates(step)] == [4, 8, 12, 15]
    assert config_lib.schedule(tiny.config(**{"train.evaluate_steps": 7}), 100).evaluate_steps == 7


def test_the_loss_is_weighted_as_configured():
    """By the labels of the training faces, or by rows; without labels, a program of the same size."""
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, -1]], np.int8)
    by_frequency = tiny.config(**{"loss.positive_weight": "inverse_frequency", "loss.focal": 2.0})
    assert config_lib.step_config(by_frequency, (1, 4), labels).loss == LossConfig((3.0, 2.0), 2.0)
    assert config_lib.step_config(by_frequency, (1, 4)).loss.positive_weights == (1.0, 1.0)
    by_rows = tiny.config(**{"loss.positive_weight": ((4, 8),)})
    assert config_lib.step_config(by_rows, (1, 4), labels).loss == LossConfig((1.0, 8.0))
    assert config_lib.step_config(tiny.config(), (1, 4), labels).loss == LossConfig()
    assert weighting.described(LossConfig((1.0, 8.0), 2.0), (1, 4)) == (
        "Weighted loss: positive faces count 1 (AU01), 8 (AU04); focal factor of exponent 2"
    )


def test_a_workdir_begun_before_a_key_existed_is_resumed(tmp_path):
    """Its value was the default; another one is another configuration."""
    stored = tiny.config().to_dict()
    del stored["init_from"], stored["train"]["patience"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    config_lib.check_same(tiny.config(), tmp_path)
    with pytest.raises(ConfigError, match="\n  train.patience: 0 there, 3 here$"):
        config_lib.check_same(tiny.config(**{"train.patience": 3}), tmp_path)


def test_a_workdir_begun_before_data_had_a_seed_keeps_its_data(tmp_path):
    """They were drawn by `seed` then: the same command is the same run with seed 0, and another one with others."""
    stored = tiny.config(**{"seed": 3}).to_dict()
    del stored["data"]["seed"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    config_lib.check_same(tiny.config(**{"seed": 3, "data.seed": 3}), tmp_path)
    with pytest.raises(ConfigError, match="\n  data.seed: 3 there, 0 here$"):
        config_lib.check_same(tiny.config(**{"seed": 3}), tmp_path)


@pytest.mark.parametrize("text", ['{"seed": 0', "[1, 2]", "\x00\x80", '{"model": 3}'])
def test_a_damaged_configuration_of_a_workdir_is_named(tmp_path, text):
    """In one line, with what to do."""
    (tmp_path / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"^\S*/config\.json: .*give another folder$"):
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


def test_the_target_is_presence_or_intensity():
    """The published one unless it is chosen; faces are then loaded with their intensities."""
    corpus = Corpus("disfa", (1, 12), ("fold_0",), ())
    for target in ("presence", "intensity"):
        values = tiny.config(**{"data.target": target})
        assert config_lib.step_config(values, (1, 12)).target == target
        loader = config_lib.loader_config(values, batch_size=8, corpus=corpus, aus=(1, 12))
        assert loader.intensities == (target == "intensity")
    assert tiny.config().data.target == "presence"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.target": "heights"}, 'data.target must be "presence" or "intensity", got \'heights\''),
        (
            {"data.target": "intensity", "train.select_on": "test"},
            'data.target "intensity" needs train.select_on "held_out": .*never on those that are tested',
        ),
    ],
)
def test_a_target_that_cannot_be_trained_is_refused(changes, message):
    """By its key: intensities are calibrated on held-out subjects, who are none where the test fold selects."""
    with pytest.raises(ConfigError, match=message):
        config_lib.step_config(tiny.config(**changes), (1, 12))

"""AUs and length of a run whose corpora may be absent."""

import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.train import defaults, planned, splits
from tests.train import tiny


def published(corpus: str, folder, **changes) -> defaults.Config:
    """The published protocol on a corpus, with changes."""
    config = defaults.published(corpus, None)
    config.update_from_flattened_dict({"data.dir": str(folder)} | changes)
    return config


def test_a_corpus_that_is_there_says_all(tmp_path):
    """The same numbers as the run itself has."""
    config = tiny.short_run(tmp_path)
    data = splits.open_run(config)
    plan = planned.plan(config)
    assert (plan.aus, plan.steps) == (data.aus, 4)
    assert plan.evaluated == 2 * len(data.select.indices) + len(data.test.indices)
    assert plan.remark == f"{len(data.train.indices)} faces to train on"


def test_an_absent_synthetic_corpus_is_not_rendered(tmp_path):
    """Its number of faces is in the configuration."""
    plan = planned.plan(tiny.config(**{"data.dir": str(tmp_path)}))
    assert plan.aus == CORPUS_AUS["bp4d"] and plan.steps == 6
    assert plan.remark == f"synthetic_bp4d is not in {tmp_path}; 51 faces by data.frames, about"
    assert plan.evaluated == 2 * 9 + 30
    assert not list(tmp_path.iterdir())


def test_of_the_published_corpora_the_published_numbers_are_taken(tmp_path):
    """They fill the 500 steps of each of 15 epochs."""
    plan = planned.plan(published("disfa", tmp_path, **{"data.also_train": ("bp4d",)}))
    assert plan.aus == (*CORPUS_AUS["disfa"], 7, 10, 14, 15, 17, 23, 24)
    assert plan.steps == 7500
    assert plan.remark.startswith(f"disfa and bp4d are not in {tmp_path}; ")
    assert plan.remark.endswith(" faces by the published numbers, about")
    frames = folds.PUBLISHED_FRAMES
    others = sum(sum(frames[name][1:]) for name in ("disfa", "bp4d"))
    assert plan.evaluated == 15 * int(0.15 * others) + frames["disfa"][0] + frames["bp4d"][0]


def test_the_test_fold_may_be_evaluated_in_every_epoch(tmp_path):
    """As published; or some of it."""
    assert planned.plan(published("disfa", tmp_path, **{"train.select_on": "test"})).evaluated == 16 * 43545
    some = {"train.select_on": "test", "train.eval_frames": 1000}
    assert planned.plan(published("disfa", tmp_path, **some)).evaluated == 15 * 1000 + 43545


def test_evaluations_between_epochs_are_counted(tmp_path):
    """Every 200 of 320 // 16 * 15 = 300 steps, and after the last one."""
    changes = {"data.samples": 320, "train.select_on": "test", "train.evaluate_steps": 200}
    assert planned.plan(published("disfa", tmp_path, **changes)).evaluated == 2 * 43545 + 43545


def test_a_fold_that_there_is_not_is_refused(tmp_path):
    """As a run would, with what there are."""
    with pytest.raises(defaults.ConfigError, match="data: unknown fold 5: expected 0 to 2"):
        planned.plan(published("bp4d", tmp_path, **{"data.fold": 5}))


def test_a_number_of_samples_is_taken_as_given(tmp_path):
    """320 faces are 20 batches of 16."""
    plan = planned.plan(published("bp4d", tmp_path, **{"data.samples": 320}))
    assert plan.steps == 15 * 20


def test_of_an_unknown_corpus_the_length_is_not_known(tmp_path):
    """AUs of the configuration's own centres are taken beside DISFA's."""
    centres = ((43, (37, 38), (43, 44), 0.0),)
    plan = planned.plan(published("my_corpus", tmp_path, centres=centres))
    assert plan.aus == (*CORPUS_AUS["disfa"], 43) and plan.steps is None
    assert "--config.data.samples=N" in plan.remark


def test_what_cannot_be_run_is_refused(tmp_path):
    """As a run would."""
    with pytest.raises(defaults.ConfigError, match="do not fill one batch of 16"):
        planned.plan(published("bp4d", tmp_path, **{"data.samples": 3}))

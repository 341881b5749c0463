"""The start of a training run: what is refused before anything is rendered or compiled."""

import json

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import files
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.loop import train
from fgnet_jax.train.run import prepare_run
from tests.train import tiny


def test_an_unwritable_workdir_is_refused_before_anything_is_rendered(tmp_path):
    """Not after an hour."""
    (tmp_path / "file").write_text("")
    with pytest.raises(files.NotWritableError, match="cannot write to"):
        train(tiny.short_run(tmp_path / "data"), tmp_path / "file/run")
    assert not (tmp_path / "data").exists()


def test_weights_that_are_damaged_are_refused(tmp_path):
    """And the workdir does not count as begun."""
    config = tiny.short_run(tmp_path / "data", init_from=str(tmp_path / "weights"))
    model = config_lib.model_config(config)
    weights.save(tmp_path / "weights", model, fgnet.init(model), WeightsMeta())
    for file in (tmp_path / "weights/params").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:10])
    with pytest.raises(weights.WeightsError, match="damaged"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run/config.json").exists()


def test_a_removed_rematerialisation_is_refused(tmp_path):
    """Before anything is rendered, with the replacement: in a new workdir, and in one that was begun with it."""
    twice = tiny.short_run(tmp_path / "data", **{"model.remat": "twice"})
    with pytest.raises(config_lib.ConfigError, match='remat "twice" was removed: use "blocks".*train.accumulate'):
        prepare_run(twice, tmp_path / "run")
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run/config.json").write_text(json.dumps(twice.to_dict()))
    for config in (twice, tiny.short_run(tmp_path / "data", **{"model.remat": "blocks"})):
        with pytest.raises(config_lib.ConfigError, match='begun with model.remat "twice".*use "blocks".*accumulate'):
            prepare_run(config, tmp_path / "run")
    assert not (tmp_path / "data").exists()

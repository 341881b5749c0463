"""Networks to evaluate: what is opened, what is known of it, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from fgnet_jax.data.corpus import Corpus
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import runs
from fgnet_jax.evaluate.runs import EvaluatedRun
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train.defaults import ConfigError

TINY = ModelConfig(
    image_size=16,
    encoder_channels=(16, 16, 16),
    encoder_units=(1, 1, 1),
    style_dim=16,
    mapping_layers=1,
    generator_channels=(16, 16, 8, 8),
    heatmap_size=8,
    num_heatmaps=3,
)
META = WeightsMeta(
    aus=(12, 1),
    corpus="disfa",
    extra={"selection": "held out", "step": 7, "trained_on": {"corpus": "disfa", "fold": 2}},
)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    """The workdir of a run: the best weights, and the configuration."""
    folder = tmp_path_factory.mktemp("runs") / "disfa_f2"
    weights.save(folder / "best", TINY, fgnet.init(TINY), META)
    (folder / "config.json").write_text(json.dumps({"seed": 3}))
    return folder


def test_a_workdir_is_opened_at_its_best_epoch(workdir):
    """Open the workdir and its best/ alike: name, configuration, fold and selection rule."""
    run = runs.open_run(workdir)
    assert run == runs.open_run(workdir / "best")
    assert (run.name, run.weights, run.config, run.fold) == ("disfa_f2", workdir / "best", {"seed": 3}, 2)
    assert run.selection == "held out" and run.trained_on["corpus"] == "disfa"


def test_a_damaged_configuration_is_an_error_that_names_it(workdir, tmp_path):
    """Refuse a workdir whose config.json is no JSON any more."""
    shutil.copytree(workdir, tmp_path / "run")
    (tmp_path / "run/config.json").write_text('{"seed": ')
    with pytest.raises(ConfigError, match=r"run/config\.json: damaged"):
        runs.open_run(tmp_path / "run")


def test_converted_weights_have_the_fold_that_is_given(workdir, tmp_path):
    """Take the folder's name, no configuration, and the fold of the command line."""
    config, variables, meta = weights.load(workdir / "best")
    weights.save(tmp_path / "converted", config, variables, dataclasses.replace(meta, extra={}))
    run = runs.open_run(tmp_path / "converted", trained_fold=1)
    assert (run.name, run.config, run.fold, run.trained_on) == ("converted", None, 1, {})
    assert runs.describe(run)["trained_on"] == {"corpus": "disfa", "fold": 1, "said_by": "--trained_fold"}
    assert runs.open_run(tmp_path / "converted").fold is None


def test_the_own_fold_is_not_the_one_that_earlier_steps_left_out(workdir):
    """Only what the command line says is: a run knows its own fold, and nothing of those whom it began with."""
    run = runs.open_run(workdir)
    assert run.fold is not None and run.trained_fold is None
    assert runs.open_run(workdir, trained_fold=2).trained_fold == 2 and runs.open_run(workdir, 2).fold == run.fold
    assert EvaluatedRun.from_dict(runs.open_run(workdir, 2).to_dict(), "ab").trained_fold == 2


def test_initial_weights_are_refused(tmp_path):
    """Refuse weights without AUs, and a folder without weights."""
    weights.save(tmp_path / "initial", TINY, fgnet.init(TINY), WeightsMeta())
    with pytest.raises(weights.WeightsError, match="these weights have no AUs"):
        runs.open_run(tmp_path / "initial")
    with pytest.raises(weights.WeightsError, match="no such weights directory"):
        runs.open_run(tmp_path / "absent")


def test_a_description_names_the_weights_by_their_values(workdir, tmp_path):
    """Give a copy elsewhere the same checksum."""
    config, variables, meta = weights.load(workdir / "best")
    weights.save(tmp_path / "copy", config, variables, meta)
    first, second = (runs.describe(runs.open_run(path)) for path in (workdir, tmp_path / "copy"))
    assert first["weights_sha256"] == second["weights_sha256"] == weights.checksum(variables)
    assert first["step"] == 7 and first["left_out_fold"] == 2 and first["configuration"] == {"seed": 3}


def test_a_loaded_network_is_remembered_until_its_weights_change(workdir, tmp_path):
    """Return the same network again, and another one after training has written new weights."""
    config, variables, meta = weights.load(workdir / "best")
    weights.save(tmp_path / "w", config, variables, meta)
    run = runs.open_run(tmp_path / "w")
    network = runs.load(run)
    assert runs.load(run) is network and network.config == config
    weights.save(tmp_path / "w", config, fgnet.init(TINY, seed=1), meta)
    assert runs.load(run).checksum != network.checksum


def test_a_run_is_described_without_its_weights(workdir):
    """Read back what kept predictions record: the description is the same."""
    run = runs.open_run(workdir)
    values = json.loads(json.dumps(run.to_dict()))
    again = runs.EvaluatedRun.from_dict(values, runs.checksum(run))
    assert runs.describe(again) == runs.describe(run) and again.fold == 2


def test_other_configurations_of_a_corpus_are_distinguished(workdir):
    """Accept DISFA's right camera after training with the left one, and name both for the report."""
    left, right = (
        CorpusIdentity.of(f"disfa/{side}/1.0.0", aus=(1,), preparation={"camera": side}, faces={})
        for side in ("left", "right")
    )
    opened = runs.open_run(workdir)
    run = dataclasses.replace(opened, meta=dataclasses.replace(META, extra={"corpora": [left.to_dict()]}))
    runs.check_corpora(run, Corpus("disfa", (1,), (), (), identities=(right,)))
    (line,) = runs.other_preparations(run, [right])
    assert (
        "trained with disfa/left/1.0.0" in line
        and f"tested on disfa/right/1.0.0, fingerprint {right.fingerprint}" in line
    )
    assert not runs.other_preparations(run, [left])


def test_shared_aus_are_in_the_networks_order(workdir):
    """Refuse a corpus that shares none."""
    run = runs.open_run(workdir)
    assert runs.shared_aus(run, Corpus("bp4d", (1, 2, 12), (), ())) == (12, 1)
    with pytest.raises(runs.EvaluationError, match="disfa_f2 and bp4d have no AU in common"):
        runs.shared_aus(run, Corpus("bp4d", (2,), (), ()))

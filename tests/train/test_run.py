"""The start of a training run: what is refused before anything is rendered or compiled, and what it records."""

import json

import jax
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.evaluate import leakage
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import TINY, ModelConfig
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import files, sharding, sums
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import workdirs
from fgnet_jax.train.config import ConfigError
from fgnet_jax.train.epoch_end import best_meta
from fgnet_jax.train.loop import train
from fgnet_jax.train.optimizer import OptimConfig
from fgnet_jax.train.run import begin, disk_needed, prepare_run, undecayed, unsplit, write_provenance
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
    with pytest.raises(ConfigError, match='remat "twice" was removed: use "blocks".*train.accumulate'):
        prepare_run(twice, tmp_path / "run")
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run/config.json").write_text(json.dumps(twice.to_dict()))
    for config in (twice, tiny.short_run(tmp_path / "data", **{"model.remat": "blocks"})):
        with pytest.raises(ConfigError, match='begun with model.remat "twice".*use "blocks".*accumulate'):
            prepare_run(config, tmp_path / "run")
    assert not (tmp_path / "data").exists()


def test_first_weights_that_do_not_exist_are_refused_before_anything_is_rendered(tmp_path):
    """And no workdir is left; the same for weights of another network."""
    with pytest.raises(weights.WeightsError, match="/none: no such weights directory"):
        train(tiny.short_run(tmp_path / "data", init_from=str(tmp_path / "none")), tmp_path / "runs/a")
    weights.save(tmp_path / "other", TINY, fgnet.init(TINY), WeightsMeta())
    with pytest.raises(ConfigError, match="other holds another network than the configuration's:\n"):
        train(tiny.short_run(tmp_path / "data", init_from=str(tmp_path / "other")), tmp_path / "runs/a")
    assert not (tmp_path / "data").exists() and not (tmp_path / "runs").exists()


def _record(config, workdir):
    """Do what a run does at its start, and save its best weights, without any step."""
    workdir.mkdir(exist_ok=True)
    run, variables = begin(prepare_run(config, workdir))
    write_provenance(run)
    weights.save(workdir / "best", run.step.model, variables, best_meta(run, step=4, mean_f1=0.5))
    return run


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Begin a run on BP4D's stand-in from pretrained weights, and from it one on DISFA's; return their folder."""
    folder = tmp_path_factory.mktemp("chain")
    config = tiny.short_run(folder / "data", init_from=str(folder / "pretrained"), **{"data.fold": 1})
    model = config_lib.model_config(config)
    sources = ({"file": "psp_ffhq_encode.pt", "sha256": "ab"},)
    weights.save(folder / "pretrained", model, fgnet.init(model), WeightsMeta(sources=sources))
    _record(config, folder / "bp4d")
    changes = {"data.corpus": "synthetic_disfa", "data.fold": 0}
    _record(tiny.short_run(folder / "data", init_from=str(folder / "bp4d/best"), **changes), folder / "own")
    return folder


def test_a_chain_of_runs_records_every_step(chain):
    """From the published files on: run, corpus, fold, AUs, subjects, fingerprints, and the values it began with."""
    meta = weights.load_meta(chain / "own/best")
    pretrained, bp4d, own = lineage.links(meta)
    assert (pretrained.kind, pretrained.files[0]["sha256"]) == (lineage.CONVERTED, "ab")
    assert (bp4d.kind, bp4d.name, bp4d.corpus, bp4d.fold, bp4d.steps) == (
        lineage.TRAINED,
        "bp4d",
        "synthetic_bp4d",
        1,
        4,
    )
    assert (own.name, own.corpus, own.fold, own.aus) == ("own", "synthetic_disfa", 0, CORPUS_AUS["disfa"])
    for link, left_out in ((bp4d, 1), (own, 0)):
        assert link.corpus is not None
        names = {*link.subjects[link.corpus], *link.held_out[link.corpus]}
        assert names == set(folds.subjects(link.corpus)) - set(folds.subjects(link.corpus, [left_out]))
    for link, begun_from in ((bp4d, "pretrained"), (own, "bp4d/best")):
        assert link.weights_sha256 == weights.checksum(weights.load(chain / begun_from)[1])
    (fingerprint,) = own.fingerprints.values()
    recorded = workdirs.read_record(chain / "own/corpora.json")
    assert recorded is not None
    assert [corpus["fingerprint"] for corpus in recorded] == [fingerprint]
    assert meta.extra["corpora"] == recorded and meta.extra["trained_on"]["corpus"] == "synthetic_disfa"


def test_a_chain_is_tested_on_no_fold_that_a_step_has_learnt_from(chain):
    """By evaluation; the fold that each step left out is tested."""
    meta = weights.load_meta(chain / "own/best")
    for corpus, left_out in (("synthetic_bp4d", 1), ("synthetic_disfa", 0)):
        for fold in range(folds.NUM_FOLDS):
            subjects = folds.subjects(corpus, [fold])
            if fold == left_out:
                leakage.check_no_leakage(meta, corpus=corpus, subjects=subjects, name="own")
            else:
                with pytest.raises(leakage.LeakageError, match="own was trained or selected on"):
                    leakage.check_no_leakage(meta, corpus=corpus, subjects=subjects, name="own")


def test_a_chain_goes_on_with_the_fold_that_was_left_out_only(chain, tmp_path):
    """Training that would be tested on subjects of an earlier step is refused, with the step and the fold to use."""
    for fold in (0, 2):
        config = tiny.short_run(chain / "data", init_from=str(chain / "own/best"), **{"data.fold": fold})
        with pytest.raises(ConfigError, match=r"bp4d \(synthetic_bp4d, fold 1 left out\) .*--config\.data\.fold=1"):
            train(config, tmp_path / "run")
    config = tiny.short_run(chain / "data", init_from=str(chain / "own/best"), **{"data.fold": 1})
    assert [link.name for link in prepare_run(config, tmp_path / "run").lineage] == ["", "bp4d", "own", "run"]


def test_a_resumed_run_keeps_its_lineage(chain, tmp_path):
    """Whatever has become of the weights that it began with; but before its first save, they must be the same."""
    config = tiny.short_run(chain / "data", init_from=str(tmp_path / "first"), **{"data.fold": 1})
    (tmp_path / "first").symlink_to(chain / "bp4d/best")
    run = _record(config, tmp_path / "run")
    (tmp_path / "first").unlink()
    (tmp_path / "first").symlink_to(chain / "pretrained")
    again = prepare_run(config, tmp_path / "run")
    assert again.lineage == run.lineage and len(again.lineage) == 3
    model = config_lib.model_config(config)
    weights.save(tmp_path / "others", model, fgnet.init(model, seed=9), WeightsMeta())
    (tmp_path / "first").unlink()
    (tmp_path / "first").symlink_to(tmp_path / "others")
    with pytest.raises(ConfigError, match="first holds other weights than those that .*run was begun with"):
        begin(prepare_run(config, tmp_path / "run"))


def test_a_corpus_prepared_anew_under_a_workdir_is_noticed(tmp_path):
    """Whether the run is resumed or only tested: with what differs. Older workdirs are resumed, and a line says so."""
    config = tiny.short_run(tmp_path / "data", **{"data.fold": 2})
    _record(config, tmp_path / "run")
    (info,) = (tmp_path / "data/synthetic_bp4d").glob("*/*/metadata.json")
    metadata = json.loads(info.read_text())
    metadata["aus"] = [2, 1, *metadata["aus"][2:]]
    info.write_text(json.dumps(metadata))
    sums.write(info.parent)
    with pytest.raises(ConfigError, match=r"another preparation.*\n  synthetic_bp4d/.*: aus: \[1, 2, .* now"):
        train(config, tmp_path / "run")
    (tmp_path / "run/corpora.json").unlink()
    with pytest.raises(ConfigError, match="was begun with the AUs 1, 2, 4.* now have 2, 1, 4"):
        train(config, tmp_path / "run")
    metadata["aus"] = list(CORPUS_AUS["bp4d"])
    info.write_text(json.dumps(metadata))
    sums.write(info.parent)
    assert "before corpora were recorded" in prepare_run(config, tmp_path / "run").remarks[0]


def test_a_run_begun_by_an_older_version_gets_its_lineage(chain, tmp_path):
    """From the weights that it names; where these are gone, it says that nobody knows."""
    config = tiny.short_run(chain / "data", init_from=str(tmp_path / "first"), **{"data.fold": 1})
    (tmp_path / "first").symlink_to(chain / "own/best")
    _record(config, tmp_path / "run")
    for name in (workdirs.LINEAGE, workdirs.CORPORA):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run/checkpoints/4").mkdir(parents=True)
    assert [link.name for link in prepare_run(config, tmp_path / "run").lineage] == ["", "bp4d", "own", "run"]
    (tmp_path / "first").unlink()
    run = prepare_run(config, tmp_path / "run")
    assert [link.kind for link in run.lineage] == [lineage.LOST, lineage.TRAINED]
    assert any("first is gone: whom it has learnt from is not known" in line for line in run.remarks)
    with pytest.raises(
        leakage.LeakageError, match="run began with .*first, which was gone before it was recorded whom"
    ):
        leakage.check_no_leakage(best_meta(run, 4, 0.5), corpus="synthetic_bp4d", subjects=["F003"], name="run")


@pytest.mark.parametrize(("devices", "shard_params"), [(8, True), (6, False), (1, True)])
def test_parameters_that_devices_share_need_no_remark(devices, shard_params):
    """Nor those that they need not share."""
    assert unsplit(_layout(devices, shard_params), ModelConfig()) == ""


def test_devices_that_cannot_share_parameters_are_named():
    """Instead of a run that needs as much memory as without, and says nothing."""
    assert unsplit(_layout(6, True), ModelConfig()).startswith("train.shard_params: 6 devices cannot share")


def _layout(devices, shard_params):
    mesh = jax.sharding.AbstractMesh((devices,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    return sharding.Sharding(mesh, shard_params)  # pyright: ignore[reportArgumentType]


def test_results_of_fewer_epochs_are_not_left_behind(chain, tmp_path):
    """Once epochs are added, results of the shorter run are not the configuration's; without, they are."""
    config = tiny.short_run(chain / "data", **{"optim.schedule": "constant"})
    _record(config, tmp_path / "run")
    for epochs, remains in ((2, True), (3, False)):
        (tmp_path / "run/results.json").write_text("{}")
        longer = tiny.short_run(chain / "data", **{"optim.schedule": "constant", "train.epochs": epochs})
        run = prepare_run(longer, tmp_path / "run")
        assert any("goes on to 3 now" in line for line in run.remarks) is not remains
        write_provenance(run)
        assert (tmp_path / "run/results.json").exists() is remains


def test_a_metric_without_a_value_cannot_select(chain, tmp_path):
    """Where no held-out face shows an AU, or every one does; the keys that change them are named."""
    config = tiny.short_run(chain / "data", **{"train.select_metric": "auc"})
    assert prepare_run(config, tmp_path / "run").data.selection.startswith("best epoch by AUC on 4 held-out")
    few = tiny.short_run(chain / "data", **{"train.select_metric": "auc", "train.eval_frames": 1})
    with pytest.raises(
        ConfigError, match='select_metric "auc" has no value for synthetic_bp4d held-out.*data.held_out'
    ):
        prepare_run(few, tmp_path / "run")


def test_what_weighs_the_loss_is_said(chain, tmp_path):
    """And a weight decay that has no effect."""
    changes = {"loss.positive_weight": "inverse_frequency", "optim.name": "adam"}
    run = prepare_run(tiny.short_run(chain / "data", **changes), tmp_path / "run")
    labels = run.data.train.labels(run.data.aus)
    weight = (labels[:, 0] == 0).sum() / (labels[:, 0] == 1).sum()
    assert run.step.loss.positive_weights[0] == weight
    assert any(line.startswith(f"Weighted loss: positive faces count {weight:.3g} (AU01), ") for line in run.remarks)
    assert "optim.weight_decay 0.0005 has no effect: optax.adam takes no weight_decay" in run.remarks


@pytest.mark.parametrize(
    ("optim", "is_said"),
    [
        (OptimConfig("sgd"), True),  # PyTorch's has one
        (OptimConfig("adafactor"), True),
        (OptimConfig("sgd", weight_decay=0.0), False),
        (OptimConfig("lion"), False),
    ],
)
def test_a_weight_decay_that_has_no_effect_is_said(optim, is_said):
    """Whatever the optimiser."""
    assert bool(undecayed(optim)) is is_said


@pytest.mark.parametrize(("changes", "sets"), [({}, 11), ({"train.ema": 0.9}, 14), ({"train.keep_best": 3}, 13)])
def test_space_for_averages_and_kept_weights(changes, sets):
    """Three checkpoints of three or four sets of values, and one set of best weights more than are kept."""
    config = tiny.config(**changes)
    values = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(fgnet.abstract(config_lib.model_config(config))))
    assert disk_needed(config, is_begun=False) == sets * values

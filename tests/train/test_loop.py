"""A training run in this process: what it starts from, what it writes, when it stops early, and how it resumes."""

import dataclasses
import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.data import folds
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import epoch_end, workdirs
from fgnet_jax.train.loop import train
from tests.train import tiny

pytestmark = pytest.mark.slow  # trains a network

BP4D, DISFA = ({f"AU{au:02d}" for au in CORPUS_AUS[corpus]} for corpus in ("bp4d", "disfa"))


def _config(folder):
    changes = {
        "init_from": str(folder / "weights"),
        "optim.lr": 1e-12,
        "optim.lr_interpreter": 0.0,
        "optim.weight_decay": 0.0,
        "data.also_test": ("synthetic_disfa",),
        "train.select_on": "test",
        "train.epochs": 9,
        "train.patience": 2,
    }
    return tiny.short_run(folder / "data", **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train from given weights at a rate so small that no epoch beats the first; return workdir and results."""
    folder = tmp_path_factory.mktemp("train")
    config = _config(folder)
    model = config_lib.model_config(config)
    # Written by a run with other training options: only sizes must agree.
    stored = dataclasses.replace(model, dropout=0.5, dtype="bfloat16")
    weights.save(folder / "weights", stored, fgnet.init(model, seed=7), WeightsMeta())
    return folder / "run", train(config, folder / "run")


def test_it_starts_from_the_weights_that_it_is_given(run):
    """Frozen parameters keep their bits; the others hardly change."""
    workdir, _ = run
    config, trained, _ = weights.load(workdir / "best")
    initial = fgnet.init(config, seed=7)
    for path, value in initial.params.items():
        np.testing.assert_allclose(trained.params[path], value, rtol=0, atol=1e-9, err_msg=path)
        if path.startswith("interpreter/"):
            np.testing.assert_array_equal(trained.params[path], value)
    assert not np.array_equal(
        trained.batch_stats["encoder/input_norm/mean"], initial.batch_stats["encoder/input_norm/mean"]
    )
    assert (trained.batch_stats["interpreter/stages/0/norm/mean"] == 0).all(), "frozen: by its running statistics"


def test_it_stops_when_no_epoch_is_better(run):
    """Patience counts the epochs since the best one; nine were allowed."""
    workdir, result = run
    epochs = [line["mean_f1"] for line in tiny.metrics(workdir) if "mean_f1" in line]
    best = int(np.argmax(epochs))
    assert len(epochs) == best + 3 < 9
    assert result["step"] == 2 * (best + 1)


def test_it_writes_its_results(run):
    """F1 by AU as fractions, their mean, the split, and the rule by which the step was selected."""
    workdir, result = run
    assert json.loads((workdir / "results.json").read_text()) == result
    assert set(result["f1"]) <= BP4D and result["mean_f1"] == pytest.approx(np.mean(list(result["f1"].values())))
    assert result["split"] == "synthetic_bp4d fold_0"
    assert result["selection"] == "best epoch on the test fold, as published"
    other = result["also_test"]["synthetic_disfa fold_0"]
    assert set(other["f1"]) == BP4D & DISFA, "the AUs that both corpora have"
    selected = next(
        line["mean_f1"] for line in tiny.metrics(workdir) if line["step"] == result["step"] and "mean_f1" in line
    )
    assert selected == pytest.approx(result["mean_f1"]), "selected on the same frames"


def test_it_writes_its_provenance(run):
    """Configuration and versions, images, and weights that record their training data."""
    workdir, result = run
    assert json.loads((workdir / "config.json").read_text())["train"]["patience"] == 2
    assert json.loads((workdir / "provenance.json").read_text())["versions"]["jax"]
    for image in ("curves.png", "heatmaps.png"):
        assert (workdir / image).read_bytes().startswith(b"\x89PNG")
    meta = weights.load_meta(workdir / "best")
    assert (meta.aus, meta.corpus) == (CORPUS_AUS["bp4d"], "synthetic_bp4d")
    assert meta.extra["step"] == result["step"] and meta.extra["selection"] == result["selection"]
    record = meta.extra["trained_on"]
    assert (record["corpus"], record["fold"], record["samples"], record["equal_updates"]) == (
        "synthetic_bp4d",
        0,
        0,
        False,
    )
    assert record["subjects"] == {"synthetic_bp4d": sorted(folds.subjects("bp4d", [1, 2]))}
    assert record["updates"] == 18 and record["held_out"] == {}, "selected on the test fold"


def test_it_records_its_lineage_and_corpora(run):
    """In the workdir, its weights and its results: the same; the weights it began with are known by their sum."""
    workdir, result = run
    meta = weights.load_meta(workdir / "best")
    first, own = lineage.links(meta)
    assert (first.kind, own.name, own.corpus, own.steps) == (
        lineage.UNKNOWN,
        "run",
        "synthetic_bp4d",
        result["step"],
    )
    assert own.weights_sha256 == weights.checksum(weights.load(workdir.parent / "weights")[1])
    assert result["lineage"] == meta.extra["lineage"]
    recorded = workdirs.read_record(workdir / "corpora.json")
    assert recorded is not None
    assert [corpus["name"].split("/")[0] for corpus in recorded] == ["synthetic_bp4d", "synthetic_disfa"]
    assert result["corpora"] == meta.extra["corpora"] == recorded
    assert own.fingerprints == {recorded[0]["name"]: recorded[0]["fingerprint"]}


def test_best_weights_of_an_earlier_version_get_their_lineage(run, tmp_path):
    """When their run is finished again: nothing but metadata changes."""
    shutil.copytree(run[0], tmp_path / "run")
    _, variables, meta = weights.load(run[0] / "best")
    older = {key: value for key, value in meta.extra.items() if key not in ("lineage", "corpora")}
    config, _, _ = weights.load(run[0] / "best")
    weights.save(tmp_path / "run/best", config, variables, dataclasses.replace(meta, extra=older))
    for name in ("lineage.json", "corpora.json"):
        (tmp_path / "run" / name).unlink()
    again = train(_config(run[0].parent), tmp_path / "run")
    assert again["f1"] == run[1]["f1"] and len(lineage.links(weights.load_meta(tmp_path / "run/best"))) == 2
    assert weights.checksum(weights.load(tmp_path / "run/best")[1]) == weights.checksum(variables)


def test_every_step_is_recorded(run):
    """Loss and gradient norm of each."""
    steps = [line for line in tiny.metrics(run[0]) if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(line["grad_norm"] > 0 for line in steps)


def test_signals_while_a_state_is_evaluated(run, tmp_path, monkeypatch, capsys):
    """In the first epoch, the last, and the final test: the state is on disk by then, and the end is the same."""
    config = tiny.short_run(run[0].parent / "data", **{"train.epochs": 2})
    evaluate, calls = epoch_end.evaluate, []

    def interrupted(*arguments):
        calls.append(_is_written(tmp_path / "run/checkpoints" / str((2, 4, 4, 4, 4, 4)[len(calls)])))
        if len(calls) in (1, 2, 4):
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*arguments)

    undisturbed = train(config, tmp_path / "undisturbed")
    monkeypatch.setattr(epoch_end, "evaluate", interrupted)
    for evaluations in (1, 2, 4):
        with pytest.raises(SystemExit) as ended:
            train(config, tmp_path / "run")
        assert ended.value.code == 0 and "Stopped by SIGTERM; all is saved" in capsys.readouterr().out
        assert len(calls) == evaluations and not (tmp_path / "run/results.json").exists()
    again = train(config, tmp_path / "run")
    assert all(calls) and {key: again[key] for key in ("f1", "step")} == {
        key: undisturbed[key] for key in ("f1", "step")
    }
    lines = [[{k: v for k, v in line.items() if k != "time"} for line in tiny.metrics(tmp_path / name)]
             for name in ("run", "undisturbed")]  # fmt: skip
    assert lines[0] == lines[1]


def _is_written(checkpoint_dir: Path, seconds: float = 60) -> bool:
    """Return whether a checkpoint is on disk, after waiting for the thread that writes it."""
    deadline = time.monotonic() + seconds
    while not checkpoint_dir.is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    return checkpoint_dir.is_dir()

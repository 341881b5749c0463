"""The plan of a study: what is done, what is to be trained, for how long, on how much disk, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import leases
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import pace, study_plan, workdirs
from fgnet_jax.train.pace import Pace
from fgnet_jax.train.study import Study
from fgnet_jax.train.study_plan import RunPlan, StudyPlan
from tests.train import tiny


def _study(folder, **changes):
    names = ("a", "b", "c")
    return Study.of([tiny.config(name=name, **{"data.dir": str(folder / "data")} | changes) for name in names], folder)


def _finish(study, name):
    study.workdir(name).mkdir()
    (study.workdir(name) / workdirs.CONFIG).write_text(json.dumps(study.configs[name].to_dict()))
    (study.workdir(name) / workdirs.RESULTS).write_text("{}")


def test_what_is_done_begun_and_held(tmp_path):
    """A line for each run; the corpus is not rendered for it."""
    study = _study(tmp_path)
    _finish(study, "a")
    (study.workdir("b") / "checkpoints/4").mkdir(parents=True)
    study.lock("b").parent.mkdir()
    with leases.held(study.lock("b")):
        plan = study_plan.make(study)
    text = study_plan.as_text(plan)
    assert "3 runs in " in text and "1 done, 1 begun, 1 to begin" in text
    assert "  a  done\n" in text and "  b  step 4 of 6, time not known; trained now by process " in text
    assert "  c  6 steps, time not known\n" in text and "Steps: synthetic_bp4d is not in" in text
    assert "Time: not known: no run of this network and corpus has measured it" in text
    assert not (tmp_path / "data").exists() and plan.refusal == ""


def test_times_by_the_pace_of_this_machine(tmp_path, monkeypatch):
    """Of what is left: a run of six steps in two epochs, and one of which two steps are left."""
    monkeypatch.setattr(pace, "of_runs", lambda *_: Pace(60.0, 600.0, 0.0, "metrics.jsonl of z"))
    study = _study(tmp_path)
    (study.workdir("b") / "checkpoints/4").mkdir(parents=True)
    seconds = [run_plan.seconds for run_plan in study_plan.make(study).runs]
    assert seconds == pytest.approx([6 * 60 + 2 * 600, 2 * 60 + 2 / 3 * 600, 6 * 60 + 2 * 600])
    assert "Time: 1 h 1 min for 3 runs by one process, at most about, by metrics.jsonl of z" in study_plan.as_text(
        study_plan.make(study)
    )


def test_a_corpus_that_is_there_twice_is_refused_in_the_plan(tmp_path):
    """As a single run refuses it; published corpora too, whose folds are known without looking."""
    for side in ("left", "right"):
        (tmp_path / "data/disfa" / side / "1.0.0").mkdir(parents=True)
        (tmp_path / "data/disfa" / side / "1.0.0/dataset_info.json").write_text("{}")
    plan = study_plan.make(_study(tmp_path, **{"data.corpus": "disfa"}))
    assert "a: data: 'disfa' was prepared more than once" in plan.refusal
    assert "; and 2 more of the study's runs cannot be trained" in plan.refusal


def test_time_of_a_part_is_not_said_of_all():
    """Where one corpus has runs and another has none."""
    runs = (RunPlan("a", steps=5, seconds=3600.0), RunPlan("b", steps=5), RunPlan("c", steps=None))
    text = study_plan.as_text(StudyPlan(Path.cwd(), runs, ("metrics.jsonl of z",)))
    assert "Time: 1 h 0 min for 1 run by" in text and "; 2 more runs: not known" in text
    assert "c  steps not known" in text


def test_disk_is_that_of_checkpoints_and_best_weights(tmp_path):
    """Seven times the parameters stay of a run, and eleven are needed on the way; nothing more of a begun one stays."""
    study = _study(tmp_path)
    size = sum(leaf.size * 4 for leaf in fgnet.abstract(config_lib.model_config(study.configs["a"])).params.values())
    fresh = study_plan.make(study).runs[0]
    assert fresh.disk == pytest.approx(7 * size, rel=0.1) and fresh.disk + fresh.peak == pytest.approx(
        11 * size, rel=0.1
    )
    study.workdir("a").mkdir()
    (study.workdir("a") / workdirs.CONFIG).write_text(json.dumps(study.configs["a"].to_dict()))
    begun = study_plan.make(study).runs[0]
    assert begun.disk == 0 and begun.peak == fresh.peak


def test_too_little_disk_is_said():
    """Before days of work."""
    huge = RunPlan("a", steps=5, disk=2**60)
    assert "WARNING: that is not enough" in study_plan.as_text(StudyPlan(Path.cwd(), (huge,), ()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.corpus": "disfa"}, "a: disfa must be prepared first: there is none in .*; and 2 more"),
        ({"train.batch_size": 0}, "a: train.batch_size must be at least 1, got 0"),
        ({"init_from": "nowhere"}, "a: .*nowhere"),
        ({"data.fold": 7}, "a: data: unknown fold 7: expected 0 to 2"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(tmp_path, changes, message):
    """And is a line of the plan, beside the other runs."""
    plan = study_plan.make(_study(tmp_path, **changes))
    text = study_plan.as_text(plan)
    assert re.search(message, plan.refusal) and "cannot be trained: " in text
    assert "0 done, 0 begun, 0 to begin, 3 that cannot be\n" in text and "Time:" not in text and "Disk:" not in text


def test_weights_of_another_network_are_refused(tmp_path):
    """For the last run of the study as for the first."""
    model = config_lib.model_config(tiny.config(**{"model.style_dim": 8}))
    weights.save(tmp_path / "weights", model, fgnet.init(model, seed=0), WeightsMeta())
    study = _study(tmp_path, init_from=str(tmp_path / "weights"))
    _finish(study, "a")
    _finish(study, "b")
    assert study_plan.make(study).refusal.startswith("c: ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(20, "20 s"), (240, "4 min"), (12000, "3 h 20 min"), (4 * 86400, "4 d 0 h")]
)
def test_durations(seconds, text):
    """No finer than is known."""
    assert study_plan.duration(seconds) == text


def test_a_plan_is_refreshed_after_a_run(tmp_path, monkeypatch):
    """By the pace that this run has measured; steps stay, since no corpus is opened again."""
    study = _study(tmp_path)
    plan = study_plan.make(study)
    _finish(study, "a")
    monkeypatch.setattr(pace, "of_runs", lambda *_: Pace(60.0, 600.0, 0.0, "metrics.jsonl of a"))
    rest = study_plan.refreshed(plan, study)
    assert [run_plan.name for run_plan in rest.remaining] == ["b", "c"]
    assert study_plan.time_line(rest).startswith("Time: 52 min for 2 runs by one process, at most about, by metrics")

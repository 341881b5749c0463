"""A study: which runs are trained, in which order, and what becomes of those that others hold or that diverge."""

import json

import pytest

from fgnet_jax.runtime import leases
from fgnet_jax.train import loop, study, workdirs
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.loop import NotFiniteError
from fgnet_jax.train.study import Study
from tests.train import tiny

NAMES = ["a", "b", "c"]


@pytest.fixture
def runs(tmp_path):
    """Three runs."""
    return Study.of([tiny.config(name=name) for name in NAMES], tmp_path)


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that are trained: each only writes its configuration and results."""
    names = []

    def train(config, workdir):
        with workdirs.held(workdir):
            names.append(workdir.name)
            _finish(config, workdir)

    monkeypatch.setattr(loop, "train", train)
    return names


def _finish(config, workdir):
    workdir.mkdir(exist_ok=True)
    (workdir / workdirs.CONFIG).write_text(json.dumps(config.to_dict()))
    (workdir / workdirs.RESULTS).write_text("{}")


def test_what_is_missing_is_trained_in_order(runs, trained):
    """And what is done is skipped; a second time there is nothing to do."""
    _finish(runs.configs["b"], runs.workdir("b"))
    assert study.train(runs, print).trained == ("a", "c") == tuple(trained)
    assert study.train(runs, print) == study.train_one(runs, print) == study.Outcome()
    assert len(trained) == 2


def test_one_run_for_job_arrays(runs, trained):
    """The next that is free; where all are held, none, with who holds them."""
    assert study.train_one(runs, print).trained == ("a",)
    with leases.held(runs.lock("b")):
        assert study.train_one(runs, print).trained == ("c",)
        outcome = study.train_one(runs, print)
    assert outcome.trained == () and list(outcome.held) == ["b"] and "process " in outcome.held["b"]


def test_a_run_that_another_training_holds_is_left_to_it(runs, trained):
    """Also where that one is no part of a study, and has the workdir alone."""
    with workdirs.held(runs.workdir("a")):
        assert study.train_one(runs, print).trained == ("b",)


def test_runs_that_others_hold_are_waited_for_and_taken_over(runs, trained, monkeypatch, capsys):
    """Once nothing else is left; a run that its holder leaves undone is trained by whoever waits."""
    runs.lock("a").parent.mkdir()
    held = leases.held(runs.lock("a"))
    held.__enter__()
    monkeypatch.setattr(study.time, "sleep", lambda _: held.__exit__(None, None, None))
    assert study.train(runs, print).trained == ("b", "c", "a") == tuple(trained)
    assert "Every run that is left is held. Waiting for a (process " in capsys.readouterr().out


def _let_diverge(name, monkeypatch):
    """Let the run of this name diverge at its fourth step."""
    train = loop.train

    def diverging(config, workdir):
        if workdir.name == name:
            raise NotFiniteError(3, "not finite at step 4")
        return train(config, workdir)

    monkeypatch.setattr(loop, "train", diverging)


def test_a_run_that_diverges_does_not_stop_the_others(runs, trained, monkeypatch):
    """It is named at the end, and not tried again by this process."""
    _let_diverge("b", monkeypatch)
    outcome = study.train(runs, print)
    assert outcome.trained == ("a", "c") and outcome.diverged == {"b": "not finite at step 4"}


def test_a_run_that_diverges_does_not_keep_job_arrays_from_the_others(runs, trained, monkeypatch):
    """Each task would try it again, as the first that is free, and none would come to the next."""
    _let_diverge("a", monkeypatch)
    outcome = study.train_one(runs, print)
    assert outcome.trained == ("b",) and outcome.diverged == {"a": "not finite at step 4"}
    with leases.held(runs.lock("c")):
        outcome = study.train_one(runs, print)
    assert outcome.trained == () and list(outcome.diverged) == ["a"] and list(outcome.held) == ["c"]


def test_a_folder_of_another_run_is_refused(runs, tmp_path):
    """Whether that one is done or not: its results are not those of the study."""
    _finish(runs.configs["a"], runs.workdir("a"))
    assert runs.is_done("a") and not runs.is_done("b")
    other = Study.of([tiny.config(**{"name": "a", "seed": 5})], tmp_path)
    with pytest.raises(ConfigError, match="seed: 0 there, 5 here"):
        other.is_done("a")


def test_added_epochs_make_a_run_one_that_is_not_done(runs, tmp_path):
    """Also once they were begun and killed: the results that are there are those of before."""
    _finish(runs.configs["a"], runs.workdir("a"))
    longer = Study.of([tiny.config(**{"name": "a", "train.epochs": 5, "optim.schedule": "constant"})], tmp_path)
    stored = longer.configs["a"].to_dict()
    for epochs, started, ended, is_done in ((2, 1, 2, False), (5, 3, 2, False), (5, 3, 4, True)):
        stored["train"]["epochs"] = epochs
        (tmp_path / "a" / workdirs.CONFIG).write_text(json.dumps(stored))
        (tmp_path / "a" / workdirs.PROVENANCE).write_text(json.dumps({"time": f"2026-01-0{started}T00:00:00+00:00"}))
        record = {"provenance": {"time": f"2026-01-0{ended}T00:00:00+00:00"}}
        (tmp_path / "a" / workdirs.RESULTS).write_text(json.dumps(record))
        assert longer.is_done("a") == is_done


def test_two_runs_of_one_name_are_refused(tmp_path):
    """They would share a folder."""
    with pytest.raises(ConfigError, match="two runs of the study would both be .*/a: name each"):
        Study.of([tiny.config(name="a"), tiny.config(name="a", seed=1)], tmp_path)

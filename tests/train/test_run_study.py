"""A study from its command line to its last line; training itself only writes results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fgnet_jax.train import loop, run_study, workdirs
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.loop import NotFiniteError
from fgnet_jax.train.study import Study
from tests.train import tiny


@pytest.fixture
def runs(tmp_path):
    """Three runs, whose corpus is rendered when they are trained."""
    configs = [tiny.config(name=name, **{"data.dir": str(tmp_path / "data")}) for name in "abc"]
    return Study.of(configs, tmp_path / "runs")


@pytest.fixture
def training(monkeypatch):
    """Let run b diverge, and all others end at once."""

    def train(config, workdir):
        if workdir.name == "b":
            raise NotFiniteError(3, "not finite at step 4")
        workdir.mkdir(parents=True)
        (workdir / workdirs.CONFIG).write_text(json.dumps(config.to_dict()))
        (workdir / workdirs.RESULTS).write_text("{}")

    monkeypatch.setattr(loop, "train", train)


def test_the_plan_comes_first_and_the_runs_that_diverged_last(runs, training, capsys):
    """What is left is said after each; the exit status is that of one run that diverges."""
    assert run_study.run(runs, only_one=False, dry_run=False) == 1
    printed = capsys.readouterr()
    assert printed.out.index("0 done, 0 begun, 3 to begin") < printed.out.index("[1 of 3 runs] ")
    assert "2 of 3 runs are left. Time: not known" in printed.out and "b: not finite at step 4" in printed.out
    assert "2 of 3 runs in" in printed.out and "are done, 2 by this process" in printed.out
    assert printed.err.splitlines()[-1] == "fgnet_jax.train: error: the loss is not finite in b: see above"


def test_a_dry_run_writes_nothing(runs, training, tmp_path):
    """Neither runs nor locks nor corpora."""
    assert run_study.run(runs, only_one=False, dry_run=True) == 0
    assert list(tmp_path.iterdir()) == []


def test_one_run(runs, training, capsys):
    """The next that is free, and how many are done."""
    assert run_study.run(runs, only_one=True, dry_run=False) == 0
    assert "1 of 3 runs in" in capsys.readouterr().out and not runs.workdir("c").exists()


def test_a_run_that_cannot_be_trained_stops_the_study_before_it_begins(runs, training, capsys):
    """Whichever it is; the plan says so, too."""
    runs.configs["c"].train.accumulate = 3
    with pytest.raises(ConfigError, match="c: train.batch_size 8 in 3 parts"):
        run_study.run(runs, only_one=False, dry_run=False)
    assert "  c  cannot be trained: train.batch_size 8" in capsys.readouterr().out and not runs.folder.exists()


def test_a_single_run_keeps_its_workdir():
    """Of a study, --workdir is the folder of its runs; of one run, that run's own."""
    one = run_study.of_command([], tiny.config(), "elsewhere/try")
    assert one.workdir("try") == Path("elsewhere/try") and one.configs["try"].name == "tiny"
    lines = [["--config=tiny:fold=0"], ["--config=tiny:fold=1"]]
    several = run_study.of_command(lines, None, "elsewhere")
    assert [several.workdir(name) for name in several.configs] == [Path("elsewhere/tiny"), Path("elsewhere/tiny_f1")]
    assert run_study.of_command(lines, None, None).folder == Path("runs")


def test_the_folder_of_a_run_holds_no_study(tmp_path):
    """Its runs would be in the folder of another."""
    (tmp_path / workdirs.CONFIG).write_text("{}")
    with pytest.raises(ConfigError, match="is the folder of a run; of a study, it is the folder that its runs are in"):
        run_study.of_command([["--config=tiny:fold=0"]], None, str(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--multihost"], "--multihost is for one run: name one configuration, fold and seed"),
        (["--compile_for=h100"], "--compile_for is for one run"),
        (["more"], "unexpected argument 'more'"),
        (["--config", "tiny"], "two runs of the study would both be runs/tiny: name each of them once"),
    ],
)
def test_what_is_for_one_run_is_refused(words, message):
    """In one line, the last; exit status 2."""
    command = [sys.executable, "-m", "fgnet_jax.train", "--config", "tiny:seeds=2", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1]

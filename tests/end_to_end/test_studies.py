"""Studies in processes of their own: they share the work, are killed, and end as one that was left alone."""

import dataclasses
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.evaluate import __main__ as evaluate
from tests.end_to_end import command

pytestmark = pytest.mark.slow  # studies that are killed

NAMES = ("tiny", "tiny_f1", "tiny_f2", "tiny_s1", "tiny_f1_s1", "tiny_f2_s1")
LONG = ("--config.train.checkpoint_steps=1", "--config.optim.schedule=constant")
"""6 steps a run, and a save at each; runs of all folds share one compiled step."""


@dataclasses.dataclass(frozen=True)
class StudyCommand:
    """Starts a study of three folds and two seeds in a folder; its output is kept in a file beside it."""

    train: command.Command

    def start(self, folder: Path, log: str, *more: str) -> subprocess.Popen:
        """Start a process of the study."""
        words = self.train.words(folder, *LONG, *more, config="configs/tiny.py:fold=all,seeds=2")
        with (folder.parent / log).open("w") as file:
            return subprocess.Popen(
                words, cwd=command.ROOT, env=self.train.environment(), stdout=file, stderr=subprocess.STDOUT
            )

    def __call__(self, folder: Path, *more: str) -> str:
        """Run the study, which must end with status 0, and return its output."""
        assert self.start(folder, "run.log", *more).wait() == 0, (folder.parent / "run.log").read_text()
        return (folder.parent / "run.log").read_text()


@pytest.fixture(scope="module")
def study(train):
    """Return the command."""
    return StudyCommand(train)


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    """Return the folder of a study that was left alone."""
    folder = tmp_path_factory.mktemp("undisturbed") / "runs"
    output = study(folder)
    assert "6 runs in " in output and "0 done, 0 begun, 6 to begin" in output
    assert _begun(output) == list(NAMES)
    return folder


def _begun(output: str) -> list[str]:
    """Return the names of the runs that a process has trained, or gone on with, in order."""
    return [Path(path).name for path in re.findall(r"^\[\d of 6 runs\] (\S+)$", output, re.MULTILINE)]


def _assert_as_undisturbed(folder: Path, undisturbed: Path) -> None:
    """Check every run's results, metrics and best weights."""
    for name in NAMES:
        assert command.f1(folder / name) == command.f1(undisturbed / name)
        assert command.metrics(folder / name) == command.metrics(undisturbed / name)
        command.assert_same_bits(command.best(folder / name), command.best(undisturbed / name))
    assert sorted(path.name for path in (folder / ".study").iterdir() if path.suffix != ".alive") == sorted(NAMES)


def _steps(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))


def _wait_for(process: subprocess.Popen, folder: Path, steps: int) -> None:
    while _steps(folder) < steps:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_seeds_share_data_and_nothing_else(undisturbed):
    """The same subjects are held out; the losses of the first steps differ."""
    records = [json.loads((undisturbed / name / "lineage.json").read_text())["entries"][-1] for name in NAMES]
    assert records[0]["held_out"] == records[3]["held_out"] and records[0]["subjects"] == records[3]["subjects"]
    assert records[0]["subjects"] != records[1]["subjects"], "another fold"
    assert command.losses(undisturbed / "tiny")[0] != command.losses(undisturbed / "tiny_s1")[0]


def test_what_is_done_is_not_done_again(study, undisturbed):
    """The plan says so, and by which pace; nothing is written into the runs."""
    before = {path: path.stat().st_mtime for path in undisturbed.glob("*/*")}
    output = study(undisturbed)
    assert "6 done, 0 begun, 0 to begin" in output and not _begun(output)
    assert "6 of 6 runs in" in output and "are done, 0 by this process" in output
    dry = study(undisturbed, "--dry_run", "--config", "configs/tiny.py:seed=9")
    assert re.search(r"tiny_s9\s+6 steps, (\d+ min|\d+ s), ", dry) and "by metrics.jsonl of tiny, tiny_f1, " in dry
    assert {path: path.stat().st_mtime for path in undisturbed.glob("*/*")} == before


def test_the_study_is_evaluated(train, undisturbed, tmp_path, capsys):
    """F1 of its runs is that of their results; the report is the same again, and from predictions alone."""
    words = ["--data_dir", str(train.shared / "data"), "--resamples", "20"]
    runs = ["study", "--runs", str(undisturbed / "tiny"), str(undisturbed / "tiny_*")]
    assert evaluate.main([*runs, *words, "--output", str(tmp_path / "report")]) == 0
    assert " ± " in capsys.readouterr().out
    report = json.loads((tmp_path / "report/report.json").read_text())
    by_name = {row["runs"][0]["run"]: row["mean_f1"] for row in report["rows"] if len(row["runs"]) == 1}
    trained = {name: float(np.mean([*command.f1(undisturbed / name).values()])) for name in NAMES}
    assert by_name == pytest.approx(trained, abs=1e-9)
    assert report["mean_f1"] == pytest.approx(np.mean([*trained.values()]))
    assert evaluate.main(["reproduce", str(tmp_path / "report")]) == 0
    again = ["from-predictions", str(tmp_path / "report"), "--output", str(tmp_path / "again")]
    assert evaluate.main(again) == 0
    assert (tmp_path / "again/seeds.csv").read_bytes() == (tmp_path / "report/seeds.csv").read_bytes()
    assert evaluate.main(["study", "--runs", str(undisturbed / "tiny*"), "--corpus", "nosuch", *words]) == 2


def test_runs_that_make_no_study_are_refused(train, undisturbed, capsys):
    """A fold is missing, and is named."""
    words = ["study", "--runs", str(undisturbed / "tiny"), str(undisturbed / "tiny_[fs]1*")]
    assert evaluate.main([*words, "--data_dir", str(train.shared / "data")]) == 2
    assert "no run of fold 2 with seed 0, fold 2 with seed 1 among the 4" in capsys.readouterr().err


def test_a_study_that_is_killed_twice_ends_as_one_that_is_not(study, undisturbed, tmp_path):
    """Killed in the first run and in a later one; the same command goes on."""
    for kill, steps in enumerate((3, 15)):
        process = study.start(tmp_path / "runs", f"{kill}.log")
        _wait_for(process, tmp_path / "runs", steps)
        _kill(process)
    output = study(tmp_path / "runs")
    assert "1 begun" in output
    _assert_as_undisturbed(tmp_path / "runs", undisturbed)


def test_two_processes_share_the_work_and_one_is_killed(study, undisturbed, tmp_path):
    """The other takes its run over, and waits for nothing that will not come; no run is done twice."""
    folder = tmp_path / "runs"
    first = study.start(folder, "first.log")
    _wait_for(first, folder, 1)
    second = study.start(folder, "second.log")
    while not _begun((tmp_path / "second.log").read_text()):
        assert second.poll() is None, (tmp_path / "second.log").read_text()
        time.sleep(0.05)
    is_killed = first.poll() is None
    first.kill()
    first.wait()
    assert second.wait() == 0, (tmp_path / "second.log").read_text()
    begun = [_begun((tmp_path / f"{name}.log").read_text()) for name in ("first", "second")]
    assert is_killed and begun[0] and begun[1], "both had work"
    twice = [name for name in begun[0] if name in begun[1]]
    assert sorted({*begun[0], *begun[1]}) == sorted(NAMES) and twice in ([], [begun[0][-1]]), begun
    _assert_as_undisturbed(folder, undisturbed)
    assert "6 done, 0 begun, 0 to begin" in study(folder)


def test_a_job_array_does_a_run_each(study, tmp_path):
    """And the plan before it says what is left."""
    output = study(tmp_path / "runs", "--only_one")
    assert _begun(output) == ["tiny"] and "1 of 6 runs in" in output
    assert "1 done, 0 begun, 5 to begin" in study(tmp_path / "runs", "--dry_run")

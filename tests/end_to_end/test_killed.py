"""A run that is killed or stopped, however often, ends with the same bits as one that is not."""

import random
import signal
import time

import pytest

from tests.end_to_end import command

pytestmark = pytest.mark.slow  # runs that are killed

KILLS = 10
LONG = ("--config.train.epochs=8", "--config.train.steps_per_epoch=4", "--config.train.checkpoint_steps=1")
"""32 steps; a save at each, so that something is always being written."""


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory):
    """Return the workdir of a run that was not interrupted."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    train(workdir, *LONG)
    return workdir


def assert_ends_alike(workdir, undisturbed):
    """Check last checkpoint and best weights to the bit, F1, and every metric on the way."""
    command.assert_same_bits(command.last(workdir), command.last(undisturbed))
    command.assert_same_bits(command.best(workdir), command.best(undisturbed))
    assert command.f1(workdir) == command.f1(undisturbed)
    assert command.metrics(workdir) == command.metrics(undisturbed)
    assert sorted(p.name for p in workdir.iterdir()) == sorted(p.name for p in undisturbed.iterdir())


def _count_lines(workdir):
    file = workdir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _kill_in_training(process, workdir, seconds):
    """Wait until the run continues with its steps, then for some time, and kill it; return whether it still ran."""
    before = _count_lines(workdir)
    while process.poll() is None and _count_lines(workdir) == before:
        before = min(before, _count_lines(workdir))  # lines of steps that will be done again are dropped first
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_killed_ten_times_in_a_row(train, undisturbed, tmp_path):
    """Send `kill -9` at random moments: in steps, saves, evaluations."""
    moments = random.Random(0)
    for kill in range(KILLS):
        # Most soon after the first step, so that there are steps left for all ten; every third at any time before it.
        process = train.start(tmp_path / "run", *LONG)
        if kill % 3 == 2:
            time.sleep(moments.uniform(1, 8))
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
        else:
            assert _kill_in_training(process, tmp_path / "run", moments.uniform(0, 0.5)), "it had ended: more steps"
    train(tmp_path / "run", *LONG)
    assert_ends_alike(tmp_path / "run", undisturbed)


def test_a_signal_saves_and_the_same_command_resumes(train, undisturbed, tmp_path):
    """Exit with status 0 and a message, as before a pod's pre-emption."""
    process = train.start(tmp_path / "run", *LONG)
    while _count_lines(tmp_path / "run") == 0:
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "Stopped by SIGTERM; all is saved. The same command resumes from here." in output
    assert not (tmp_path / "run/results.json").exists()
    steps = command.saved_steps(tmp_path / "run")[-1]
    assert 0 < steps < 32
    output = train(tmp_path / "run", *LONG)
    assert f"Resuming {tmp_path / 'run'} at step {steps} of 32" in output
    assert_ends_alike(tmp_path / "run", undisturbed)

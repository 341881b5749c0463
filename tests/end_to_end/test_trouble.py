"""Runs that fail: the command's message, what it leaves in the workdir, and its exit status."""

import contextlib
import os
import subprocess
import time

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from tests.end_to_end import command


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(train, tmp_path):
    """Exit with status 1, the step and its faces; keep the checkpoint before parameters diverged, and none later."""
    # Steps 1 and 2: the warm-up begins at rate 0, so the first leaves the parameters finite.
    output = train(tmp_path / "run", "--config.optim.lr=1e30", "--config.train.checkpoint_steps=1", status=1)
    assert "error: not finite at step 3: " in output and "loss nan" in output
    faces = [line for line in output.splitlines() if line.startswith("  ")]
    assert len(faces) == 8 and all("/T" in face and " frame " in face for face in faces)
    assert f"{tmp_path / 'run'}/checkpoints keeps the state of step 1." in output
    assert command.saved_steps(tmp_path / "run") == [1]
    assert len(command.losses(tmp_path / "run")) == 2
    output = train(tmp_path / "run", "--config.optim.lr=1e-3", "--config.train.checkpoint_steps=1", status=2)
    assert "begun with another configuration; give another --workdir\n  optim.lr: 1e+30 there, 0.001 here" in output
    output = train(tmp_path / "run", "--config.optim.lr=1e30", "--config.train.checkpoint_steps=1", status=1)
    assert "Resuming" in output and "at step 1 of 6" in output


def test_wrong_arguments_are_refused(train, tmp_path):
    """Print one line with the closest valid key, and write nothing."""
    for word, message in {
        "--config.optim.lrr=1": "error: --config.optim.lrr: there is no such key; did you mean --config.optim.lr?",
        "--config.optim.lr=fast": "error: flag --config.optim.lr=fast: could not convert string to float: 'fast'",
    }.items():
        assert train(tmp_path / "run", word, status=2).splitlines() == [message]
    output = train(tmp_path / "run", config="configs/disfa.py:fld=1", status=2)
    assert (
        output.strip() == "error: --config …:fld=1: expected key=value with a key of fold, samples, select_on, updates"
    )
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_and_can_be_corrected(train, tmp_path):
    """List the differences; then take the right weights in the same workdir, as no run had begun."""
    weights.save(tmp_path / "weights", TINY, fgnet.init(TINY), weights.WeightsMeta())
    output = train(tmp_path / "run", f"--config.init_from={tmp_path / 'weights'}", status=2)
    assert "holds another network than the configuration's:" in output
    assert "  image_size: 64 there, 32 here" in output
    assert not (tmp_path / "run/config.json").exists()


@contextlib.contextmanager
def small_disk(folder, megabytes):
    """Mount a file system of this size."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and not subprocess.run(words, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system can only be mounted as root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_the_run_with_the_last_save_whole(train, tmp_path):
    """Exit with status 1 and a message, and resume when there is free space again."""
    more = ("--config.train.epochs=20", "--config.train.checkpoint_steps=1")
    workdir = tmp_path / "disk/run"
    with small_disk(tmp_path / "disk", 40):
        process = train.start(workdir, *more)
        while not (workdir / "checkpoints/4").exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        with open(tmp_path / "disk/full", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(2**16))
        output, _ = process.communicate()
        assert process.returncode == 1, output
        assert f"error: the disk of {workdir} is full. The last good save stays in {workdir}/checkpoints" in output
        steps = command.saved_steps(workdir)[-1]
        command.last(workdir)
        (tmp_path / "disk/full").unlink()
        process = train.start(workdir, *more)
        line = ""
        while "Resuming" not in line:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line or process.poll() is None
        process.kill()
        process.communicate()
        assert f"at step {steps} of" in line


def test_a_disk_too_small_is_refused_before_training(train, tmp_path):
    """Name the space that is needed."""
    with small_disk(tmp_path / "disk", 1):
        output = train(tmp_path / "disk/run", status=2)
        assert output.startswith(f"error: cannot write to {tmp_path}/disk/run:") and "needed" in output

"""Runs that fail: the command's message, what it leaves in the workdir, and its exit status."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time

import pytest

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.runtime import files
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
        assert train(tmp_path / "run", word, status=2).splitlines() == [f"fgnet_jax.train: {message}"]
    output = train(tmp_path / "run", "--config.seed=-1", status=2)
    assert output.splitlines()[-1].endswith("error: seed must be at least 0 and below 2**32, got -1")
    output = train(tmp_path / "run", config="configs/disfa.py:fld=1", status=2)
    expected = "--config …:fld=1: expected key=value with a key of fold, seed, samples, select_on, updates"
    assert output.strip() == f"fgnet_jax.train: error: {expected}"
    assert not (tmp_path / "run").exists()


def test_weights_of_another_network_are_refused_and_can_be_corrected(train, tmp_path):
    """List the differences; then take the right weights in the same workdir, as no run had begun."""
    weights.save(tmp_path / "weights", TINY, fgnet.init(TINY), weights.WeightsMeta())
    output = train(tmp_path / "run", f"--config.init_from={tmp_path / 'weights'}", status=2)
    assert "holds another network than the configuration's:" in output
    assert "  image_size: 64 there, 32 here" in output
    assert not (tmp_path / "run/config.json").exists()


def test_a_second_training_in_a_workdir_is_refused(train, tmp_path):
    """In one line that names the process that trains there, at once; nothing is rendered or written."""
    (tmp_path / "run").mkdir()
    with files.locked(tmp_path / "run/.lock"):
        output = train(tmp_path / "run", f"--config.data.dir={tmp_path / 'data'}", status=2)
    message = rf"error: {tmp_path}/run is in use by process {os.getpid()} on \S+, since \S+: wait until .* ends, or "
    assert re.search(f"{message}give another folder$", output.splitlines()[-1]) and "Traceback" not in output
    assert os.listdir(tmp_path / "run") == [".lock"] and not (tmp_path / "data").exists()


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
        *above, last = output.splitlines()
        assert last.startswith(f"fgnet_jax.train: error: the disk of {workdir} is full. The last good save stays in ")
        assert len(above) < 30 and "Traceback" not in output, output
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
        assert output.startswith(f"fgnet_jax.train: error: cannot write to {tmp_path}/disk/run:") and "needed" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_is_never_lost(train, tmp_path, number):
    """At any moment: in imports, while data are opened, and while the step compiles. There is one line, and no save."""
    moments = random.Random(number)
    for k in range(5):
        process = train.start(tmp_path / f"run{k}", "--config.train.epochs=200")
        time.sleep(moments.uniform(0.8, 6))
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        if not (tmp_path / f"run{k}/metrics.jsonl").exists() or not command.metrics(tmp_path / f"run{k}"):
            assert process.returncode == 128 + number, output
            last = f"fgnet_jax.train: error: stopped by {number.name} before there was anything new to save"
            assert output.splitlines()[-1] == last and "Traceback" not in output
        else:
            assert process.returncode == 0 and "all is saved" in output, output


@pytest.mark.slow
def test_a_compilation_beforehand_ends_at_once(train, tmp_path):
    """There is nothing that it could have saved."""
    process = train.start(tmp_path / "run", "--compile_for=cpu")
    assert process.stdout is not None
    assert any("compiling the training step" in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert output.splitlines()[-1] == "fgnet_jax.train: error: stopped by SIGTERM"


@pytest.mark.slow
def test_a_second_ctrl_c_interrupts_with_a_line(train, tmp_path):
    """At once, without tracebacks; what is saved stays."""
    process = train.start(tmp_path / "run", "--config.train.epochs=200")
    while not (tmp_path / "run/metrics.jsonl").exists() or not command.metrics(tmp_path / "run"):
        assert process.poll() is None
        time.sleep(0.01)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    while "SIGINT received" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    if process.returncode:  # it may have saved everything in between
        line = "interrupted before everything was saved; the same command resumes from the last save"
        assert process.returncode == 130 and output.splitlines()[-1] == f"fgnet_jax.train: error: {line}", output
    assert "Traceback" not in output


def test_home_folders_in_a_configuration_are_expanded(train, tmp_path):
    """Of `init_from` and `data.dir` in the file, and of `--workdir=~/…`, which no shell expands."""
    home = tmp_path / "home"
    home.mkdir()
    text = (command.ROOT / "configs/tiny.py").read_text()
    text = text.replace("return config", "config.init_from = '~/weights'\n    return config")
    (home / "my.py").write_text(text)
    process = train.start("~/run", config="~/my.py", more={"HOME": str(home)})
    output, _ = process.communicate()
    assert process.returncode == 2 and output.startswith(f"fgnet_jax.train: error: {home}/weights: no such weights")
    assert sorted(path.name for path in home.iterdir()) == ["my.py"] and not (command.ROOT / "~").exists()

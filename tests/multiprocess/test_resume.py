"""A run that is pre-empted and resumed on other machines ends with the same numbers."""

import os
import time

import numpy as np
import pytest

from fgnet_jax.runtime import files
from tests.end_to_end import command
from tests.multiprocess.test_devices import COMMON, free_port

pytestmark = pytest.mark.slow  # several processes

LONG = {"optim.warmup_steps": 0, "train.epochs": 8, "train.steps_per_epoch": 5, "train.eval_frames": 16}
SETTINGS = [
    f"--config.{key}={value}" for key, value in (COMMON | LONG | {"optim.name": "sgd", "optim.lr": 1e-3}).items()
]


def _start_two(train, workdir, *more):
    """Start the command as two processes of one device."""
    address = ["--multihost", f"--coordinator=localhost:{free_port()}", "--processes=2"]
    environment = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    return [train.start(workdir, *SETTINGS, *more, *address, f"--process={k}", more=environment) for k in range(2)]


def _wait_for_a_step(workdir, processes):
    while not (workdir / "metrics.jsonl").exists() or not command.metrics(workdir):
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def test_two_processes_are_pre_empted_and_one_of_two_devices_resumes(train, tmp_path):
    """SIGTERM to one of them alone: both save the same step and exit 0; the results are those of one device."""
    train(tmp_path / "alone", *SETTINGS)
    processes = _start_two(train, tmp_path / "run")
    _wait_for_a_step(tmp_path / "run", processes)
    processes[1].terminate()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert "Stopped by pre-emption; all is saved. The same command resumes from here." in outputs[0]
    step = command.saved_steps(tmp_path / "run")[-1]
    assert 0 < step < 40
    assert f"at step {step} of 40" in train(tmp_path / "run", *SETTINGS, devices=2)
    np.testing.assert_allclose(command.losses(tmp_path / "run"), command.losses(tmp_path / "alone"), atol=1e-5)
    expected, actual = command.last(tmp_path / "alone"), command.last(tmp_path / "run")
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_two_processes_are_both_refused_where_another_trains(train, tmp_path):
    """Process 0 looks for both: each ends at once, with status 2, and none waits for the other."""
    (tmp_path / "run").mkdir()
    with files.locked(tmp_path / "run/.lock"):
        processes = _start_two(train, tmp_path / "run")
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], "\n".join(outputs)
    assert f"is in use by process {os.getpid()}" in outputs[0].splitlines()[-1], outputs[0]
    assert "is in use by another training, as process 0 says" in outputs[1].splitlines()[-1], outputs[1]


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_process_is_killed_the_other_says_so_and_ends(train, tmp_path, victim):
    """Which one is gone, which step is saved and what to do, as the last line; also of process 0, which coordinates."""
    processes = _start_two(train, tmp_path / "run", "--config.train.checkpoint_steps=2")
    while not (tmp_path / "run/checkpoints/2").exists():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[victim].kill()
    output, _ = processes[1 - victim].communicate(timeout=90)
    processes[victim].communicate()
    step = command.saved_steps(tmp_path / "run")[-1]
    assert processes[1 - victim].returncode == 1, output
    last = output.splitlines()[-1]
    assert last.startswith(f"fgnet_jax.train: error: process {victim} of 2 is gone"), output
    assert f"; step {step} is saved in {tmp_path / 'run'}. Start the same command on all hosts again" in last
    assert "Traceback" not in output


def test_when_a_process_fails_the_other_says_so_and_ends(train, tmp_path):
    """Its own error is the last line of the one; the other names it."""
    address = ["--multihost", f"--coordinator=localhost:{free_port()}", "--processes=2"]
    environment = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    wrong = ["--config.init_from=nowhere"], []
    processes = [
        train.start(tmp_path / "run", *SETTINGS, *wrong[k], *address, f"--process={k}", more=environment)
        for k in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs[0].splitlines()[-1].startswith("fgnet_jax.train: error: ") and "nowhere" in outputs[0]
    assert "fgnet_jax.train: error: process 0 of 2 has ended with an error" in outputs[1].splitlines()[-1], outputs[1]
    assert [process.returncode for process in processes] == [2, 1]

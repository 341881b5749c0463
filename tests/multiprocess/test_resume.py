"""A run that is pre-empted and resumed on other machines ends with the same numbers."""

import time

import numpy as np
import pytest

from tests.end_to_end import command
from tests.multiprocess.test_devices import COMMON, free_port

pytestmark = pytest.mark.slow  # several processes

LONG = {"optim.warmup_steps": 0, "train.epochs": 8, "train.steps_per_epoch": 5, "train.eval_frames": 16}
SETTINGS = [
    f"--config.{key}={value}" for key, value in (COMMON | LONG | {"optim.name": "sgd", "optim.lr": 1e-3}).items()
]


def _start_two(train, workdir):
    """Start the command as two processes of one device."""
    address = ["--multihost", f"--coordinator=localhost:{free_port()}", "--processes=2"]
    environment = {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    return [train.start(workdir, *SETTINGS, *address, f"--process={k}", more=environment) for k in range(2)]


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

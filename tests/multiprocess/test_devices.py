"""Numbers of devices and processes change how the work is divided, but no result."""

import dataclasses
import json
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.runtime import sharding
from fgnet_jax.train import config, defaults
from tests.end_to_end import command
from tests.end_to_end.command import ROOT

pytestmark = pytest.mark.slow  # several devices and processes

tiny = defaults.load_config_file("tiny")

COMMON = {
    "model.dropout": 0.0,
    "model.image_size": 16,
    "model.heatmap_size": 8,
    "model.mapping_layers": 1,
    "model.style_dim": 32,  # with the widths, large enough for parameters to be sharded
    "model.encoder_channels": (32, 32, 32),
    "model.generator_channels": (32, 32, 32, 8),
    "optim.warmup_steps": 0,
    "optim.schedule": "constant",
    "train.epochs": 1,
    "train.eval_frames": 16,
}
KINDS = {
    "adamw": {"optim.name": "adamw", "optim.lr": 5e-5, "optim.clip": 0.1},
    "weighted": {
        "optim.name": "sgd",
        "optim.lr": 0.1,
        "loss.positive_weight": "inverse_frequency",
        "loss.focal": 1.0,
        "data.sampler": "balanced",
        "train.ema": 0.9,
        "train.evaluate_steps": 2,
        "train.keep_best": 2,
    },
}
MODEL = dataclasses.replace(
    config.model_config(tiny.get_config()),
    **{key.removeprefix("model."): value for key, value in COMMON.items() if key.startswith("model.")},
)
TOPOLOGIES = {"one of 8": (1, 8), "two of 2": (2, 2)}
ALONE = [("weighted", False), ("adamw", False)]
DIVIDED = [("weighted", False), ("weighted", True), ("adamw", True)]
"""Kinds, and whether parameters are split. Plain SGD with whole ones is resumed on other devices in test_resume.py."""


def specs(train, folder, runs):
    """Return runs, each a kind and whether parameters are split, as JSON for the worker."""
    described = []
    for kind, shard in runs:
        overrides = COMMON | KINDS[kind] | {"train.shard_params": shard, "data.dir": str(train.shared / "data")}
        described.append({"workdir": str(folder / f"{kind}_{shard}"), "overrides": overrides})
    return json.dumps(described)


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def run_together(commands, train, devices):
    """Start processes that work together and wait for all of them; return the output of each."""
    # CPUs of several processes communicate by Gloo.
    environment = train.environment(devices) | {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT, "env": environment}
    processes = [subprocess.Popen(words, **options) for words in commands]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)
    return outputs


def train_all(train, folder, processes, devices, runs):
    """Train every run on this topology; return the folder of their workdirs."""
    words = [sys.executable, "-m", "tests.multiprocess.worker", specs(train, folder, runs)]
    if processes == 1:
        commands = [words]
    else:
        address = f"localhost:{free_port()}"
        commands = [[*words, address, str(processes), str(process)] for process in range(processes)]
    run_together(commands, train, devices)
    return folder


@pytest.fixture(scope="module")
def alone(train, tmp_path_factory):
    """Train in one process with one device, the reference of the others."""
    return train_all(train, tmp_path_factory.mktemp("alone"), 1, 1, ALONE)


@pytest.fixture(scope="module", params=TOPOLOGIES)
def divided(request, train, tmp_path_factory):
    """Train on several devices, in one process or two."""
    processes, devices = TOPOLOGIES[request.param]
    return train_all(train, tmp_path_factory.mktemp("divided"), processes, devices, DIVIDED)


def test_the_network_has_parameters_that_are_sharded():
    """On eight devices and on four; otherwise the tests below would not test sharding."""
    for count in (4, 8):
        mesh = jax.sharding.AbstractMesh((count,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
        layout = sharding.Sharding(mesh, shard_params=True)  # pyright: ignore[reportArgumentType]
        placed = jax.tree.leaves(layout.of(fgnet.abstract(MODEL)))
        assert sum(not place.is_fully_replicated for place in placed) > 20


SHARDINGS = pytest.mark.parametrize("shard", [False, True], ids=["replicated", "sharded"])


@SHARDINGS
def test_losses_parameters_and_averages_are_the_same(alone, divided, shard):
    """After five steps, to 1e-5: with positive weights of the whole batch, a balanced order, and averages."""
    reference, run = alone / "weighted_False", divided / f"weighted_{shard}"
    assert len(command.losses(reference)) == 5
    np.testing.assert_allclose(command.losses(run), command.losses(reference), rtol=0, atol=1e-5)
    assert command.losses(reference)[0] != pytest.approx(command.losses(alone / "adamw_False")[0], rel=1e-3)
    expected, actual = command.last(reference), command.last(run)
    assert expected.keys() == actual.keys() and any(name.startswith(".averages") for name in expected)
    fresh = fgnet.init(MODEL).params
    changes = [np.abs(expected[f".params['{path}']"] - value).max() for path, value in fresh.items()]
    assert np.median(changes) > 1e-4, "parameters hardly changed, so their being equal shows nothing"
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_adamw_with_split_parameters_gives_the_same_losses(alone, divided):
    """To 1e-4: Adam divides by the root of tiny second moments, which amplifies differences of the gradients."""
    expected, actual = command.losses(alone / "adamw_False"), command.losses(divided / "adamw_True")
    assert len(expected) == 5
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@SHARDINGS
def test_evaluation_counts_every_face_once(alone, divided, shard):
    """The best weights, written by all processes into one directory, and F1 by all devices together."""
    reference, run = alone / "weighted_False", divided / f"weighted_{shard}"
    assert command.best(reference).keys() == command.best(run).keys()
    assert all((run / name / "meta").is_dir() for name in ("best", "best_2"))
    assert [line["step"] for line in command.metrics(run) if "mean_f1" in line] == [2, 4, 5]
    for au, value in command.f1(reference).items():
        assert abs(command.f1(run)[au] - value) < 0.1, au  # a score near 0 may fall to the other side

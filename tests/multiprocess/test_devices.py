"""Devices and processes change how the work is divided, and no number."""

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

tiny = defaults.load_config_file("tiny")

COMMON = {
    "model.dropout": 0.0,
    "model.image_size": 16,
    "model.heatmap_size": 8,
    "model.mapping_layers": 1,
    "model.style_dim": 32,  # with the widths, enough for parameters to be worth sharding
    "model.encoder_channels": (32, 32, 32),
    "model.generator_channels": (32, 32, 32, 8),
    "optim.warmup_steps": 0,
    "optim.schedule": "constant",
    "train.epochs": 1,
    "train.eval_frames": 16,
}
KINDS = {
    "sgd": {"optim.name": "sgd", "optim.lr": 0.1},
    "adamw": {"optim.name": "adamw", "optim.lr": 5e-5, "optim.clip": 0.1},
}
MODEL = dataclasses.replace(
    config.model_config(tiny.get_config()),
    **{key.removeprefix("model."): value for key, value in COMMON.items() if key.startswith("model.")},
)
TOPOLOGIES = {"one of 8": (1, 8), "two of 2": (2, 2)}


def specs(train, folder, shardings):
    """One run for every optimiser and sharding."""
    runs = []
    for kind, overrides in KINDS.items():
        for shard in shardings:
            overrides = COMMON | overrides | {"train.shard_params": shard, "data.dir": str(train.shared / "data")}
            runs.append({"workdir": str(folder / f"{kind}_{shard}"), "overrides": overrides})
    return json.dumps(runs)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def run_together(commands, train, devices):
    """Starts processes that work together and waits for all of them; returns what each said."""
    # Gloo is what CPUs of several processes talk by.
    environment = train.environment(devices) | {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT, "env": environment}
    processes = [subprocess.Popen(words, **options) for words in commands]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def train_all(train, folder, processes, devices, shardings):
    """Every run on this topology."""
    words = [sys.executable, "-m", "tests.multiprocess.worker", specs(train, folder, shardings)]
    if processes == 1:
        commands = [words]
    else:
        address = f"localhost:{free_port()}"
        commands = [[*words, address, str(processes), str(process)] for process in range(processes)]
    run_together(commands, train, devices)
    return folder


@pytest.fixture(scope="module")
def alone(train, tmp_path_factory):
    """One process with one device: what the others are compared with."""
    return train_all(train, tmp_path_factory.mktemp("alone"), 1, 1, [False])


@pytest.fixture(scope="module", params=TOPOLOGIES)
def divided(request, train, tmp_path_factory):
    """Several devices, in one process or two."""
    processes, devices = TOPOLOGIES[request.param]
    return train_all(train, tmp_path_factory.mktemp("divided"), processes, devices, [False, True])


def test_the_network_has_parameters_that_are_sharded():
    """On eight devices and on four; otherwise the tests below would show nothing of it."""
    for count in (4, 8):
        mesh = jax.sharding.AbstractMesh((count,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
        layout = sharding.Sharding(mesh, shard_params=True)  # pyright: ignore[reportArgumentType]
        placed = jax.tree.leaves(layout.of(fgnet.abstract(MODEL)))
        assert sum(not place.is_fully_replicated for place in placed) > 20


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_sgd_gives_the_same_losses_and_parameters(alone, divided, shard):
    """After five steps, to 1e-5."""
    one, other = alone / "sgd_False", divided / f"sgd_{shard}"
    assert len(command.losses(one)) == 5
    np.testing.assert_allclose(command.losses(other), command.losses(one), rtol=0, atol=1e-5)
    wanted, actual = command.last(one), command.last(other)
    assert wanted.keys() == actual.keys()
    fresh = fgnet.init(MODEL).params
    moved = [np.abs(wanted[f".params['{path}']"] - value).max() for path, value in fresh.items()]
    assert np.median(moved) > 1e-4, "parameters hardly moved, so their being equal shows nothing"
    for name, value in wanted.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_adamw_gives_the_same_losses(alone, divided, shard):
    """To 1e-4: Adam divides by the root of tiny second moments, which is less steady than the gradients."""
    one, other = command.losses(alone / "adamw_False"), command.losses(divided / f"adamw_{shard}")
    assert len(one) == 5
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_evaluation_counts_every_face_once(alone, divided, shard):
    """The best weights, written by all processes into one directory, and F1 by all devices together."""
    one, other = alone / "sgd_False", divided / f"sgd_{shard}"
    assert command.best(one).keys() == command.best(other).keys()
    for au, value in command.f1(one).items():
        assert abs(command.f1(other)[au] - value) < 0.1, au  # a score near 0 may fall to the other side

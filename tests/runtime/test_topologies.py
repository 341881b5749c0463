"""Names of devices to compile for, what is missing for them, and the files that describe GPUs."""

import importlib.util
import os

import pytest

from fgnet_jax.runtime import topologies
from fgnet_jax.runtime.topologies import GIB, Chip, TargetError


@pytest.mark.parametrize(
    "name", ["v5e", "v5e:", "v5e:4", "v5e:0x2", "h100:0", "h200", "a100:x", "gpu", "", "v5e:4x4 ", "cpu:2"]
)
def test_a_wrong_name_is_refused_with_what_is_expected(name):
    """In one line."""
    with pytest.raises(TargetError, match=f"^--compile_for {name}: expected a TPU topology such as v5e:4x4"):
        topologies.check_name(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("H100:8", "h100:8"),
        ("V5E:4x4", "v5e:4x4"),
        ("v5e-16", "v5e:4x4"),
        ("v5litepod-8", "v5e:2x4"),
        ("v6e-64", "v6e:8x8"),
    ],
)
def test_other_names_of_a_device_are_understood(name, meant):
    """Cloud TPUs are rented by their number of chips."""
    with pytest.raises(TargetError, match=rf"or cpu; did you mean {meant}\?$"):
        topologies.check_name(name)


@pytest.mark.parametrize("name", ["v5e:1x1", "v4:2x2x1", "v5p:4x4x4", "v6e:16x16", "tpu7x:2x2x1", "h100", "a100:8"])
def test_a_missing_compiler_is_named_with_the_extra_that_has_it(name, monkeypatch):
    """Where it is installed, the name passes."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    is_gpu = name[0] in "ha"
    extra, library = ("cuda", "JAX's plugin for CUDA") if is_gpu else ("tpu", "libtpu")
    with pytest.raises(
        TargetError, match=rf"^--compile_for {name} needs {library}: pip install 'fgnet_jax\[{extra}\]'"
    ):
        topologies.check_name(name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: module)
    topologies.check_name(name)


def test_this_machines_cpus_are_a_target():
    """With its memory; their pace is not known."""
    target = topologies.open_target("cpu")
    assert (target.platform, target.hosts, target.chip.rate) == ("cpu", 1, 0)
    assert target.chip.memory > GIB


@pytest.mark.parametrize(("kind", "processors"), [("h100", 132), ("a100", 108)])
def test_gpus_are_described(kind, processors):
    """JAX takes three quarters of the memory of a GPU, unless its variable says otherwise."""
    text = (topologies.GPUS / f"{kind}.txtpb").read_text()
    assert f"core_count: {processors}\n" in text and "NVIDIA" in text
    assert topologies.gpu_memory(text, "0.75") == int(0.75 * 84942979072)
    assert topologies.gpu_memory(text, "1") == 84942979072
    with pytest.raises(TargetError, match="XLA_PYTHON_CLIENT_MEM_FRACTION=most: expected a share"):
        topologies.gpu_memory(text, "most")


def test_products_in_float32_are_slower():
    """Six times with the highest precision on a TPU, where it is computed by products of bfloat16."""
    chip = topologies.TPUS["TPU v5 lite"]
    assert chip.rate_of("bfloat16", "default") == pytest.approx(118e12, rel=2e-3)
    assert chip.rate_of("float32", "highest") == pytest.approx(chip.rate / 6)
    assert chip.memory == 15.75 * GIB and chip.bandwidth == 819e9
    assert Chip().rate_of("float32", "highest") == 0


def test_the_environment_leaves_what_is_set(monkeypatch):
    """But JAX computes on CPUs: a TPU that is there stays free for others."""
    monkeypatch.setattr(os, "environ", {"JAX_PLATFORMS": "tpu", "TPU_WORKER_ID": "3"})
    topologies.set_environment()
    assert (os.environ["JAX_PLATFORMS"], os.environ["TPU_WORKER_ID"]) == ("cpu", "3")
    assert os.environ["TPU_SKIP_MDS_QUERY"] == "1"


def test_shapes_of_topologies():
    """A host has 2x2 chips unless there are fewer; TPUs v4 are one device a chip, not two."""
    assert topologies.tpu_options("5e", [4, 4]) == {}
    assert topologies.tpu_options("6e", [1, 1]) == {"chips_per_host_bounds": [1, 1, 1]}
    assert topologies.tpu_options("4", [2, 2, 1]) == {"chip_config_name": "megacore"}

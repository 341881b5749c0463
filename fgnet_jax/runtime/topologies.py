"""Devices that this machine does not have, for which XLA compiles on it all the same.

    target = topologies.open_target("v5e:4x4")
    layout = sharding.create(devices=target.devices)  # then jit with its placements, lower, compile

TPUs need libtpu (extra `tpu`), GPUs the CUDA plugin of JAX (extra `cuda`); neither needs a device.
"""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Device = Any
"""A device of JAX: type checkers do not accept its class."""

EXPECTED = "a TPU topology such as v5e:4x4 or v4:2x2x1, h100 or a100 (h100:8 for eight), or cpu"

GIB = 2**30

GPUS_A_HOST = 8

GPUS = Path(__file__).parent / "gpus"
"""Folder of the files that describe GPUs to XLA."""

_MEMORY_SHARE = "XLA_PYTHON_CLIENT_MEM_FRACTION"

_TPU = re.compile(r"(?:tpu)?v?(\d+[a-z]*):([1-9]\d*(?:x[1-9]\d*)+)")
_GPU = re.compile(r"([ah]100)(?::([1-9]\d*))?")

# Topologies by the number of chips, by which slices of v5e and v6e are rented.
_SLICES = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}

# What libtpu would read from a TPU's own host; and it may be loaded beside another process' libtpu, since no chip is
# opened.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # "Very slow compile?", after two minutes; errors are raised, too
}


class TargetError(ValueError):
    """A device that cannot be compiled for here; the message names it, and what was expected or is missing."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a device has, and the rates of its roofline.

    Attributes:
      memory: Bytes that a program may use; 0 if unknown.
      bandwidth: Bytes a second to and from its memory; 0 if unknown.
      rate: FLOP a second in bfloat16, as convolutions reach them; 0 if unknown.
      float32: Share of `rate` at which float32 is multiplied, by the precision of products ("highest", …).
      interconnect: Bytes a second that it sends to the others of its host or pod; 0 if unknown.
    """

    memory: int = 0
    bandwidth: float = 0.0
    rate: float = 0.0
    float32: tuple[tuple[str, float], ...] = ()
    interconnect: float = 0.0

    def rate_of(self, dtype: str, precision: str) -> float:
        """Return FLOP a second of products in a number format and, for float32, a precision."""
        return self.rate * (dict(self.float32).get(precision, 1.0) if dtype == "float32" else 1.0)


# One, three or six products of bfloat16 for one of float32; the compiler counts each as one.
_PASSES = (("default", 1.0), ("high", 1 / 3), ("highest", 1 / 6))


def _tpu(memory: float, bandwidth: float, peak: float, interconnect: float = 0) -> Chip:
    """Return a TPU by GiB, GB/s, the peak in TFLOP/s (convolutions reach three fifths of it), and GB/s to others."""
    return Chip(int(memory * GIB), bandwidth * 1e9, 0.6 * peak * 1e12, _PASSES, interconnect * 1e9)


# By JAX's names of devices, which are a chip, or half of one (v2, v3, 7x). Memory: what libtpu's compiler allows.
# Bandwidth and peak: Google Cloud's pages of TPU versions. Interconnect: both ways along one axis of the torus, 45 GB/s
# each in v4 and v5e, 90 in v5p and v6e ("How to scale your model", Austin et al. 2025).
TPUS = {
    "TPU v2": _tpu(7.48, 350, 23),
    "TPU v3": _tpu(15.48, 450, 61.5),
    "TPU v4": _tpu(30.75, 1228, 275, 90),
    "TPU v5 lite": _tpu(15.75, 819, 197, 90),
    "TPU v5": _tpu(95.74, 2765, 459, 180),
    "TPU v6 lite": _tpu(31.25, 1640, 918, 180),
    "TPU7x": _tpu(94.75, 3690, 1153.5),
}

# H100: bandwidth and rate as measured on one (89 % and 48 % of NVIDIA's figures); A100: the same shares of its own.
# TF32 has half the rate of bfloat16; float32 without tensor cores is NVIDIA's figure (67 and 19.5 TFLOP/s), and so
# is the interconnect, NVLink one way.
_GPUS = {
    "h100": (3.0e12, 474e12, (("default", 0.5), ("high", 0.5), ("highest", 67 / 474)), 450e9),
    "a100": (1.82e12, 150e12, (("default", 0.5), ("high", 0.5), ("highest", 19.5 / 150)), 300e9),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      name: As it was given: `v5e:4x4`, `h100:8`.
      devices: All of them.
      chip: What each has.
    """

    name: str
    devices: Sequence[Device]
    chip: Chip

    @property
    def platform(self) -> str:
        """The kind of its devices: "cpu", "gpu" or "tpu"."""
        return self.devices[0].platform

    @property
    def kind(self) -> str:
        """The devices' name."""
        return self.devices[0].device_kind

    @property
    def hosts(self) -> int:
        """Number of hosts that the devices belong to, each of which runs a process."""
        return len({device.process_index for device in self.devices})


def set_environment() -> None:
    """Have JAX compute on CPUs, and libtpu find what it looks for; call this before JAX is imported.

    A GPU or TPU that this machine has stays free.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def check_name(name: str) -> None:
    """Check the name of a target, and that its compiler is installed; loads neither.

    Raises:
      TargetError: It is no such name, or a library is missing; the message names the extra that has it.
    """
    if name == "cpu":
        return
    if _GPU.fullmatch(name):
        plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
        _check_installed(name, plugins, "JAX's plugin for CUDA", extra="cuda")
    elif _TPU.fullmatch(name):
        _check_installed(name, ("libtpu",), "libtpu", extra="tpu")
    else:
        raise TargetError(f"--compile_for {name}: expected {EXPECTED}{_meant(name)}")


def _meant(name: str) -> str:
    """Return a remark about a name that others use for such a device: `H100`, `v5e-16`, `v5litepod-16`; or nothing."""
    lower = name.lower()
    if lower != name and (_GPU.fullmatch(lower) or _TPU.fullmatch(lower)):
        return f"; did you mean {lower}?"
    match = re.fullmatch(r"v?(5e|5litepod|6e)-?(\d+)", lower)
    if match and (sizes := _SLICES.get(int(match[2]))):
        return f"; did you mean v{match[1].replace('litepod', 'e')}:{sizes}?"
    return ""


def _check_installed(name: str, modules: Sequence[str], library: str, *, extra: str) -> None:
    if not any(importlib.util.find_spec(module) for module in modules):
        raise TargetError(
            f"--compile_for {name} needs {library}: pip install 'fgnet_jax[{extra}]', in a checkout '.[{extra}]'"
        )


def open_target(name: str) -> Target:
    """Return the devices of a target: of a TPU topology, of GPUs of one kind, or this machine's CPUs.

    Raises:
      TargetError: There is no such target, or its compiler is not installed.
    """
    check_name(name)
    import jax

    try:
        if name == "cpu":
            return Target(name, jax.devices("cpu"), Chip(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
        return _gpus(name) if _GPU.fullmatch(name) else _tpus(name)
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError) as error:
        reason = str(error).split("\n")[0].removeprefix("INVALID_ARGUMENT: ")
        raise TargetError(f"--compile_for {name}: {reason}; expected {EXPECTED}") from error


def _gpus(name: str) -> Target:
    from jax.experimental import topologies

    kind, _, number = name.partition(":")
    count = int(number or 1)
    hosts = -(-count // GPUS_A_HOST)
    if count % hosts:
        raise TargetError(
            f"--compile_for {name}: {count} GPUs do not divide over {hosts} hosts of {GPUS_A_HOST} at most"
        )
    text = (GPUS / f"{kind}.txtpb").read_text(encoding="utf-8")
    described = topologies.get_topology_desc(kind, "cuda", target_config=text, topology=f"{hosts}x1x{count // hosts}")
    memory = gpu_memory(text, os.environ.get(_MEMORY_SHARE, "0.75"))
    return Target(name, described.devices, Chip(memory, *_GPUS[kind]))


def gpu_memory(description: str, share: str) -> int:
    """Return the bytes that JAX takes of a GPU's memory.

    Args:
      description: The file that describes the GPU.
      share: The part that JAX takes, as its variable has it.
    """
    memory = re.search(r"device_memory_size: (\d+)", description)
    assert memory is not None
    try:
        return int(int(memory[1]) * float(share))
    except ValueError as error:
        raise TargetError(f"{_MEMORY_SHARE}={share}: expected a share of memory, such as 0.9") from error


def _tpus(name: str) -> Target:
    from jax.experimental import topologies

    match = _TPU.fullmatch(name)
    assert match is not None
    version, sizes = match[1], [int(size) for size in match[2].split("x")]
    known = f"tpu{version}" if version == "7x" else f"v{version}"
    options = tpu_options(version, sizes)
    described = topologies.get_topology_desc(f"{known}:{match[2]}", "tpu", **options)
    return Target(name, described.devices, TPUS.get(described.devices[0].device_kind, Chip()))


def tpu_options(version: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Return libtpu's options for a topology of a version ("5e") with so many chips along each side."""
    options: dict[str, Any] = {}
    if any(size % 2 for size in sizes[:2]):  # fewer chips than a host's usual 2x2
        options["chips_per_host_bounds"] = [*sizes, 1, 1][:3]
    if version == "4":
        options["chip_config_name"] = "megacore"  # one device a chip, as JAX uses v4; by default it would be two
    return options

"""Measure how fast weights compute aligned faces on this machine: faces a second, latency, memory.

    fgnet-jax benchmark runs/student
    fgnet-jax benchmark weights/fgnet_disfa --seconds 60 --json pace.json

WEIGHTS is a weights directory, or the workdir of a run: an FG-Net's or a student's. Measured are the network and the
copies to the device and back: from faces that are found and aligned to scores and heatmaps in memory. Finding faces
in a video takes time of its own, which `predict` prints. Faces go through one at a time, each waiting for the one
before, as a camera's do; and in batches of --batch_size, where that is more than one.

Latency is the median of the calls, and their 99th percentile where there are at least a hundred. Faces a second are of
the same calls: their number through the sum of their times. The first call compiles, and does not count. GFLOP are
those of convolutions and matrix products, two per multiply-add, as the program for CPUs has them. Memory is that of
the whole process at its peak, Python, JAX and compilation included.

Exit status: 0; 1 if --json could not be written; 2 for a wrong command line, missing weights or devices.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.predict.latency import PERCENTILE_COUNT
from fgnet_jax.runtime import command_line, compilation_cache, devices, files, provenance
from fgnet_jax.runtime.command_line import positive

if TYPE_CHECKING:
    from fgnet_jax.models.config import NetworkConfig
    from fgnet_jax.predict.detector import Detector

COMMAND = "fgnet_jax.benchmark"

SECONDS = 10.0
"""Time that each measurement takes at least."""

MIN_CALLS = 5
"""Calls of each measurement at least, however long they take."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """Calls of the network, one after the other.

    Attributes:
      batch_size: Faces of a call.
      first: Seconds of the first call, which compiles.
      seconds: Seconds of each other call.
    """

    batch_size: int
    first: float
    seconds: tuple[float, ...]

    @property
    def faces_per_second(self) -> float:
        """Faces of all calls through their time."""
        return self.batch_size * len(self.seconds) / sum(self.seconds)

    @property
    def median(self) -> float:
        """Median latency of a call in seconds."""
        return float(np.median(self.seconds))

    @property
    def percentile_99(self) -> float | None:
        """Latency in seconds that 99 of 100 calls stay below; None where there are too few calls to know."""
        return float(np.percentile(self.seconds, 99)) if len(self.seconds) >= PERCENTILE_COUNT else None

    def to_dict(self) -> dict[str, Any]:
        """Return all figures, for JSON."""
        return {
            "batch_size": self.batch_size,
            "calls": len(self.seconds),
            "faces_per_second": self.faces_per_second,
            "latency_median": self.median,
            "latency_99th_percentile": self.percentile_99,
            "latency_longest": max(self.seconds),
            "first_call": self.first,
        }


def measure(detector: "Detector", seconds: float) -> Pace:
    """Measure full batches of faces, from uint8 faces to scores and heatmaps in the host's memory.

    Args:
      detector: The network, for batches of one size.
      seconds: How long to measure, at least; a last call is finished.
    """
    side = detector.config.image_size
    faces = np.random.default_rng(0).integers(0, 256, (detector.batch_size, side, side, 3), np.uint8)

    def call() -> float:
        start = time.perf_counter()
        detector.start(faces).result()
        return time.perf_counter() - start

    first, times = call(), list[float]()
    end = time.perf_counter() + seconds
    while len(times) < MIN_CALLS or time.perf_counter() < end:
        times.append(call())
    return Pace(detector.batch_size, first, tuple(times))


def gflop(config: "NetworkConfig", count: int) -> float:
    """Count the operations of a face in 1e9, as the program for CPUs has them.

    Args:
      config: The network's sizes.
      count: Heatmaps that belong to AUs.
    """
    import jax

    from fgnet_jax.models import fgnet
    from fgnet_jax.predict.network import forward
    from fgnet_jax.runtime import flops

    face = jax.ShapeDtypeStruct((1, config.image_size, config.image_size, 3), np.uint8)
    return flops.count(lambda v, x: forward(config, count, "cpu", v, x), fgnet.abstract(config), face) / 1e9


def describe(detector: "Detector", weights: str) -> dict[str, Any]:
    """Return what is measured: the weights, their network and its size."""
    from fgnet_jax.models.config import StudentConfig

    config = detector.config
    return {
        "weights": weights,
        "network": "student" if isinstance(config, StudentConfig) else "FG-Net",
        "aus": list(detector.aus),
        "image_size": config.image_size,
        "heatmap_size": config.heatmap_size,
        "dtype": config.dtype,
        "gflop": gflop(config, len(detector.aus)),
        "parameters": sum(int(np.prod(array.shape)) for array in detector.variables.params.values()),
    }


def machine() -> dict[str, Any]:
    """Return this machine: versions, devices, processor, the cores that this process may use, and their load."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return provenance.provenance() | {"processor": provenance.processor(), "cores": cores, "load": os.getloadavg()[0]}


def memory() -> dict[str, int | None]:
    """Return bytes at their peak, of this process and of its first device; None where the device does not tell."""
    import resource

    import jax

    unit = 1 if sys.platform == "darwin" else 1024
    of_device = jax.local_devices()[0].memory_stats() or {}
    return {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "device": of_device.get("peak_bytes_in_use"),
    }


def benchmark(weights: str, *, seconds: float, batch_size: int | None = None, dtype: str | None = None) -> dict:
    """Measure weights one face at a time, and in batches.

    Args:
      weights: The weights directory, or a run's workdir.
      seconds: How long each measurement takes at least.
      batch_size: Faces of a batch; None for the device's default.
      dtype: Number format to compute in; None for that of the weights.

    Returns:
      `describe`, with `machine`, `paces` (a `Pace` for each batch size) and `memory`.

    Raises:
      WeightsError: There are no such weights, or none that detect AUs.
    """
    from fgnet_jax.predict.detector import Detector

    host = machine()  # before this process adds to the load
    detector = Detector.load(weights, batch_size=batch_size, dtype=dtype)
    result = describe(detector, weights) | {"machine": host}
    one = detector if detector.batch_size == 1 else Detector.load(weights, batch_size=1, dtype=dtype)
    paces = [measure(network, seconds) for network in ([one] if one is detector else [one, detector])]
    return result | {"paces": paces, "memory": memory()}


def lines(result: dict[str, Any]) -> list[str]:
    """Return what the command prints of `benchmark`'s result."""
    host, used = result["machine"], result["memory"]
    device = "" if used["device"] is None else f"; {_megabytes(used['device'])} of the device"
    return [
        f"weights   {result['weights']}: {result['network']}, {len(result['aus'])} AUs, faces of "
        f"{result['image_size']}, heatmaps of {result['heatmap_size']}",
        f"network   {result['gflop']:.3g} GFLOP a face, {result['parameters'] / 1e6:.3g} million parameters",
        f"machine   {host['processor']}, {host['cores']} cores; {_devices(host['devices'])}; {result['dtype']}",
        *(line for pace in result["paces"] for line in _of_pace(pace)),
        f"memory    {_megabytes(used['process'])} of the process{device}, at their peak",
    ]


def _devices(found: dict[str, Any]) -> str:
    """Name the devices that JAX computes on."""
    if found["platform"] == "cpu":
        return "computed on the CPU"
    return f"computed on {found['count']} x {found['kind']}"


def _of_pace(pace: Pace) -> list[str]:
    """Return a line for faces a second, and one for latencies."""
    title = "one face at a time" if pace.batch_size == 1 else f"batches of {pace.batch_size}"
    slowest = f"longest {_milliseconds(max(pace.seconds))}"
    rare = "" if pace.percentile_99 is None else f"99th percentile {_milliseconds(pace.percentile_99)}, "
    return [
        f"pace      {pace.faces_per_second:.4g} faces/s, {title} ({len(pace.seconds)} calls)",
        f"latency   median {_milliseconds(pace.median)}, {rare}{slowest}; {pace.first:.1f} s to compile",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.4g} ms"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


@command_line.command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = parser().parse_args(argv)
    from fgnet_jax.models.weights import WeightsError

    devices.check()
    compilation_cache.enable("benchmark", is_enabled=not arguments.no_cache)
    options = {"seconds": arguments.seconds, "batch_size": arguments.batch_size, "dtype": arguments.dtype}
    try:
        result = benchmark(arguments.weights, **options)
    except WeightsError as error:
        return command_line.fail(COMMAND, error, 2)
    _warn_of_load(result["machine"])
    print("\n".join(lines(result)))
    return 0 if arguments.json is None else _write(result, arguments.json)


def _warn_of_load(host: dict[str, Any]) -> None:
    """Say so where other programs kept this machine busy: then the figures are theirs, too."""
    if host["load"] > host["cores"] / 4:
        busy = f"other programs are busy on this machine (load {host['load']:.1f} on {host['cores']} cores)"
        command_line.status("benchmark", f"{busy}: alone, it is faster")


def _write(result: dict[str, Any], path: Path) -> int:
    """Write the result as JSON, and return the exit status."""
    plain = result | {"paces": [pace.to_dict() for pace in result["paces"]]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps(plain, indent=1) + "\n")
    except OSError as error:
        return command_line.fail(COMMAND, f"cannot write {path}: {error}", 1)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = command_line.Parser(__doc__ or "", command_line.program("benchmark"))
    add = command.add_argument
    add("weights", metavar="WEIGHTS", help="a weights directory, or a run's workdir")
    add("--seconds", type=_seconds, default=SECONDS, help="how long each measurement takes at least (default 10)")
    add("--batch_size", type=positive, metavar="N", help="faces per batch; default 1 on CPUs, 8 on each GPU or TPU")
    add("--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON")
    add("--json", type=Path, metavar="FILE", help="write all figures, unrounded, and the machine as JSON")
    compilation_cache.add_flag(command)
    return command


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, at least 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())

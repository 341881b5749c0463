"""The largest kernels of a program, from a trace of JAX's profiler, read without TensorBoard."""

import collections
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

DERIVED = ("XLA", "Framework", "Steps", "Source", "TensorFlow")
"""First words of a GPU's lines that show the kernels a second time, grouped by operation or module."""

Event = Any
"""An event of `jax.profiler.ProfileData`: neither class has a type that checkers know."""
Profile = Any
"""`jax.profiler.ProfileData`."""


class NoKernelsError(Exception):
    """A trace has no kernels of a device."""


@dataclasses.dataclass(frozen=True)
class KernelTime:
    """Time of one kernel.

    Attributes:
      name: Its name.
      operation: The HLO instruction that it belongs to; empty where the trace does not tell.
      calls: Its launches in one run.
      seconds: The sum of their durations in one run.
    """

    name: str
    operation: str
    calls: float
    seconds: float


def kernels(folder: Path, runs: int) -> list[KernelTime]:
    """Read the kernels of a trace, the one that takes longest first.

    Args:
      folder: Where `jax.profiler.trace` wrote it.
      runs: Runs of the program in it.

    Raises:
      NoKernelsError: The trace has none, as where a GPU's counters may not be read.
    """
    sums: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for path in sorted(folder.rglob("*.xplane.pb")):
        for name, operation, seconds in _events(jax.profiler.ProfileData.from_file(str(path))):
            sums[name, operation].append(seconds)
    if not sums:
        raise NoKernelsError(f"the trace in {folder} has no kernels of a device")
    rows = [KernelTime(*names, len(times) / runs, sum(times) / runs) for names, times in sums.items()]
    return sorted(rows, key=lambda row: -row.seconds)


def _events(data: Profile) -> Iterator[tuple[str, str, float]]:
    """Yield name, HLO instruction and seconds of each kernel: of GPUs, or where there is none, of CPUs' threads."""
    planes = list(data.planes)
    on_devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in on_devices or [plane for plane in planes if plane.name == "/host:CPU"]:
        for line in plane.lines:
            if not line.name.startswith(DERIVED):
                for event in line.events:
                    operation = _statistics(event).get("hlo_op", "")
                    if on_devices or operation:
                        yield event.name, str(operation), event.duration_ns / 1e9


def _statistics(event: Event) -> dict[str, Any]:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of jaxlib's own class
        return {name: value for name, value in event.stats if name is not None}


def summary(rows: list[KernelTime], count: int = 10) -> dict[str, Any]:
    """Return the longest kernels, and the launches and seconds of all of them in one run."""
    return {
        "kernels": sum(row.calls for row in rows),
        "seconds": sum(row.seconds for row in rows),
        "largest": [dataclasses.asdict(row) for row in rows[:count]],
    }

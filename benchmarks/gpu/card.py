"""The graphics card of this machine, as NVIDIA's own tool describes it."""

import subprocess

FIELDS = {
    "name": "name",
    "driver": "driver_version",
    "memory": "memory.total",
    "power": "power.limit",
    "clock": "clocks.max.sm",
    "memory_clock": "clocks.max.memory",
}
"""Names of our fields, and of the tool's."""


def describe() -> dict[str, str] | None:
    """Return the first card's `FIELDS`, with units; None where the tool is missing or finds no card.

    Raises:
      ValueError: The tool prints something else.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS.values())}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    first, *_ = done.stdout.splitlines() or [""]
    values = first.split(", ")
    if len(values) != len(FIELDS):
        raise ValueError(f"nvidia-smi printed {first!r}: expected {', '.join(FIELDS.values())}")
    return dict(zip(FIELDS, values, strict=True))

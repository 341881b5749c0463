"""The least time that a compiled program takes on this card by its bytes and operations, whole and by kernel."""

from typing import Any

from fgnet_jax.runtime import roofline
from fgnet_jax.runtime.topologies import Chip

CHIPS: dict[str, Chip] = {
    "H200": Chip(bandwidth=4.3e12, rate=474e12, float32=(("default", 0.5), ("high", 0.5), ("highest", 67 / 474))),
    "H100": Chip(bandwidth=3.0e12, rate=474e12, float32=(("default", 0.5), ("high", 0.5), ("highest", 67 / 474))),
    "A100": Chip(bandwidth=1.82e12, rate=150e12, float32=(("default", 0.5), ("high", 0.5), ("highest", 19.5 / 150))),
}
"""Cards by a word of their names. Copies were measured at 4.3 and 3.0 TB/s on an H200 and an H100; the rate is three
fifths of what bfloat16 products reached on them, TF32 has half of it; the A100's are the same shares of NVIDIA's."""

DEFAULT = "H100"
"""The card that others are compared with."""


def read(text: str, *, device: str, batch: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Read a program's roofline.

    Args:
      text: HLO of the compiled program.
      device: JAX's name of the card.
      batch: Images of a run.

    Returns:
      The `chip` that it is computed for, `kernels`, `gigabytes`, `gflop` and `seconds` of a run, and `images_a_second`;
      and seconds of each kernel in a run, by the name of its instruction.
    """
    word = next((word for word in CHIPS if word in device), DEFAULT)
    rows = roofline.kernels(text)
    each = {row.name: row.seconds(CHIPS[word]) for row in rows}
    seconds = sum(each.values())
    whole = {
        "chip": word,
        "kernels": sum(row.times for row in rows),
        "gigabytes": sum(row.times * row.bytes for row in rows) / 1e9,
        "gflop": sum(row.times * row.flops for row in rows) / 1e9,
        "seconds": seconds,
        "images_a_second": batch / seconds,
    }
    return whole, each


def of_kernel(kernel: dict[str, Any], each: dict[str, float]) -> float | None:
    """Return the seconds of a measured kernel by the roofline; None where its instruction is not known.

    A kernel belongs to the instruction that the profiler names, or has its name, where XLA writes "_" for ".".
    """
    if kernel["operation"] in each:
        return each[kernel["operation"]]
    return {name.replace(".", "_"): seconds for name, seconds in each.items()}.get(kernel["name"])

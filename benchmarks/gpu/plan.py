"""What is measured, and in which order: what matters most first, since the time may end before the last part."""

import dataclasses
import fnmatch
from collections.abc import Sequence

from fgnet_jax.models.config import TINY, ModelConfig

OURS, PUBLISHED, BEST, COMPILED = (
    "fgnet_jax",
    "PyTorch, as published",
    "PyTorch, at its best",
    "the same, torch.compile",
)
"""Names of the networks."""

FORMATS: dict[str, dict[str, str]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "tf32": {"precision": "default"},
    "high": {"precision": "high"},
    "float32": {"precision": "highest"},
}
"""Fields of `ModelConfig` by a format's name; PyTorch computes in the same by autocast and by its TF32 switches."""

FIRST = ("inference-bfloat16-8", "training-bfloat16-16")
"""Parts whose `torch.compile` does not wait until everything else is measured."""

_PARTS = (
    "machine",
    "reference",
    "inference-bfloat16-8",
    "inference-float32-8",
    "training-bfloat16-16",
    "inference-tf32-8",
    "gradients-float32-2",
    "inference-bfloat16-32",
    "training-tf32-16",
    "inference-bfloat16-1",
    "training-bfloat16-1",
    "gradients-tf32-2",
    "inference-tf32-32",
    "inference-tf32-1",
    "training-float32-16",
    "training-tf32-1",
    "inference-float32-1",
    "inference-float32-32",
    "training-float32-1",
    "inference-high-8",
)
_ALONE = ("machine", "reference", "gradients", "inference-high")  # no PyTorch network is measured beside these
_TINY = {"8": "2", "16": "2", "32": "3"}


@dataclasses.dataclass(frozen=True)
class Case:
    """One network in one part: all that its process needs to know.

    Attributes:
      part: The part, such as "inference-bfloat16-8".
      network: One of the networks' names.
      is_tiny: Whether the tiny network is measured, traced for GPUs, on whatever device there is.
      rounds: Measured rounds.
      folder: A folder for traces and for the tiny network's reference numbers.
      is_profiled: Whether its largest kernels are listed.
    """

    part: str
    network: str
    is_tiny: bool
    rounds: int
    folder: str
    is_profiled: bool = True

    @property
    def task(self) -> str:
        """ "machine", "reference", "inference", "training" or "gradients"."""
        return self.part.split("-")[0]

    @property
    def format(self) -> str:
        """One of `FORMATS`; empty where there is none."""
        return self.part.split("-")[1] if "-" in self.part else ""

    @property
    def batch(self) -> int:
        """Images at once; 0 where there are none."""
        return int(self.part.split("-")[2]) if "-" in self.part else 0

    @property
    def config(self) -> ModelConfig:
        """Sizes and number formats of the network."""
        base = TINY if self.is_tiny else ModelConfig()
        return dataclasses.replace(base, **FORMATS.get(self.format, {}))

    @property
    def factory(self) -> str:
        """Module and function that prepare it, for `lane`."""
        module = "pytorch" if self.task == "reference" or self.network != OURS else "ours"
        return f"benchmarks.gpu.{module}:{self.task}"

    @property
    def burst_seconds(self) -> float:
        """Shortest time in which runs follow each other without a pause."""
        return 0.0 if self.is_tiny else 0.3


def parts(is_tiny: bool) -> tuple[str, ...]:
    """Return all parts in their order; the tiny network's batches are smaller, and only it needs `reference`."""
    if not is_tiny:
        return tuple(part for part in _PARTS if part != "reference")
    words = [part.split("-") for part in _PARTS]
    return tuple(dict.fromkeys("-".join([*word[:2], *(_TINY.get(size, size) for size in word[2:])]) for word in words))


def chosen(patterns: Sequence[str], is_tiny: bool) -> tuple[str, ...]:
    """Return the parts that begin with, or match, one of the patterns; all where there is none.

    The description of the machine, and the tiny network's reference numbers, always are among them.

    Raises:
      ValueError: A pattern fits no part.
    """
    every = parts(is_tiny)
    fitting = {pattern: fnmatch.filter(every, f"{pattern}*") for pattern in patterns}
    if unknown := [pattern for pattern, found in fitting.items() if not found]:
        raise ValueError(f"no part is called {unknown[0]!r}: expected some of {', '.join(every)}")
    named = {part for found in fitting.values() for part in found} or set(every)
    return tuple(part for part in every if part in named or part in ("machine", "reference"))


def cases(parts: Sequence[str], *, rivals: bool, compiled: bool, is_tiny: bool, rounds: int, folder: str) -> list[Case]:
    """Return the networks to measure, in order: each part's own, and PyTorch's where it has some.

    Args:
      parts: Names of parts, in order.
      rivals: Whether PyTorch is measured beside ours.
      compiled: Whether `torch.compile` is, too; it takes longest, so its later ones come last of all.
      is_tiny: Whether the tiny network is measured.
      rounds: Measured rounds of each.
      folder: A folder for temporary files.
    """
    networks = (OURS, *((COMPILED,) * (rivals and compiled)), *((BEST, PUBLISHED) * rivals))
    found = [
        Case(part, network, is_tiny, rounds, folder)
        for part in parts
        for network in (networks if not part.startswith(_ALONE) else networks[:1])
    ]
    return sorted(found, key=lambda case: case.network == COMPILED and case.part not in FIRST)

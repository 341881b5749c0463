"""Parts of a command's work, for machines that share it: `--shard I/N`, the two numbers of a Slurm array."""

import argparse
import dataclasses
import itertools
import re
from collections.abc import Sequence

NAME = re.compile(r"shard-(\d+)-of-(\d+)")
"""What the files of a shard are called: `Shard.name`."""


@dataclasses.dataclass(frozen=True, order=True)
class Shard:
    """One part of the work.

    Attributes:
      count: Number of parts.
      number: Which of them, from 1.
    """

    count: int
    number: int

    def __str__(self) -> str:
        """Return it as `--shard` takes it: "2/8"."""
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """Return the beginning of its files' names: "shard-2-of-8"."""
        return f"shard-{self.number}-of-{self.count}"


def parse(text: str) -> Shard:
    """Convert an argument such as 2/8 to a shard.

    Raises:
      argparse.ArgumentTypeError: It is none.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be I/N, the I-th of N parts, such as 1/8, got {text!r}")
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(
            f"shards are counted from 1: 1/{count} to {count}/{count}, got {text!r} (Slurm: --array=1-{max(count, 1)})"
        )
    return Shard(count=count, number=number)


def of_name(name: str) -> Shard | None:
    """Return the shard of a file by its name; None where it is not a shard's."""
    match = NAME.search(name)
    return Shard(count=int(match[2]), number=int(match[1])) if match else None


def balanced(weights: Sequence[int], count: int) -> list[int]:
    """Distribute items over shards, the heaviest first, each to the one that has least so far.

    Args:
      weights: How much work each item is.
      count: Number of shards.

    Returns:
      The number of each item's shard, from 1; by the weights alone.
    """
    loads, numbers = [0] * count, [0] * len(weights)
    for item in sorted(range(len(weights)), key=lambda k: (-weights[k], k)):
        least = min(range(count), key=loads.__getitem__)
        loads[least] += weights[item]
        numbers[item] = least + 1
    return numbers


def consecutive(weights: Sequence[int], shard: Shard) -> range:
    """Return which items a shard has where each has items that follow each other: by the weights alone.

    Args:
      weights: How much work each item is; above 0.
      shard: The shard.
    """
    total = sum(weights)
    ends = list(itertools.accumulate(weights))
    # an item is in the shard that its middle falls into
    numbers = [
        min((2 * end - weight) * shard.count // (2 * total), shard.count - 1)
        for end, weight in zip(ends, weights, strict=True)
    ]
    inside = [k for k, number in enumerate(numbers) if number == shard.number - 1]
    return range(inside[0], inside[-1] + 1) if inside else range(0)

"""From 16-bit samples to 8: cameras store 10, 12 or 14 bits in 16, which read as 16 bits are black.

The range is what the file declares, or else the smallest usual one that holds its brightest sample; then the image's
facts say so.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per sample that cameras have."""

DECLARED, BRIGHTEST = "the file", "its brightest sample"
"""What a range was taken from."""

NOTE = "{bits} bits in 16, judging by its brightest sample: the file does not say"


@dataclasses.dataclass(frozen=True)
class SampleRange:
    """The range of an image's samples.

    Attributes:
      bits: How many bits count, of `DEPTHS`.
      brightest: The largest sample.
      is_declared: Whether the file declares it.
    """

    bits: int
    brightest: int
    is_declared: bool

    @property
    def facts(self) -> Mapping[str, Any] | None:
        """What is recorded of it, in values of JSON; None for all of 16 bits, where nothing was chosen."""
        if self.bits == 16:
            return None
        source = DECLARED if self.is_declared else BRIGHTEST
        facts = {"sample_bits": self.bits, "sample_bits_from": source, "brightest_sample": self.brightest}
        return facts if self.is_declared else {**facts, "note": NOTE.format(bits=self.bits)}


def find(brightest: int, declared: int | None) -> SampleRange:
    """Find the range of samples.

    Args:
      brightest: The largest sample of the image, 0 to 65535.
      declared: The largest that its file says it may have; None where it says nothing.
    """
    if not brightest and declared is None:  # black in any range
        return SampleRange(16, brightest, is_declared=False)
    largest = max(brightest, declared or 0)
    bits = next(depth for depth in DEPTHS if largest < 2**depth)
    return SampleRange(bits, brightest, is_declared=declared is not None and declared >= brightest)


def eight_bits(samples: np.ndarray, found: SampleRange) -> np.ndarray:
    """Return the 8 highest bits of samples that count, uint8 of the same shape."""
    return (samples.astype(np.int32) >> (found.bits - 8)).astype(np.uint8)

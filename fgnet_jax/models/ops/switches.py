"""Switches of the fast paths: for comparison, and for a device where one of them is not faster.

A path is on for the platforms where it was found to be faster, except for those that `FGNET_JAX_PLAIN` names when the
process starts: `FGNET_JAX_PLAIN=patches,taps`, or `all`. Values and gradients are the same up to rounding.
"""

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator

from fgnet_jax.models.ops import platforms


@dataclasses.dataclass(frozen=True)
class Path:
    """A fast path.

    Attributes:
      description: What it does.
      platforms: Names of the platforms that it is on for.
    """

    description: str
    platforms: tuple[str, ...] = platforms.PLATFORMS


PATHS = {
    "patches": Path("the largest map is computed only where the shrink after it reads"),
    "mix": Path("the interpreter mixes channels before it enlarges a map, not after"),
    "phases": Path(
        "an upsampling convolution multiplies no zeros, and its 4x4 filter is a separable low-pass", ("cpu", "gpu")
    ),
    "taps": Path("kernels' gradients are matrix products, tap by tap; some convolutions too, or Winograd's", ("cpu",)),
    "styles": Path("the encoder's style blocks are computed side by side, by few convolutions", ("gpu", "tpu")),
    "remat": Path("the backward pass keeps the arguments of cheap operations, not their results"),
}
"""Each path by its name."""


def _named(text: str) -> frozenset[str]:
    """Parse names with commas between them, or `all`."""
    names = frozenset(PATHS) if text == "all" else frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(names - PATHS.keys()):
        raise ValueError(f"FGNET_JAX_PLAIN: no fast path is called {unknown[0]!r}: expected {', '.join(PATHS)}, or all")
    return names


_plain = _named(os.environ.get("FGNET_JAX_PLAIN", ""))


def is_on(path: str) -> bool:
    """Return whether a path is on for programs traced now: for their platform, and not switched off."""
    return path not in _plain and platforms.current() in PATHS[path].platforms


@contextlib.contextmanager
def without(paths: Collection[str]) -> Iterator[None]:
    """Switch paths off for programs traced in the block. Those that `jax.jit` compiled before stay as they are."""
    global _plain
    before, _plain = _plain, _plain | _named(",".join(paths))
    try:
        yield
    finally:
        _plain = before

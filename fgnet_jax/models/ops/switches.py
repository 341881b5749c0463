"""Switches of the fast paths: for comparison, and for a backend where one of them is not faster.

All are on, except those that `FGNET_JAX_PLAIN` names when the process starts: `FGNET_JAX_PLAIN=patches,taps`, or `all`.
Values and gradients are the same up to rounding.
"""

import contextlib
import os
from collections.abc import Collection, Iterator

PATHS = {
    "patches": "the largest map is computed only where the shrink after it reads",
    "mix": "the interpreter mixes channels before it enlarges a map, not after",
    "phases": "an upsampling convolution is four small ones and a separable low-pass, not zeros and a 4x4 filter",
    "taps": "on CPUs, kernels' gradients are matrix products, tap by tap; some convolutions too, or Winograd's",
    "remat": "the backward pass keeps the arguments of cheap operations, not their results",
}
"""Name and description of each path."""


def _named(text: str) -> frozenset[str]:
    """Parse names with commas between them, or `all`."""
    names = frozenset(PATHS) if text == "all" else frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(names - PATHS.keys()):
        raise ValueError(f"FGNET_JAX_PLAIN: no fast path is called {unknown[0]!r}: expected {', '.join(PATHS)}, or all")
    return names


_plain = _named(os.environ.get("FGNET_JAX_PLAIN", ""))


def is_on(path: str) -> bool:
    """Return whether a path is on for programs traced now."""
    return path not in _plain


@contextlib.contextmanager
def without(paths: Collection[str]) -> Iterator[None]:
    """Switch paths off for programs traced in the block. Those that `jax.jit` compiled before stay as they are."""
    global _plain
    before, _plain = _plain, _plain | _named(",".join(paths))
    try:
        yield
    finally:
        _plain = before

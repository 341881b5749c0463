"""The fast paths, each with its switch: for comparison, and for a backend where one of them does not win.

All are taken unless `FGNET_JAX_PLAIN` names some when the process starts: `FGNET_JAX_PLAIN=sparse,taps`, or `all`. The
results are the same up to rounding, forwards and backwards.
"""

import contextlib
import os
from collections.abc import Collection, Iterator

PATHS = {
    "sparse": "the largest map is computed where the shrink after it reads",
    "mix": "the interpreter mixes channels before it enlarges a map, not after",
    "phases": "an upsampling convolution is four small ones and a separable low-pass, not zeros and a 4x4 filter",
    "taps": "on CPUs, gradients of kernels are products tap by tap, some convolutions products or Winograd's",
    "lean": "a backward pass keeps the arguments of what is cheap, not its results",
}
"""Names, and what each does."""


def _named(text: str) -> frozenset[str]:
    names = frozenset(PATHS) if text == "all" else frozenset(part.strip() for part in text.split(",") if part.strip())
    if unknown := sorted(names - PATHS.keys()):
        raise ValueError(f"FGNET_JAX_PLAIN: no fast path is called {unknown[0]!r}: expected {', '.join(PATHS)}, or all")
    return names


_plain = _named(os.environ.get("FGNET_JAX_PLAIN", ""))


def is_on(path: str) -> bool:
    """Whether this path is to be taken in what is traced now."""
    return path not in _plain


@contextlib.contextmanager
def without(paths: Collection[str]) -> Iterator[None]:
    """Switches paths off for what is traced in the block. What `jax.jit` compiled before stays as it is."""
    global _plain
    before, _plain = _plain, _plain | _named(",".join(paths))
    try:
        yield
    finally:
        _plain = before

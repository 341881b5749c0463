"""The platform that a program is traced for: it decides which paths the network takes.

It is not always the platform of this process: programs are exported, and compiled beforehand, on machines that have
neither GPU nor TPU. Whoever traces for another platform says so (`tracing_for`).
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import jax

PLATFORMS = ("cpu", "gpu", "tpu")
"""Names of platforms, as `jax.Device.platform` has them."""

P = ParamSpec("P")
R = TypeVar("R")

_named: contextvars.ContextVar[str | None] = contextvars.ContextVar("platform", default=None)


def current() -> str:
    """Return the platform that is traced for, one of `PLATFORMS`: the named one, else that of JAX's devices."""
    return _named.get() or _known(jax.default_backend())


@contextlib.contextmanager
def tracing_for(platform: str) -> Iterator[None]:
    """Name the platform of the programs that are traced in the block.

    `jax.jit` remembers what it has traced by function and arguments, not by platform: a function that is traced for
    several needs a `jax.jit` for each.

    Raises:
      ValueError: The platform is none of `PLATFORMS`.
    """
    token = _named.set(_known(platform))
    try:
        yield
    finally:
        _named.reset(token)


def traced_for(platform: str, fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function that does what `fn` does, and is always traced for this platform."""

    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        with tracing_for(platform):
            return fn(*args, **kwargs)

    return traced


def _known(platform: str) -> str:
    if platform not in PLATFORMS:
        raise ValueError(f"no paths are known for the platform {platform!r}: expected {', '.join(PLATFORMS)}")
    return platform

"""Devices that JAX computes on: a mismatch of its platforms with this machine, said in one line."""

import os

VARIABLE = "JAX_PLATFORMS"


class DevicesError(Exception):
    """JAX cannot compute on the platforms that it was told to use; the message names them and those of this machine."""


def check() -> None:
    """Let JAX find its devices; call this before anything else uses them, and after `jax.distributed.initialize`.

    Raises:
      DevicesError: It finds none, or an unknown platform was named.
    """
    import jax  # here: commands show their help without it

    platforms = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue] - defined when JAX is imported
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        raise DevicesError(_message(platforms or "", str(error))) from error


def _message(platforms: str, reason: str) -> str:
    """Return the line about devices that JAX cannot use; `reason` is what it raised, which may be empty."""
    first_line = (reason or "there is no such device, or JAX is installed without support of it").split("\n")[0]
    first_line = first_line.removesuffix(f" (set {VARIABLE}='' to automatically choose an available backend)")
    if not platforms:
        return f"JAX cannot use the devices of this machine: {first_line}"
    return (
        f"{VARIABLE}={platforms}: JAX cannot compute on these devices: {first_line}. This machine has: {_available()}. "
        f"Unset {VARIABLE}, name one of them, or install JAX for the other (docs/tpu-and-gpu.md)"
    )


def _available() -> str:
    """Return the platforms that JAX finds by itself."""
    import jax

    os.environ.pop(VARIABLE, None)
    jax.config.update("jax_platforms", None)
    try:
        return ", ".join(dict.fromkeys([*(device.platform for device in jax.devices()), "cpu"]))
    except (AssertionError, RuntimeError):
        return "cpu"

"""The machine that is measured on, its memory, and its rate of plain matrix products, to which rates are compared."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import in_turns
from fgnet_jax.runtime import provenance


def describe() -> dict[str, Any]:
    """Return `fgnet_jax.runtime.provenance` with the processor, its cores and PyTorch's version."""
    record = provenance.provenance()
    if has_torch():
        record["versions"]["torch"] = provenance.version("torch")
    return record | {"processor": provenance.processor(), "cores": os.cpu_count() or 1}


def has_torch() -> bool:
    """Return whether PyTorch is installed, and JAX runs on a kind of device that PyTorch supports, too."""
    return jax.default_backend() in ("cpu", "gpu") and importlib.util.find_spec("torch") is not None


@functools.cache
def rate(dtype: str) -> float:
    """Measure GFLOP/s of the fastest of five products of square matrices, by JAX and, if installed, by PyTorch."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    products = {"jax": _jax_product(size, dtype)} | ({"torch": _torch_product(size, dtype)} if has_torch() else {})
    seconds = in_turns(products, 5)
    return 2 * size**3 / min(min(values) for values in seconds.values()) / 1e9


def forget_peak() -> None:
    """Reset `peak`; JAX's own peak on a GPU cannot be reset."""
    if jax.default_backend() == "cpu":
        with contextlib.suppress(OSError):  # another system
            pathlib.Path("/proc/self/clear_refs").write_text("5")
    elif "torch" in sys.modules:
        sys.modules["torch"].cuda.reset_peak_memory_stats()


def peak() -> int | None:
    """Return the peak memory of this process in bytes, on its GPU if there is one; None where it is unknown."""
    if jax.default_backend() != "cpu":
        torch = sys.modules.get("torch")
        stats = jax.local_devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use", 0) + (torch.cuda.max_memory_allocated() if torch else 0)
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)


def _jax_product(size: int, dtype: str) -> Callable[[], object]:
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
    # As the network's float32 is computed on this machine: by TF32 on GPUs, unless told otherwise.
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, a))


def _torch_product(size: int, dtype: str) -> Callable[[], object]:
    import torch

    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    if device == "cpu":
        torch.set_num_threads(os.cpu_count() or 1)
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((size, size), np.float32)).to(device)
    a = a.to(getattr(torch, dtype))

    def run() -> None:
        torch.matmul(a, a)
        if device == "cuda":
            torch.cuda.synchronize()

    return run

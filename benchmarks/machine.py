"""What it was measured on, and its rate of plain matrix products, which everything is held against."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import in_turns
from fgnet_jax.runtime import provenance


def describe() -> dict[str, Any]:
    """`fgnet_jax.runtime.provenance`, with the processor, its cores and PyTorch's version."""
    found = provenance.provenance()
    if has_torch():
        import torch

        found["versions"]["torch"] = torch.__version__
    return found | {"processor": _processor(), "cores": os.cpu_count() or 1}


def has_torch() -> bool:
    """Whether the rival can run: where PyTorch is, on processors that both know."""
    return jax.default_backend() in ("cpu", "gpu") and importlib.util.find_spec("torch") is not None


@functools.cache
def rate(dtype: str) -> float:
    """GFLOP/s of the fastest of a few products of square matrices, by JAX and, where it is there, by PyTorch."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    jobs = {"jax": _jax_product(size, dtype)} | ({"torch": _torch_product(size, dtype)} if has_torch() else {})
    seconds = in_turns(jobs, 5)
    return 2 * size**3 / min(min(values) for values in seconds.values()) / 1e9


def let_be_killed_first() -> None:
    """Where memory runs out, Linux ends this process before any other."""
    with contextlib.suppress(OSError):  # another system
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")


def forget_peak() -> None:
    """`peak` begins anew; JAX's on a card does not."""
    if jax.default_backend() == "cpu":
        with contextlib.suppress(OSError):  # another system
            pathlib.Path("/proc/self/clear_refs").write_text("5")
    elif "torch" in sys.modules:
        sys.modules["torch"].cuda.reset_peak_memory_stats()


def peak() -> int | None:
    """The most bytes that this process held, on its card if there is one; None where nothing tells."""
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


def _processor() -> str:
    info = pathlib.Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()

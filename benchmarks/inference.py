"""Pace of the published network on one picture: ours, the best plain PyTorch, and PyTorch as published, in one run."""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig

Job = Callable[[], object]


def jobs(config: ModelConfig, threads: int) -> dict[str, Job]:
    """Runs of one picture through each network, weights random, by their names."""
    images = np.random.default_rng(0).uniform(-1, 1, (1, config.image_size, config.image_size, 3)).astype(np.float32)
    variables = jax.device_put(fgnet.init(config))
    apply = jax.jit(fgnet.apply, static_argnums=0)
    found: dict[str, Job] = {"fgnet_jax": lambda: jax.block_until_ready(apply(config, variables, images))}
    return found | _rivals(config, images, threads)


def _rivals(config: ModelConfig, images: np.ndarray, threads: int) -> dict[str, Job]:
    import torch

    from benchmarks.torch_fgnet import FGNet

    torch.set_num_threads(threads)
    nchw = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def job(fused: bool) -> Job:
        network = FGNet(config, fused).eval()

        def run() -> object:
            with torch.inference_mode():
                return network(nchw)

        return run

    return {"PyTorch, as published": job(False), "PyTorch, at its best": job(True)}


def measure(found: dict[str, Job], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run; the jobs take turns, so that a busy moment hits all of them. The first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, job in found.items():
            start = time.perf_counter()
            job()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def table(seconds: dict[str, list[float]], what: str = "picture") -> str:
    """Medians, with how much longer than the first job each took."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours = next(iter(medians.values()))
    lines = [f"seconds a {what:12}  median       a second  times ours"]
    lines += [f"{name:22} {value:10.2f} {1 / value:14.2f} {value / ours:11.2f}" for name, value in medians.items()]
    return "\n".join(lines)

"""What is measured: the network, its stages and its training step, ours and PyTorch's, each ready to be called.

The rival is `benchmarks.torch_fgnet`, the same network in plain PyTorch, in two ways: as the published code computes
it, and at its best (channels_last, shared convolutions, nothing that the heatmaps do not need; on request compiled by
`torch.compile`; in bfloat16 by autocast). It runs on the card where JAX does, on the same threads where there is none.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import flops
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.train import optimizer as optimizer_lib
from fgnet_jax.train import state, steps, targets

OURS, PUBLISHED, BEST, COMPILED = (
    "fgnet_jax", "PyTorch, as published", "PyTorch, at its best", "the same, torch.compile",
)  # fmt: skip
STAGES = ("encoder", "synthesis", "interpreter")


@dataclasses.dataclass(frozen=True)
class Figures:
    """What is known of a job before it runs.

    Attributes:
      gflop: Of one run, where they were counted.
      temporaries: Bytes that the compiled program takes beside arguments and results, where the compiler tells.
      compile_seconds: Tracing and compilation, where there is any.
    """

    gflop: float | None = None
    temporaries: int | None = None
    compile_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """Something to time: `run` does it once, to the end."""

    run: Callable[[], object]
    figures: Figures = Figures()


def compiled(
    fn: Callable[..., Any], *arguments: Any, donate: bool = False, options: compiler_options.CompilerOptions
) -> tuple[Any, Job]:
    """`fn` compiled for these arguments, and a job with the compiler's figures that calls it on them."""
    begin = time.perf_counter()
    jitted = jax.jit(fn, donate_argnums=0 if donate else None, compiler_options=options)
    program = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    memory: Any = program.memory_analysis()
    counted = flops.count(fn, *arguments) / 1e9
    run = lambda: jax.block_until_ready(program(*arguments))  # noqa: E731
    return program, Job(run, Figures(counted, memory.temp_size_in_bytes if memory else None, seconds))


def inference(config: ModelConfig, batch: int) -> dict[str, Job]:
    """Our network on a batch: its stages, and the whole. Weights are random."""
    variables = jax.device_put(fgnet.init(config))
    images = jax.device_put(_images(config, batch))
    fns = _stages(config)
    jobs, value = {}, images
    for stage in STAGES:
        program, jobs[stage] = compiled(fns[stage], variables, value, options=compiler_options.inference())
        value = program(variables, value)
    jobs["whole"] = compiled(
        functools.partial(fgnet.apply, config), variables, images, options=compiler_options.inference()
    )[1]
    return jobs


def _stages(config: ModelConfig) -> dict[str, Callable[[fgnet.Variables, Any], Any]]:
    def encoder(variables, images):
        return fgnet.merge(config, variables).latents(images, False, config.num_layers)

    def synthesis(variables, w):
        return fgnet.merge(config, variables).generator.features(w, config.heatmap_size)

    def interpreter(variables, features):
        return fgnet.merge(config, variables).interpreter(features)

    return dict(zip(STAGES, (encoder, synthesis, interpreter), strict=True))


def training(config: ModelConfig, batch: int) -> dict[str, Job]:
    """Our training step on DISFA's AUs, FG-Net's recipe."""
    step = steps.StepConfig(config, optimizer_lib.OptimConfig(), targets.au_centres(CORPUS_AUS["disfa"]))
    tx = optimizer_lib.optimizer(step.optim, 7500)
    now: dict[str, Any] = {"state": state.create(jax.device_put(fgnet.init(config)), step.optim, tx)}
    key, faces = jax.random.key(0), jax.device_put(_faces(config, batch))
    fn = functools.partial(steps.train_step, step, tx)
    program, job = compiled(fn, now["state"], faces, key, donate=True, options=compiler_options.training())

    def run() -> object:
        now["state"], metrics = program(now["state"], faces, key)
        return jax.block_until_ready((now["state"], metrics))

    return {"whole": dataclasses.replace(job, run=run)}


def rival_inference(config: ModelConfig, batch: int, threads: int, way: str) -> dict[str, Job]:
    """One of PyTorch's ways on the same batch: its stages, and the whole; only the whole where it is compiled."""
    import torch

    from benchmarks.torch_fgnet import FGNet

    _prepare_torch(threads)
    images = _tensor(_images(config, batch))
    network = FGNet(config, way != PUBLISHED).eval().to(_device())
    if way == COMPILED:
        return {"whole": _inferring(config, torch.compile(network), images)}
    return _rival_stages(config, network, images)


def _rival_stages(config: ModelConfig, network: Any, images: Any) -> dict[str, Job]:
    """As `inference`, of a PyTorch network."""
    fns = dict(zip(STAGES, (network.latents, network.features, network.interpreter), strict=True))
    jobs, value = {}, images
    for stage in STAGES:
        jobs[stage] = _inferring(config, fns[stage], value)
        value = jobs[stage].run()
    return jobs | {"whole": _inferring(config, network, images)}


def _inferring(config: ModelConfig, fn: Callable[[Any], Any], value: Any) -> Job:
    import torch

    def run() -> object:
        with torch.inference_mode(), _autocast(config):
            result = fn(value)
        return _waited(result)

    return Job(run)


def rival_training(config: ModelConfig, batch: int, threads: int, way: str) -> dict[str, Job]:
    """The same training step in PyTorch: squared error, gradients clipped to 0.1, AdamW. Targets are drawn already."""
    import torch

    from benchmarks.torch_fgnet import FGNet

    _prepare_torch(threads)
    network = FGNet(config, way != PUBLISHED).train().to(_device())
    optimizer = torch.optim.AdamW(network.parameters(), 5e-5, weight_decay=5e-4)
    faces = _faces(config, batch)
    images = _tensor(fgnet.normalise(faces["image"]))
    centres = targets.au_centres(CORPUS_AUS["disfa"])
    landmarks, labels = jnp.asarray(faces["landmarks"]), jnp.asarray(faces["labels"])
    wanted = _tensor(targets.targets(landmarks, labels, centres, config.heatmap_size, config.image_size))
    forward: Any = torch.compile(network) if way == COMPILED else network

    def run() -> object:
        optimizer.zero_grad()
        with _autocast(config):
            drawn = forward(images)[:, : wanted.shape[1]]
        torch.nn.functional.mse_loss(drawn.float(), wanted).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        return _waited(None)

    return {"whole": Job(run)}


def _images(config: ModelConfig, batch: int) -> np.ndarray:
    shape = (batch, config.image_size, config.image_size, 3)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _faces(config: ModelConfig, batch: int) -> dict[str, np.ndarray]:
    rng, side = np.random.default_rng(0), config.image_size
    return {
        "image": rng.integers(0, 256, (batch, side, side, 3), np.uint8),
        "landmarks": rng.uniform(0.2, 0.8, (batch, 68, 2)).astype(np.float32) * side,
        "labels": rng.integers(0, 2, (batch, len(CORPUS_AUS["disfa"]))).astype(np.int8),
    }


def _tensor(maps: Any) -> Any:
    """(N, H, W, C) of JAX or NumPy as PyTorch's (N, C, H, W), where the rival runs."""
    import torch

    return torch.from_numpy(np.array(maps, np.float32).transpose(0, 3, 1, 2).copy()).to(_device())


def _prepare_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True  # as its convolutions do by themselves


def _device() -> str:
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def _autocast(config: ModelConfig) -> Any:
    import torch

    return torch.autocast(_device(), torch.bfloat16, enabled=config.dtype == "bfloat16")


def _waited(result: Any) -> Any:
    import torch

    if _device() == "cuda":
        torch.cuda.synchronize()
    return result

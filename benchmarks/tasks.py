"""Tasks that are measured: the network, its stages and its training step, in JAX and in PyTorch, ready to be called.

The baseline is `benchmarks.torch_fgnet`, the same network in plain PyTorch, in two variants: as the published code
computes it, and at its best (channels_last, shared convolutions, nothing that the heatmaps do not need; on request
compiled by `torch.compile`; in bfloat16 by autocast). It runs on the GPU if JAX does, else on the same CPU threads.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.predict import partial_evaluation
from fgnet_jax.runtime import flops
from fgnet_jax.train import optimizer as optimizer_lib
from fgnet_jax.train import state, steps, targets

OURS, PUBLISHED, BEST, COMPILED = (
    "fgnet_jax", "PyTorch, as published", "PyTorch, at its best", "the same, torch.compile",
)  # fmt: skip
"""Names of the networks in the tables."""

STAGES = ("encoder", "synthesis", "interpreter")
"""Stages of the network, each of which reads what the one before it computes."""

Torch = Any
"""A network or tensor of PyTorch, which is imported only in the processes that measure it."""


@dataclasses.dataclass(frozen=True)
class ProgramCost:
    """Cost of a task that is known before it runs; None where it is unknown.

    Attributes:
      gflop: Operations of one run, in 1e9.
      temporaries: Bytes that the compiled program needs beside arguments and results.
      compile_seconds: Time of tracing and compilation.
    """

    gflop: float | None = None
    temporaries: int | None = None
    compile_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """Work to time.

    Attributes:
      run: Does it once, and waits for its end.
      cost: Its cost, as far as it is known.
    """

    run: Callable[[], object]
    cost: ProgramCost = ProgramCost()


def compiled(
    fn: Callable[..., Any], *arguments: Any, donate: bool = False, options: compiler_options.CompilerOptions
) -> tuple[Callable[..., Any], Task]:
    """Compile `fn` for these arguments; return the program, and a task with its cost that calls it on them."""
    begin = time.perf_counter()
    jitted = jax.jit(fn, donate_argnums=0 if donate else None, compiler_options=options)
    program = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    memory: Any = program.memory_analysis()
    counted = flops.count(fn, *arguments) / 1e9
    cost = ProgramCost(
        gflop=counted, temporaries=memory.temp_size_in_bytes if memory else None, compile_seconds=seconds
    )
    return program, Task(lambda: jax.block_until_ready(program(*arguments)), cost)


def inference(config: ModelConfig, batch: int) -> dict[str, Task]:
    """Create the tasks of our network on a batch, with random weights: its stages, and the whole."""
    variables = jax.device_put(fgnet.init(config))
    images = jax.device_put(_images(config, batch))
    fns = _stages(config)
    tasks, value = {}, images
    for stage in STAGES:
        program, tasks[stage] = compiled(
            fns[stage], variables, value, options=compiler_options.inference(platforms.current())
        )
        value = program(variables, value)
    tasks["whole"] = _whole(config, variables, images)
    return tasks


def _whole(config: ModelConfig, variables: fgnet.Variables, images: jax.Array) -> Task:
    """Create the task of the network as it predicts: on GPUs and TPUs, all that weights alone decide is done before."""
    network, platform = functools.partial(fgnet.apply, config), platforms.current()
    options = compiler_options.inference(platform)
    if platform == "cpu":
        return compiled(network, variables, images, options=options)[1]
    prepare, finish = partial_evaluation.split(network, fgnet.abstract(config), images)
    return compiled(finish, jax.jit(prepare)(variables), images, options=options)[1]


def _stages(config: ModelConfig) -> dict[str, Callable[[fgnet.Variables, Any], Any]]:
    def encoder(variables, images):
        return fgnet.merge(config, variables).latents(images, False, config.num_layers)

    def synthesis(variables, w):
        return fgnet.merge(config, variables).generator.features(w, config.heatmap_size)

    def interpreter(variables, features):
        return fgnet.merge(config, variables).interpreter(features)

    return dict(zip(STAGES, (encoder, synthesis, interpreter), strict=True))


def training(config: ModelConfig, batch: int) -> dict[str, Task]:
    """Create the task of our training step on DISFA's AUs, by FG-Net's recipe."""
    centres = targets.au_centres(CORPUS_AUS["disfa"])
    step = steps.StepConfig(model=config, optim=optimizer_lib.OptimConfig(), centres=centres)
    tx = optimizer_lib.optimizer(step.optim, 7500)
    current: dict[str, Any] = {"state": state.create(jax.device_put(fgnet.init(config)), step.optim, tx)}
    key, faces = jax.random.key(0), jax.device_put(_faces(config, batch))
    fn = functools.partial(steps.train_step, step, tx)
    program, task = compiled(
        fn, current["state"], faces, key, donate=True, options=compiler_options.training(platforms.current())
    )

    def run() -> object:
        current["state"], metrics = program(current["state"], faces, key)
        return jax.block_until_ready((current["state"], metrics))

    return {"whole": dataclasses.replace(task, run=run)}


def torch_inference(config: ModelConfig, batch: int, threads: int, variant: str) -> dict[str, Task]:
    """Create the tasks of a PyTorch variant on the same batch: its stages, and the whole; compiled, only the whole."""
    import torch

    from benchmarks.torch_fgnet import FGNet

    _prepare_torch(threads)
    images = _tensor(_images(config, batch))
    network = FGNet(config, fused=variant != PUBLISHED).eval().to(_device())
    if variant == COMPILED:
        return {"whole": _inferring(config, torch.compile(network), images)}
    return _torch_stages(config, network, images)


def _torch_stages(config: ModelConfig, network: Torch, images: Torch) -> dict[str, Task]:
    """Create the tasks of `inference` for a PyTorch network."""
    fns = dict(zip(STAGES, (network.latents, network.features, network.interpreter), strict=True))
    tasks, value = {}, images
    for stage in STAGES:
        tasks[stage] = _inferring(config, fns[stage], value)
        value = tasks[stage].run()
    return tasks | {"whole": _inferring(config, network, images)}


def _inferring(config: ModelConfig, fn: Callable[[Torch], Torch], value: Torch) -> Task:
    import torch

    def run() -> object:
        with torch.inference_mode(), _autocast(config):
            result = fn(value)
        return _waited(result)

    return Task(run)


def torch_training(config: ModelConfig, batch: int, threads: int, variant: str) -> dict[str, Task]:
    """Create the task of the same training step in PyTorch: squared error, gradients clipped to 0.1, AdamW.

    The target heatmaps are computed beforehand.
    """
    import torch

    from benchmarks.torch_fgnet import FGNet

    _prepare_torch(threads)
    network = FGNet(config, fused=variant != PUBLISHED).train().to(_device())
    optimizer = torch.optim.AdamW(network.parameters(), 5e-5, weight_decay=5e-4)
    faces = _faces(config, batch)
    images = _tensor(fgnet.normalise(faces["image"]))
    centres = targets.au_centres(CORPUS_AUS["disfa"])
    landmarks, labels = jnp.asarray(faces["landmarks"]), jnp.asarray(faces["labels"])
    expected = _tensor(
        targets.targets(landmarks, labels, centres, size=config.heatmap_size, image_size=config.image_size)
    )
    forward: Any = torch.compile(network) if variant == COMPILED else network

    def run() -> object:
        optimizer.zero_grad()
        with _autocast(config):
            heatmaps = forward(images)[:, : expected.shape[1]]
        torch.nn.functional.mse_loss(heatmaps.float(), expected).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        return _waited(None)

    return {"whole": Task(run)}


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


def _tensor(maps: jax.Array | np.ndarray) -> Torch:
    """Convert (N, H, W, C) to PyTorch's (N, C, H, W), on the device that PyTorch is measured on."""
    import torch

    return torch.from_numpy(np.array(maps, np.float32).transpose(0, 3, 1, 2).copy()).to(_device())


def _prepare_torch(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = True  # as its convolutions do by default


def _device() -> str:
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def _autocast(config: ModelConfig) -> Torch:
    import torch

    return torch.autocast(_device(), torch.bfloat16, enabled=config.dtype == "bfloat16")


def _waited(result: Torch) -> Torch:
    """Return the result after the GPU is done."""
    import torch

    if _device() == "cuda":
        torch.cuda.synchronize()
    return result

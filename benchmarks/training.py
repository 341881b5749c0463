"""Pace of a training step of the published network: ours, PyTorch as published and PyTorch at its best, in one run."""

import functools
import gc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.inference import Job, measure
from fgnet_jax import heatmaps, optim, state, steps
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.train import COMPILER_OPTIONS


def paces(config: ModelConfig, batch: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of every step, by network; one network after the other, since two do not fit into memory.

    Args:
      config: The network.
      batch: Faces of a step.
      rounds: Steps that are measured, after one that is not.
      threads: Of PyTorch; JAX takes all.
    """
    faces = _faces(config, batch)
    makers: dict[str, Callable[[], Job]] = {
        "fgnet_jax": lambda: _ours(config, faces),
        "PyTorch, as published": lambda: _rival(config, faces, False, threads),
        "PyTorch, at its best": lambda: _rival(config, faces, True, threads),
    }
    seconds: dict[str, list[float]] = {}
    for name, make in makers.items():
        seconds |= measure({name: make()}, rounds)
        gc.collect()
    return seconds


def _faces(config: ModelConfig, batch: int) -> dict[str, np.ndarray]:
    rng, side = np.random.default_rng(0), config.image_size
    return {
        "image": rng.integers(0, 256, (batch, side, side, 3), np.uint8),
        "landmarks": rng.uniform(0.2, 0.8, (batch, 68, 2)).astype(np.float32) * side,
        "labels": rng.integers(0, 2, (batch, len(CORPUS_AUS["disfa"]))).astype(np.int8),
    }


def _ours(config: ModelConfig, faces: dict[str, np.ndarray]) -> Job:
    step = steps.StepConfig(config, optim.OptimConfig(), heatmaps.au_centres(CORPUS_AUS["disfa"]))
    tx = optim.optimizer(step.optim, 7500)
    key, options = jax.random.key(0), COMPILER_OPTIONS.get(jax.default_backend())
    jitted = jax.jit(functools.partial(steps.train_step, step, tx), donate_argnums=0, compiler_options=options)
    now: dict[str, Any] = {"state": state.create(jax.device_put(fgnet.init(config)), step.optim, tx)}

    def run() -> object:
        now["state"], metrics = jitted(now["state"], faces, key)
        return jax.block_until_ready((now["state"], metrics))

    return run


def _rival(config: ModelConfig, faces: dict[str, np.ndarray], fused: bool, threads: int) -> Job:
    """The same step: targets, squared error, gradients clipped to 0.1, AdamW."""
    import torch

    from benchmarks.torch_fgnet import FGNet

    torch.set_num_threads(threads)
    network = FGNet(config, fused).train()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-5, weight_decay=5e-4)
    centres = heatmaps.au_centres(CORPUS_AUS["disfa"])
    landmarks, labels = jnp.asarray(faces["landmarks"]), jnp.asarray(faces["labels"])
    drawn = heatmaps.targets(landmarks, labels, centres, config.heatmap_size, config.image_size)
    images = torch.from_numpy(np.array(fgnet.normalise(faces["image"])).transpose(0, 3, 1, 2).copy())
    wanted = torch.from_numpy(np.array(drawn).transpose(0, 3, 1, 2).copy())

    def run() -> object:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(images)[:, : wanted.shape[1]], wanted).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        return optimizer.step()

    return run

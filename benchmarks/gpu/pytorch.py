"""What PyTorch's processes prepare, and then measure when it is their turn; and the tiny network's reference numbers.

JAX stays on the CPU in these processes: it draws targets there, beforehand.
"""

import dataclasses
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.gpu import parity
from benchmarks.gpu.measuring import Measure, Result, UnavailableError, first_loss, timings
from benchmarks.gpu.plan import BEST, COMPILED, PUBLISHED, Case
from benchmarks.torch_fgnet import FGNet, files
from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.train import targets
from tests.parity import reference_weights

AUS = CORPUS_AUS["bp4d"]
PARTS = {"interpreter": "interpreter", "g_all": "generator", "pspencoder": "encoder"}
"""The network's parts, and their names in the reference weights."""

Forward = Callable[[torch.Tensor], torch.Tensor]


def inference(case: Case) -> Measure:
    """Prepare a variant on the reference images, normalised beforehand."""
    network, images = _network(case).eval(), _tensor(_normalised(case.config, case.batch))

    def measure() -> Iterator[Result]:
        device = _set_up(case)
        forward, inputs = _forward(case, network.to(device)), images.to(device)

        def start() -> torch.Tensor:
            with torch.inference_mode(), _autocast(case, device):
                return forward(inputs)

        begin = time.perf_counter()
        heatmaps = start()[:, : len(AUS)].float().cpu().numpy().transpose(0, 2, 3, 1)
        yield _compile_seconds(case, begin)
        expected = parity.golden(case.config, "inference", case.folder)
        if expected is not None:
            yield {"errors": parity.heatmap_errors(heatmaps, expected, case.config.num_heatmaps)}
        yield _timed(case, start, device)

    return measure


def training(case: Case) -> Measure:
    """Prepare a variant's training step: squared error, gradients clipped to 0.1, AdamW; targets drawn beforehand."""
    jax.config.update("jax_platforms", "cpu")
    network, images = _network(case).train(), _tensor(_normalised(case.config, case.batch))
    expected = _tensor(_targets(case))

    def measure() -> Iterator[Result]:
        device = _set_up(case)
        forward, inputs, maps = _forward(case, network.to(device)), images.to(device), expected.to(device)
        fused = device == "cuda" and case.network != PUBLISHED
        optimizer = torch.optim.AdamW(network.parameters(), 5e-5, weight_decay=5e-4, fused=fused)

        def start() -> torch.Tensor:
            optimizer.zero_grad()
            with _autocast(case, device):
                heatmaps = forward(inputs)[:, : maps.shape[1]]
            loss = torch.nn.functional.mse_loss(heatmaps.float(), maps)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
            optimizer.step()
            return loss.detach()

        begin = time.perf_counter()
        loss = start().item()
        yield _compile_seconds(case, begin) | first_loss(loss)
        yield _timed(case, start, device)

    return measure


def reference(case: Case) -> Measure:
    """Prepare the numbers of the tiny network that golden files have of the published one, in float64 on the CPU."""
    config = dataclasses.replace(case.config, dropout=0.0)
    network = _network(dataclasses.replace(case, network=BEST), config).double()
    images = torch.from_numpy(_normalised(config, 2).transpose(0, 3, 1, 2)).double()

    def measure() -> Iterator[Result]:
        with torch.inference_mode():
            heatmaps = network.eval()(images).numpy()
        scores = np.clip(heatmaps, -1, 1).mean((2, 3))
        path = Path(case.folder) / "golden_inference.npz"
        np.savez(path, heatmaps=heatmaps.ravel(), heatmaps_stride=1, au_scores=scores)
        maps = _tensor(parity.target_heatmaps(config)).double()
        loss = torch.nn.functional.mse_loss(network.train()(images)[:, : maps.shape[1]], maps)
        loss.backward()
        norms = {name: p.grad.norm().item() for name, p in network.named_parameters() if p.grad is not None}
        names = [f"{PARTS[name.split('.', 1)[0]]}/{name.split('.', 1)[1]}" for name in norms]
        values = np.array([*norms.values()])
        path = Path(case.folder) / "golden_training_exact.npz"
        np.savez(path, loss=loss.item(), grad_norm=np.linalg.norm(values), names=names, first_grad_l2=values)
        yield {"tensors": len(names)}

    return measure


def _network(case: Case, config: ModelConfig | None = None) -> FGNet:
    """Create a network with the reference weights."""
    config = config or case.config
    network = FGNet(config, fused=case.network != PUBLISHED)
    states = {
        name: {
            key: reference_weights.tensor(name, key, tuple(value.shape))
            for key, value in network.get_submodule(part).state_dict().items()
        }
        for part, name in PARTS.items()
    }
    files.load_arrays(network, **states, latent_avg=parity.latent_avg(config))
    return network


def _normalised(config: ModelConfig, batch: int) -> np.ndarray:
    return parity.images(config, batch) / np.float32(127.5) - 1


def _targets(case: Case) -> np.ndarray:
    """Draw the targets of the same random landmarks and labels as ours."""
    config, rng = case.config, np.random.default_rng(0)
    landmarks = rng.uniform(0.2, 0.8, (case.batch, 68, 2)).astype(np.float32) * config.image_size
    labels = rng.integers(0, 2, (case.batch, len(AUS)))
    centres, size = targets.au_centres(AUS), config.heatmap_size
    maps = targets.targets(
        jax.numpy.asarray(landmarks), jax.numpy.asarray(labels), centres, size=size, image_size=config.image_size
    )
    return np.asarray(maps)


def _tensor(maps: np.ndarray) -> torch.Tensor:
    """Convert (N, H, W, C) to PyTorch's (N, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(maps.transpose(0, 3, 1, 2), np.float32))


def _set_up(case: Case) -> str:
    """Choose the number formats of products, as the case's format says; return the device."""
    is_reduced = case.format != "float32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = is_reduced
    torch.backends.cudnn.benchmark = case.network != PUBLISHED  # the fastest of cuDNN's algorithms, found by trying
    return "cuda" if torch.cuda.is_available() else "cpu"


def _forward(case: Case, network: FGNet) -> Forward:
    """Return the network's function, compiled if its variant is: with CUDA graphs, so that launches cost no time.

    Raises:
      UnavailableError: Triton, or the C compiler that it needs, is missing.
    """
    if case.network != COMPILED:
        return network
    on_gpu = next(network.parameters()).is_cuda
    if on_gpu and importlib.util.find_spec("triton") is None:
        raise UnavailableError("torch.compile needs triton, which is not installed")
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        raise UnavailableError("torch.compile needs a C compiler, and there is none")
    compiled: Any = torch.compile(network, mode="reduce-overhead" if on_gpu else "default", dynamic=False)

    def forward(images: torch.Tensor) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()  # what the run before returned may be overwritten
        return compiled(images)

    return forward


def _autocast(case: Case, device: str) -> torch.autocast:
    return torch.autocast(device, torch.bfloat16, enabled=case.format == "bfloat16")


def _compile_seconds(case: Case, begin: float) -> Result:
    return {"compile_seconds" if case.network == COMPILED else "first_seconds": time.perf_counter() - begin}


def _timed(case: Case, start: Callable[[], object], device: str) -> Result:
    def wait(result: object) -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(2):  # CUDA graphs are recorded in the second run, after the one that compiled
        wait(start())
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    result = timings(start, wait, batch=case.batch, rounds=case.rounds, burst_seconds=case.burst_seconds)
    return result | ({"peak": torch.cuda.max_memory_allocated()} if device == "cuda" else {})

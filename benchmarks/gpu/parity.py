"""Reference weights and images of the golden numbers, for the published network and for the tiny one; and errors."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from convert_weights import rules
from convert_weights.layouts import source_shape
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from tests.parity import reference, reference_weights

_EXACT = {"heatmaps": 1e-4, "scores": 1e-4, "loss": 1e-5, "grad_norm": 5e-4}
_TF32 = {"relative": 0.02, "loss": 0.02, "grad_norm": 0.1}
_BFLOAT16 = {"relative": 0.1, "loss": 0.1, "grad_norm": 0.5}
BOUNDS = {"float32": _EXACT, "high": _TF32, "tf32": _TF32, "bfloat16": _BFLOAT16}
"""Largest errors by format: in float32 those of tests/parity; in the others so wide that only a defect exceeds them."""

_TABLES = {"generator": rules.generator, "encoder": rules.encoder, "interpreter": rules.interpreter}

Golden = dict[str, Any]
"""Numbers of the published code, as its files have them."""


def variables(config: ModelConfig) -> fgnet.Variables:
    """Create the reference weights of a network of any size: for the published one, those of the golden numbers."""
    shapes = fgnet.abstract(config)
    groups = (shapes.params, shapes.batch_stats, shapes.buffers)
    sizes = {path: leaf.shape for group in groups for path, leaf in group.items()}
    arrays = {"encoder/latent_avg": latent_avg(config)}
    for module, table in _TABLES.items():
        for rule in table(config):
            array = reference_weights.tensor(module, rule.source, source_shape(rule.layout, sizes[rule.path]))
            arrays[rule.path] = np.array(rule.layout.from_file(array), order="C")  # a number stays one
    return fgnet.Variables(*({path: arrays[path] for path in group} for group in groups))


def latent_avg(config: ModelConfig) -> np.ndarray:
    """Return the average latent (styles, style_dim) of the reference weights."""
    return reference_weights.latent_avg()[: config.num_styles, : config.style_dim]


def images(config: ModelConfig, batch: int) -> np.ndarray:
    """Return the two reference images in turns: (batch, S, S, 3) uint8."""
    step = ModelConfig().image_size // config.image_size
    return reference_weights.images()[:, ::step, ::step][np.arange(batch) % 2]


def target_heatmaps(config: ModelConfig) -> np.ndarray:
    """Return the targets (2, size, size, 8) of the reference training step."""
    step = ModelConfig().heatmap_size // config.heatmap_size
    return reference_weights.target_heatmaps()[:, :, ::step, ::step].transpose(0, 2, 3, 1)


def golden(config: ModelConfig, name: str, folder: str) -> Golden | None:
    """Load golden numbers, or for other sizes those that `benchmarks.gpu.pytorch.reference` wrote.

    Args:
      config: The network.
      name: "inference" or "training_exact".
      folder: Where the latter are; without them, the result is None.
    """
    published = dataclasses.replace(config, dtype="float32", precision="highest", dropout=0.1) == reference.PUBLISHED
    if published:
        return reference.golden(name)
    path = Path(folder) / f"golden_{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        return dict(file)


def heatmap_errors(heatmaps: np.ndarray, expected: Golden, channels: int) -> dict[str, float]:
    """Compare heatmaps of the reference images with golden numbers; both are clipped to [-1, 1] before.

    Args:
      heatmaps: (N, size, size, K): of the first K channels, and of one or more images.
      expected: The golden numbers.
      channels: The network's channels.

    Returns:
      The largest absolute error of `heatmaps` and of `scores`; `relative`, the heatmaps' distance divided by their
      length; `labels`, how many of the scores are on the other side of 0.
    """
    heatmaps = np.clip(np.asarray(heatmaps[:2], np.float64), -1, 1)
    count, side, _, aus = heatmaps.shape
    places = np.arange(expected["heatmaps"].size) * int(expected["heatmaps_stride"])
    n, c, y, x = np.unravel_index(places, (2, channels, side, side))
    known = (n < count) & (c < aus)
    errors = heatmaps[n[known], y[known], x[known], c[known]] - np.clip(expected["heatmaps"].ravel()[known], -1, 1)
    length = np.linalg.norm(np.clip(expected["heatmaps"].ravel()[known], -1, 1))
    scores, golden_scores = heatmaps.mean((1, 2)), expected["au_scores"][:count, :aus]
    return {
        "heatmaps": float(np.abs(errors).max()),
        "relative": float(np.linalg.norm(errors) / length),
        "scores": float(np.abs(scores - golden_scores).max()),
        "labels": int(((scores > 0) != (golden_scores > 0)).sum()),
    }


def gradient_errors(config: ModelConfig, loss: float, norms: dict[str, float], expected: Golden) -> dict[str, float]:
    """Compare the reference step's loss and norms of gradients with golden numbers in float64.

    Args:
      config: The network.
      loss: The loss.
      norms: Norm of each tensor's gradient, by its path in our network.
      expected: The golden numbers.

    Returns:
      Relative errors: of `loss`, of `grad_norm`, and of each tensor's norm in the `median` and in 99 of 100.
    """
    paths = {f"{module}/{rule.source}": rule.path for module, table in _TABLES.items() for rule in table(config)}
    pairs = zip(expected["names"].tolist(), expected["first_grad_l2"].tolist(), strict=True)
    errors = [abs(norms[paths[name]] / value - 1) for name, value in pairs if value > 0 and paths[name] in norms]
    return {
        "loss": abs(loss / float(expected["loss"]) - 1),
        "grad_norm": abs(math.hypot(*norms.values()) / float(expected["grad_norm"]) - 1),
        "median": float(np.median(errors)),
        "most": float(np.quantile(errors, 0.99)),
    }


def beyond(errors: dict[str, float], format_: str) -> str:
    """Return what is wrong with errors in a format; empty where all are within its `BOUNDS`."""
    bounds = {name: bound for name, bound in BOUNDS[format_].items() if name in errors}
    wrong = [f"{name} {errors[name]:.1e}" for name, bound in bounds.items() if not errors[name] <= bound]
    expected = ", ".join(f"{name} {bound:g}" for name, bound in bounds.items())
    return f"errors in {format_} are {', '.join(wrong)}: expected at most {expected}" if wrong else ""

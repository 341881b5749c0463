"""Back to FG-Net's own `model.pth`, so that a model trained here runs in the published code."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from convert_weights import rules
from convert_weights.errors import ConversionError
from convert_weights.sources import FGNET_PARTS
from fgnet_jax.models import weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables


def export(directory: Path, model: Path, overwrite: bool = False) -> list[str]:
    """Writes the weights directory as FG-Net's `model.pth`, whole or not at all.

    Args:
      directory: A weights directory.
      model: The file to write.
      overwrite: Whether an existing file may be replaced.

    Returns:
      What was written, in lines for the user.

    Raises:
      ConversionError: if PyTorch is not installed, or the file exists.
      fgnet_jax.models.weights.WeightsError: if the directory is none, or damaged.
    """
    torch = _torch()
    if model.is_dir() or (model.exists() and not overwrite):
        raise ConversionError(f"{model} exists; give another name, or --overwrite to replace it")
    config, variables, _ = weights.load(directory)
    parts = {part: state_dict(part, config, variables) for part in FGNET_PARTS}
    model.parent.mkdir(parents=True, exist_ok=True)
    partial = model.with_name(f"{model.name}.partial-{os.getpid()}")
    try:
        torch.save({part: _tensors(torch, state) for part, state in parts.items()}, partial)
        os.replace(partial, model)
    finally:
        partial.unlink(missing_ok=True)
    counts = [f"{model.name}: {part}: {len(state)} tensors written" for part, state in parts.items()]
    return [*counts, "latent_avg has no place in it: the published code reads it from pSp's file"]


def state_dict(part: str, config: ModelConfig, variables: Variables) -> dict[str, np.ndarray]:
    """One of FG-Net's three state dicts with all the names that it is published with, as views of our arrays.

    Args:
      part: "interpreter", "g_all" or "pspencoder".
      config: Sizes of the network.
      variables: Its values.
    """
    table = FGNET_PARTS[part](config)
    arrays = {**variables.params, **variables.batch_stats, **variables.buffers}
    state = {rule.source: rule.layout.theirs(np.asarray(arrays[rule.path])) for rule in table}
    fixed = (*rules.counters(table), *(rules.generator_fixed(config) if part == "g_all" else ()))
    return state | {name: make() for name, make in fixed}


def _tensors(torch: Any, state: dict[str, np.ndarray]) -> dict[str, Any]:
    # A copy, since PyTorch takes neither read-only memory nor views that it would save whole.
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in state.items()}


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ConversionError("--to-pytorch needs PyTorch: pip install 'fgnet_jax[torch]'") from None
    return torch

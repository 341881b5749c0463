"""Writing of FG-Net's own `model.pth`, so that a model trained here runs in the published code."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from convert_weights import rules
from convert_weights.errors import ConversionError
from convert_weights.sources import FGNET_PARTS
from fgnet_jax.models import weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.fgnet import Variables
from fgnet_jax.runtime.files import replacing


def export(directory: Path, model: Path, overwrite: bool = False) -> list[str]:
    """Write a weights directory as FG-Net's `model.pth`, completely or not at all.

    Args:
      directory: A weights directory.
      model: The file to write.
      overwrite: Whether an existing file may be replaced.

    Returns:
      The number of tensors of each state dict, in lines for the user.

    Raises:
      ConversionError: if PyTorch is not installed, the file exists, or the weights are no FG-Net's.
      fgnet_jax.models.weights.WeightsError: if it is not a weights directory, or damaged.
    """
    torch = _torch()
    if model.is_dir() or (model.exists() and not overwrite):
        raise ConversionError(f"{model} exists; give another name, or --overwrite to replace it")
    config, variables, _ = weights.load(directory)
    if not isinstance(config, ModelConfig):
        raise ConversionError(
            f"{directory} holds a student, which the published code does not have: expected an FG-Net"
        )
    parts = {part: state_dict(part, config, variables) for part in FGNET_PARTS}
    model.parent.mkdir(parents=True, exist_ok=True)
    with replacing(model) as temporary, temporary.open("wb") as file:  # a path's name would be written into the file
        torch.save({part: _tensors(torch, state) for part, state in parts.items()}, file)
    counts = [f"{model.name}: {part}: {len(state)} tensors written" for part, state in parts.items()]
    return [*counts, "latent_avg is not written: the published code reads it from pSp's file"]


def state_dict(part: str, config: ModelConfig, variables: Variables) -> dict[str, np.ndarray]:
    """Return one of FG-Net's three state dicts with all of its published names, as views of our arrays.

    Args:
      part: "interpreter", "g_all" or "pspencoder".
      config: Sizes of the network.
      variables: Its values.
    """
    table = FGNET_PARTS[part](config)
    arrays = {**variables.params, **variables.batch_stats, **variables.buffers}
    state = {rule.source: rule.layout.to_file(np.asarray(arrays[rule.path])) for rule in table}
    fixed = (*rules.counters(table), *(rules.generator_fixed(config) if part == "g_all" else ()))
    return state | {name: value() for name, value in fixed}


def _tensors(torch: ModuleType, state: dict[str, np.ndarray]) -> dict[str, Any]:
    # A copy, since PyTorch takes no read-only memory, and would save the complete storage of a view.
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in state.items()}


def _torch() -> ModuleType:
    try:
        import torch
    except ImportError:
        raise ConversionError("--to-pytorch needs PyTorch: pip install 'fgnet_jax[torch]'") from None
    return torch

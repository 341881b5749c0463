"""The published set of PyTorch files, written from arrays."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from benchmarks.torch_fgnet import FGNet

Arrays = Mapping[str, np.ndarray]
Tensors = dict[str, torch.Tensor]

MODEL_FILE = "model.pth"
PSP_FILE = "psp_ffhq_encode.pt"
GENERATOR_FILE = "stylegan2-ffhq-config-f.pt"


def tensors(arrays: Arrays) -> Tensors:
    """Create a state dict from arrays under PyTorch's names; values and dtypes stay, memory is not shared."""
    return {name: torch.tensor(value) for name, value in arrays.items()}


def model_checkpoint(interpreter: Arrays, generator: Arrays, encoder: Arrays) -> dict[str, Tensors]:
    """Create the contents of FG-Net's `model.pth`: three state dicts, and no `latent_avg`."""
    return {"interpreter": tensors(interpreter), "g_all": tensors(generator), "pspencoder": tensors(encoder)}


def psp_checkpoint(encoder: Arrays, generator: Arrays, latent_avg: np.ndarray) -> dict[str, object]:
    """Create the contents of pSp's `psp_ffhq_encode.pt`: a state dict of encoder and decoder, `latent_avg`, `opts`."""
    state = {f"encoder.{name}": value for name, value in tensors(encoder).items()}
    state |= {f"decoder.{name}": value for name, value in tensors(generator).items()}
    opts = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True}
    return {"state_dict": state, "latent_avg": torch.tensor(latent_avg), "opts": opts}


def save_published(
    directory: Path, interpreter: Arrays, generator: Arrays, encoder: Arrays, latent_avg: np.ndarray
) -> None:
    """Write `model.pth`, `psp_ffhq_encode.pt` and `stylegan2-ffhq-config-f.pt` into an existing directory.

    The same arrays go into all of them, where published files hold the weights before and after fine-tuning.
    """
    torch.save(model_checkpoint(interpreter, generator, encoder), directory / MODEL_FILE)
    torch.save(psp_checkpoint(encoder, generator, latent_avg), directory / PSP_FILE)
    torch.save({"g_ema": tensors(generator), "latent_avg": torch.tensor(latent_avg[0])}, directory / GENERATOR_FILE)


def load_arrays(
    network: FGNet, interpreter: Arrays, generator: Arrays, encoder: Arrays, latent_avg: np.ndarray
) -> None:
    """Fill the network in place, strictly.

    Raises:
        RuntimeError: if a name is missing or unexpected, or a shape differs.
    """
    network.interpreter.load_state_dict(tensors(interpreter), strict=True)
    network.g_all.load_state_dict(tensors(generator), strict=True)
    network.pspencoder.load_state_dict(tensors(encoder), strict=True)
    if network.latent_avg.shape != latent_avg.shape:
        raise RuntimeError(f"latent_avg is {latent_avg.shape}, the network wants {tuple(network.latent_avg.shape)}")
    network.latent_avg.copy_(torch.from_numpy(latent_avg))

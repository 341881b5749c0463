"""The first gradient of the published training in float64, by the PyTorch network: the reference for float32.

    python -m tests.parity.exact

writes `golden_training_exact.npz` (about three minutes on two cores).

    python -m tests.parity.exact --noise 1 --seed 0

writes nothing, and prints how much the gradient's norm changes if every layer's result has float32's rounding errors.
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import torch

from benchmarks.torch_fgnet import FGNet
from benchmarks.torch_fgnet.files import load_arrays
from fgnet_jax.models import fgnet
from tests.parity import reference, reference_weights

FILE = Path(__file__).parent / "golden_training_exact.npz"
PARTS = {"interpreter": "interpreter", "g_all": "generator", "pspencoder": "encoder"}
"""The network's parts, and their names in the golden files."""


def network() -> FGNet:
    """Create the reference network in float64, in training mode, without dropout."""
    torch_network = FGNet(dataclasses.replace(reference.PUBLISHED, dropout=0.0))
    interpreter, generator, encoder = (reference_weights.state_dict(part, "A") for part in PARTS.values())
    load_arrays(
        torch_network,
        interpreter=interpreter,
        generator=generator,
        encoder=encoder,
        latent_avg=reference_weights.latent_avg("A"),
    )
    return torch_network.double().train()


def gradients(torch_network: FGNet) -> tuple[float, dict[str, float]]:
    """Compute the loss of the reference batch, and the norm of every tensor's gradient by its published name."""
    images = np.asarray(fgnet.normalise(reference_weights.images())).transpose(0, 3, 1, 2)
    targets = torch.from_numpy(reference_weights.target_heatmaps()).double()
    heatmaps = torch_network(torch.from_numpy(images.copy()).double())
    loss = torch.nn.functional.mse_loss(heatmaps[:, : targets.shape[1]], targets)
    loss.backward()
    norms = {}
    for name, parameter in torch_network.named_parameters():
        if parameter.grad is not None:
            part, _, rest = name.partition(".")
            norms[f"{PARTS[part]}/{rest}"] = parameter.grad.norm().item()
    return loss.item(), norms


def disturb(torch_network: FGNet, size: float, seed: int) -> None:
    """Add noise to every layer's output: uniform, up to `size` halves of float32's last digit, of value plus rms."""
    seeds = itertools.count(seed * 100_000)

    def disturbed(module, arguments, out):
        uniform = torch.rand(out.shape, generator=torch.Generator().manual_seed(next(seeds)), dtype=out.dtype) * 2 - 1
        scale = out.detach().abs() + out.detach().square().mean().sqrt()
        return out + uniform * scale * (size * torch.finfo(torch.float32).eps / 2)

    for module in torch_network.modules():
        if not list(module.children()):
            module.register_forward_hook(disturbed)


def main() -> None:
    """Write the file, or print the effect of noise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--noise", type=float)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.noise is not None:
        disturb(torch_network := network(), options.noise, options.seed)
        norm = np.linalg.norm(list(gradients(torch_network)[1].values()))
        print(f"norm off by {norm / reference.golden('training_exact')['grad_norm'] - 1:.2e}")
        return
    loss, norms = gradients(network())
    names, values = np.array(list(norms)), np.array(list(norms.values()))
    np.savez(FILE, loss=loss, grad_norm=np.linalg.norm(values), names=names, first_grad_l2=values)


if __name__ == "__main__":
    main()

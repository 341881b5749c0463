"""The first gradient of the published training in float64, by the PyTorch network: what float32 can be measured by.

    python -m tests.parity.exact

writes `golden_training_exact.npz` (about three minutes on two cores).

    python -m tests.parity.exact --noise 1 --seed 0

writes nothing, and prints how far the gradient's norm moves where every layer's result is off as in float32.
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
"""Of the network, and as the golden files call them."""


def network() -> FGNet:
    """The reference network in float64, training, without dropout."""
    made = FGNet(dataclasses.replace(reference.PUBLISHED, dropout=0.0))
    interpreter, generator, encoder = (reference_weights.state_dict(part, "A") for part in PARTS.values())
    load_arrays(made, interpreter, generator, encoder, reference_weights.latent_avg("A"))
    return made.double().train()


def gradients(made: FGNet) -> tuple[float, dict[str, float]]:
    """The loss of the reference batch, and the norm of every tensor's gradient by its published name."""
    images = np.asarray(fgnet.normalise(reference_weights.images())).transpose(0, 3, 1, 2)
    targets = torch.from_numpy(reference_weights.target_heatmaps()).double()
    heatmaps = made(torch.from_numpy(images.copy()).double())
    loss = torch.nn.functional.mse_loss(heatmaps[:, : targets.shape[1]], targets)
    loss.backward()
    norms = {}
    for name, parameter in made.named_parameters():
        if parameter.grad is not None:
            part, _, rest = name.partition(".")
            norms[f"{PARTS[part]}/{rest}"] = parameter.grad.norm().item()
    return loss.item(), norms


def disturb(made: FGNet, size: float, seed: int) -> None:
    """Adds noise to what every layer gives: uniform, up to `size` halves of float32's last digit, of value plus rms."""
    seeds = itertools.count(seed * 100_000)

    def disturbed(module, arguments, out):
        uniform = torch.rand(out.shape, generator=torch.Generator().manual_seed(next(seeds)), dtype=out.dtype) * 2 - 1
        scale = out.detach().abs() + out.detach().square().mean().sqrt()
        return out + uniform * scale * (size * torch.finfo(torch.float32).eps / 2)

    for module in made.modules():
        if not list(module.children()):
            module.register_forward_hook(disturbed)


def main() -> None:
    """Writes the file, or says what noise does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--noise", type=float)
    parser.add_argument("--seed", type=int, default=0)
    how = parser.parse_args()
    if how.noise is not None:
        disturb(made := network(), how.noise, how.seed)
        norm = np.linalg.norm(list(gradients(made)[1].values()))
        print(f"norm off by {norm / reference.golden('training_exact')['grad_norm'] - 1:.2e}")
        return
    loss, norms = gradients(network())
    names, values = np.array(list(norms)), np.array(list(norms.values()))
    np.savez(FILE, loss=loss, grad_norm=np.linalg.norm(values), names=names, first_grad_l2=values)


if __name__ == "__main__":
    main()

"""Layers that several parts of the network use."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class EqualLinear(nn.Module):
    """StyleGAN2's equalised linear layer: x @ (weight * lr_mul / sqrt(inputs)).T + bias * lr_mul.

    Args:
        inputs: width in.
        outputs: width out.
        bias_init: every bias of a fresh layer.
        lr_mul: the learning rate multiplier.
        activate: LeakyReLU(0.2) * sqrt(2) after it.
    """

    def __init__(self, inputs: int, outputs: int, bias_init: float = 0.0, lr_mul: float = 1.0, activate: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.scale, self.lr_mul, self.activate = lr_mul / math.sqrt(inputs), lr_mul, activate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., inputs) to (..., outputs)."""
        x = F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return F.leaky_relu(x, 0.2) * math.sqrt(2) if self.activate else x


def resize(x: torch.Tensor, side: int) -> torch.Tensor:
    """Resize (N, C, H, H) to (N, C, side, side), bilinear with aligned corners; x itself if it has this side."""
    if x.shape[-1] == side:
        return x
    return F.interpolate(x, size=(side, side), mode="bilinear", align_corners=True)

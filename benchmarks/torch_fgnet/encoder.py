"""The pSp encoder: IR-SE-50 with a small pyramid and one style block per code (`GradualStyleEncoder`)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_fgnet.layers import EqualLinear, resize
from fgnet_jax.models.config import COARSE_STYLES, MIDDLE_STYLES, ModelConfig


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) from the spatial means, through a bottleneck of 1/16 of the width."""

    def __init__(self, channels: int):
        super().__init__()
        reduced = channels // 16
        self.fc1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.fc2 = nn.Conv2d(reduced, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate (N, C, H, W)."""
        gate = self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class ResidualUnit(nn.Module):
    """An IR-SE unit: residual plus shortcut, no activation after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcite(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return self.res_layer(x) + self.shortcut_layer(x)


class StyleBlock(nn.Module):
    """Strided convolutions down to one pixel, then a linear layer: one code from one map.

    Args:
        inputs: the map's channels.
        style_dim: the code's width.
        side: the map's side, a power of two; log2(side) convolutions halve it to one.
    """

    def __init__(self, inputs: int, style_dim: int, side: int):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(int(math.log2(side))):
            convolution = nn.Conv2d(style_dim if i else inputs, style_dim, 3, stride=2, padding=1)
            layers += [convolution, nn.LeakyReLU(0.01, inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(style_dim, style_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, side, side) to (N, style_dim)."""
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """Encodes images as codes, without `latent_avg`; state dict as `pspencoder` in the published files."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        widths, self.num_styles = config.encoder_channels, config.num_styles
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        self.body = nn.ModuleList()
        ends = []
        for inputs, outputs, count in zip((widths[0], *widths), widths, config.encoder_units, strict=False):
            self.body.append(ResidualUnit(inputs, outputs, stride=2))
            self.body.extend(ResidualUnit(outputs, outputs, stride=1) for _ in range(count - 1))
            ends.append(len(self.body) - 1)
        self.pyramid_units = ends[-3:]
        sides = [config.style_side(style) for style in range(self.num_styles)]
        self.styles = nn.ModuleList(StyleBlock(widths[-1], config.style_dim, side) for side in sides)
        self.latlayer1 = nn.Conv2d(widths[-2], widths[-1], 1)
        self.latlayer2 = nn.Conv2d(widths[-3], widths[-1], 1)

    def forward(self, images: torch.Tensor, count: int) -> torch.Tensor:
        """Compute the first `count` codes (N, count, style_dim) of images (N, 3, S, S) in [-1, 1]."""
        coarse, middle, fine = self.pyramid(images)
        codes = []
        for i, style in enumerate(self.styles[:count]):
            codes.append(style(coarse if i < COARSE_STYLES else middle if i < MIDDLE_STYLES else fine))
        return torch.stack(codes, dim=1)

    def pyramid(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute the maps of coarse, middle and fine style blocks: a sixteenth, an eighth, a quarter of the side."""
        x = self.input_layer(images)
        maps = []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self.pyramid_units:
                maps.append(x)
        c1, c2, c3 = maps
        p2 = resize(c3, c2.shape[-1]) + self.latlayer1(c2)
        p1 = resize(p2, c1.shape[-1]) + self.latlayer2(c1)
        return c3, p2, p1

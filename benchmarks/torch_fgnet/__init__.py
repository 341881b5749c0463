"""FG-Net in PyTorch, the benchmarks' baseline: same numbers, state dicts with the published names.

One switch picks the path. `fused=True` is the best plain PyTorch: channels_last, one shared convolution for the batch,
grouped low-pass filters, and nothing computed that the heatmaps do not need. `fused=False` does what the published
code does: a convolution weight per image, the low-pass filter channel by channel on a padded copy, and the image.
"""

import dataclasses

import torch
from torch import nn

from benchmarks.torch_fgnet.encoder import Encoder
from benchmarks.torch_fgnet.generator import Generator
from benchmarks.torch_fgnet.interpreter import Interpreter
from fgnet_jax.models.config import ModelConfig

__all__ = ["FGNet", "Outputs"]


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Outputs of every stage of the network (float32, NCHW).

    Attributes:
        codes: (N, styles, style_dim), the encoder's codes with `latent_avg` added.
        w: (N, styles, style_dim), the codes after the mapping network.
        features: one map per resolution from 4 up, before the shrink to `heatmap_size`.
        rgb: (N, 3, G, G), the synthesised image.
        heatmaps: (N, num_heatmaps, heatmap_size, heatmap_size), not clipped.
    """

    codes: torch.Tensor
    w: torch.Tensor
    features: list[torch.Tensor]
    rgb: torch.Tensor
    heatmaps: torch.Tensor


class FGNet(nn.Module):
    """The whole network: pSp encoder, StyleGAN2 generator, Pyramid CNN interpreter (FG-Net, arXiv 2308.12380).

    The three parts carry the names of the published file's three state dicts: `pspencoder`, `g_all`, `interpreter`.

    Args:
        config: the sizes.
        fused: the best plain PyTorch if true, the published code's way otherwise; the numbers are the same.
    """

    latent_avg: torch.Tensor

    def __init__(self, config: ModelConfig, fused: bool = True):
        super().__init__()
        self.map_codes = config.map_codes
        self.fused = fused
        self.pspencoder = Encoder(config)
        self.g_all = Generator(config, fused)
        self.interpreter = Interpreter(config)
        self.register_buffer("latent_avg", torch.zeros(self.pspencoder.num_styles, config.style_dim))
        if fused:  # The generator's weights have five axes, which this does not take; its maps are channels_last.
            for part in (self.pspencoder, self.interpreter):
                part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Predict heatmaps (N, num_heatmaps, heatmap_size, heatmap_size), not clipped, of (N, 3, S, S) in [-1, 1]."""
        return self.interpreter(self.features(self.latents(images)))

    def latents(self, images: torch.Tensor) -> torch.Tensor:
        """Compute w (N, styles, style_dim) of images; if fused, without the last style, which only RGB needs."""
        return self._map(self._codes(images, self.pspencoder.num_styles - self.fused))

    def features(self, w: torch.Tensor) -> list[torch.Tensor]:
        """Synthesise one map per resolution from w. The published code computes the RGB image, too, and discards it."""
        return self.g_all.features(w) if self.fused else self.g_all(w)[0]

    def outputs(self, images: torch.Tensor) -> Outputs:
        """Compute every stage's output for images (N, 3, S, S) in [-1, 1], the RGB image included."""
        codes = self._codes(images, self.pspencoder.num_styles)
        w = self._map(codes)
        features, rgb = self.g_all(w)
        return Outputs(codes=codes, w=w, features=features, rgb=rgb, heatmaps=self.interpreter(features))

    def _codes(self, images: torch.Tensor, count: int) -> torch.Tensor:
        if self.fused:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.pspencoder(images, count) + self.latent_avg[:count]

    def _map(self, codes: torch.Tensor) -> torch.Tensor:
        return self.g_all.style(codes) if self.map_codes else codes

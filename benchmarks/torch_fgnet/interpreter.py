"""The Pyramid CNN that decodes the generator's features as heatmaps."""

import torch
from torch import nn

from benchmarks.torch_fgnet.layers import resize
from fgnet_jax.models.config import ModelConfig


def _stage(inputs: int, outputs: int, kernel: int, upsample: bool, dropout: float) -> list[nn.Module]:
    # Without upsampling the list has no entry for it: the published names depend on that.
    first: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)] if upsample else []
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    norm = nn.BatchNorm2d(outputs)
    nn.init.normal_(convolution.weight, 0.0, 0.02)
    nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return [*first, convolution, nn.ReLU(inplace=True), nn.Dropout(dropout), norm]


class Interpreter(nn.Module):
    """Decodes features as heatmaps; state dict as `interpreter` in the published file (`layer0` .. `layer8`)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        channels = (*config.generator_channels, config.generator_channels[-1])
        self.heatmap_size = config.heatmap_size
        self.count = len(config.generator_channels)
        for i in range(self.count):
            upsample = i + 1 < self.count and (8 << i) <= config.heatmap_size
            layers = _stage(channels[i], channels[i + 1], 5 if i else 3, upsample, config.dropout)
            if i + 1 == self.count:
                output = nn.Conv2d(channels[i + 1], config.num_heatmaps, 5, padding=2)
                nn.init.normal_(output.weight, 0.0, 0.02)
                nn.init.zeros_(output.bias)  # pyright: ignore[reportArgumentType]
                layers.append(output)
            self.add_module(f"layer{i}", nn.Sequential(*layers))

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Decode heatmaps (N, num_heatmaps, heatmap_size, heatmap_size), not clipped, from one map per resolution."""
        features = [resize(f, min(f.shape[-1], self.heatmap_size)) for f in features]
        h = features[0]
        for i, feature in enumerate(features[1:]):
            h = self.get_submodule(f"layer{i}")(h) + feature
        return self.get_submodule(f"layer{self.count - 1}")(h)

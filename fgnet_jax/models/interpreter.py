"""The Pyramid CNN interpreter, from the generator's feature maps to a heatmap per AU (FG-Net, section 3.3)."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.layers import BatchNorm, Conv
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.gathering import whole
from fgnet_jax.models.ops.resize import shrink, upsample

PIXEL_WIDTHS = (128, 32)
"""Widths of the hidden layers of DatasetGAN's interpreter."""


class Stage(nnx.Module):
    """Upsampling where the next feature is larger, convolution, ReLU, dropout, BatchNorm: in this order."""

    def __init__(self, config: ModelConfig, features_in: int, features: int, kernel: int, upsample: bool):
        self.conv = Conv(config, features_in, features, kernel)
        self.norm = BatchNorm(features)
        self.upsample = upsample
        self.dropout = config.dropout

    def __call__(self, x: jax.Array, train: bool, dropout_key: jax.Array | None) -> jax.Array:
        """Map (N, H, W, Cin) to (N, H, W, C), or to twice the side where the stage upsamples."""
        x = nnx.relu(self.conv(x, 2 * x.shape[1] if self.upsample else None))
        if dropout_key is not None and self.dropout > 0:
            keep = jax.random.bernoulli(dropout_key, 1 - self.dropout, x.shape)
            x = jnp.where(keep, x / (1 - self.dropout), 0)
        return self.norm(x, train)


class Interpreter(nnx.Module):
    """Pyramid CNN: sums up features of every resolution, from the smallest on, and decodes heatmaps."""

    def __init__(self, config: ModelConfig):
        widths = (*config.generator_channels, config.generator_channels[-1])
        self.stages = nnx.List()
        for i in range(len(widths) - 1):
            is_larger = i + 1 < len(config.generator_channels) and (8 << i) <= config.heatmap_size
            kernel = 3 if i == 0 else 5
            self.stages.append(Stage(config, widths[i], widths[i + 1], kernel, upsample=is_larger))
        self.output = Conv(config, widths[-1], config.num_heatmaps, 5)
        self.heatmap_size = config.heatmap_size
        self.remat = config.remat == "blocks"

    def __call__(
        self, features: list[jax.Array], train: bool = False, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Decode feature maps of side 4, 8, ... as heatmaps (N, heatmap_size, heatmap_size, num_heatmaps), not clipped.

        Args:
          features: One map (N, side, side, C) per resolution, smallest first; larger ones are shrunk to heatmap_size.
          train: Whether BatchNorm uses the batch's statistics and updates the running ones.
          dropout_key: A key for dropout, or None for none.
        """
        x = features[0]
        for i, stage in enumerate(self.stages):
            call = nnx.remat(Stage.__call__, static_argnums=(2,)) if self.remat else Stage.__call__
            x = call(stage, x, train, None if dropout_key is None else jax.random.fold_in(dropout_key, i))
            for feature in features[i + 1 : i + 2]:  # none after the last stage
                x = x + shrink(feature, min(feature.shape[1], self.heatmap_size))
        return to_accum_dtype(self.output(x))


class PixelInterpreter(nnx.Module):
    """DatasetGAN's interpreter, a baseline: all maps at one size, concatenated, three linear layers per pixel."""

    def __init__(self, config: ModelConfig):
        widths = (sum(config.generator_channels), *PIXEL_WIDTHS)
        self.layers = nnx.List(Conv(config, n, m, 1) for n, m in itertools.pairwise(widths))
        self.norms = nnx.List(BatchNorm(width) for width in PIXEL_WIDTHS)
        self.output = Conv(config, widths[-1], config.num_heatmaps, 1)
        self.heatmap_size = config.heatmap_size

    def __call__(
        self, features: list[jax.Array], train: bool = False, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Decode feature maps of side 4, 8, ... as heatmaps (N, heatmap_size, heatmap_size, num_heatmaps), not clipped.

        It has no dropout: `dropout_key` only makes both interpreters callable in the same way.
        """
        del dropout_key
        x = self._first_layer(features)
        for i, norm in enumerate(self.norms):
            x = norm(nnx.relu(x if i == 0 else self.layers[i](x)), train)
        return to_accum_dtype(self.output(x))

    def _first_layer(self, features: list[jax.Array]) -> jax.Array:
        """Apply the first layer to all maps, and then resize: both are linear, and this takes a tenth of the pixels."""
        first, dtype = self.layers[0], features[0].dtype
        ends = list(itertools.accumulate(feature.shape[-1] for feature in features))
        kernels = jnp.split(whole(first.kernel[...].astype(dtype)), ends[:-1], axis=2)
        maps = [self._resize(conv2d(feature, kernel)) for feature, kernel in zip(features, kernels, strict=True)]
        assert first.bias is not None
        return sum(maps, start=first.bias[...].astype(dtype))

    def _resize(self, x: jax.Array) -> jax.Array:
        larger = x.shape[1] > self.heatmap_size
        return shrink(x, self.heatmap_size) if larger else upsample(x, self.heatmap_size)

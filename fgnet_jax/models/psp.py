"""pSp's encoder (`GradualStyleEncoder`): an IR-SE ResNet, a feature pyramid, and one style block per code."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fgnet_jax.models.config import COARSE_STYLES, MIDDLE_STYLES, ModelConfig
from fgnet_jax.models.layers import BatchNorm, Buffer, Conv, EqualLinear, Linear, PReLU
from fgnet_jax.models.ops.reductions import scale, spatial_mean
from fgnet_jax.models.ops.remat import remat
from fgnet_jax.models.ops.resize import upsample

SQUEEZE = 16
"""Reduction of the squeeze-excite bottleneck."""

STYLE_SLOPE = 0.01
"""Slope of the style blocks' LeakyReLU."""


class SqueezeExcite(nnx.Module):
    """Scales each channel by a gate computed from the channels' spatial means."""

    def __init__(self, config: ModelConfig, features: int):
        hidden = features // SQUEEZE
        self.reduce = Linear(config, features, hidden)
        self.expand = Linear(config, hidden, features)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Gate (N, H, W, C)."""
        mean = spatial_mean(x)[:, 0, 0].astype(x.dtype)
        gate = nnx.sigmoid(self.expand(nnx.relu(self.reduce(mean))))
        return remat(scale)(x, gate)


class Unit(nnx.Module):
    """Residual unit `bottleneck_IR_SE`: norm, conv, PReLU, strided conv, norm, squeeze-excite, plus a shortcut."""

    def __init__(self, config: ModelConfig, features_in: int, features: int, stride: int):
        self.norm1 = BatchNorm(features_in)
        self.conv1 = Conv(config, features_in, features, 3, bias=False)
        self.prelu = PReLU(features)
        self.conv2 = Conv(config, features, features, 3, stride=stride, bias=False)
        self.norm2 = BatchNorm(features)
        self.se = SqueezeExcite(config, features)
        self.stride = stride
        self.widens = features_in != features
        if self.widens:
            self.shortcut_conv = Conv(config, features_in, features, 1, stride=stride, bias=False)
            self.shortcut_norm = BatchNorm(features)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map (N, H, W, Cin) to (N, H / stride, W / stride, C)."""
        residual = self.conv2(self.prelu(self.conv1(self.norm1(x, train))))
        residual = self.se(self.norm2(residual, train))
        if self.widens:
            return residual + self.shortcut_norm(self.shortcut_conv(x), train)
        return residual + x[:, :: self.stride, :: self.stride]  # published as a max-pool of window 1


class StyleBlock(nnx.Module):
    """`GradualStyleBlock`: strided convolutions down to one pixel, then an equalised linear layer."""

    def __init__(self, config: ModelConfig, side: int):
        dim = config.style_dim
        widths = [config.encoder_channels[-1]] + [dim] * int(math.log2(side))
        self.convs = nnx.List(Conv(config, n, dim, 3, stride=2) for n in widths[:-1])
        self.linear = EqualLinear(config, dim, dim)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (N, side, side, C) to a code (N, style_dim)."""
        for layer in self.convs:
            x = nnx.leaky_relu(layer(x), STYLE_SLOPE)
        return self.linear(x[:, 0, 0])


class Encoder(nnx.Module):
    """pSp's `GradualStyleEncoder` with its average latent, which it adds to every code."""

    def __init__(self, config: ModelConfig):
        widths = config.encoder_channels
        self.input_conv = Conv(config, 3, widths[0], 3, bias=False)
        self.input_norm = BatchNorm(widths[0])
        self.input_prelu = PReLU(widths[0])
        self.body = nnx.List()
        for before, width, count in zip((widths[0], *widths), widths, config.encoder_units, strict=False):
            self.body.append(Unit(config, before, width, 2))
            self.body.extend(Unit(config, width, width, 1) for _ in range(count - 1))
        ends = [sum(config.encoder_units[: group + 1]) - 1 for group in range(len(widths))]
        self.pyramid_units = tuple(ends[-3:])
        self.lateral1 = Conv(config, widths[-2], widths[-1], 1)
        self.lateral2 = Conv(config, widths[-3], widths[-1], 1)
        sides = [config.style_side(style) for style in range(config.num_styles)]
        self.styles = nnx.List(StyleBlock(config, side) for side in sides)
        self.latent_avg = Buffer(jnp.zeros((config.num_styles, config.style_dim), jnp.dtype(config.param_dtype)))
        self.dtype = config.dtype
        self.remat = config.remat == "blocks"

    def __call__(self, images: jax.Array | np.ndarray, train: bool = False, count: int | None = None) -> jax.Array:
        """Encode images (N, S, S, 3) in [-1, 1] as codes (N, count, style_dim): the first `count`, or all of them."""
        fine, middle, coarse = self.pyramid(images, train)
        codes = []
        for style in range(len(self.styles))[:count]:
            call = nnx.remat(StyleBlock.__call__) if self.remat else StyleBlock.__call__
            x = coarse if style < COARSE_STYLES else middle if style < MIDDLE_STYLES else fine
            codes.append(call(self.styles[style], x))
        return jnp.stack(codes, axis=1) + self.latent_avg[: len(codes)].astype(codes[0].dtype)

    def pyramid(self, images: jax.Array | np.ndarray, train: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Compute the maps that fine, middle and coarse style blocks read.

        Their sides are a quarter, an eighth and a sixteenth of the image's.
        """
        x = self.input_prelu(self.input_norm(self.input_conv(jnp.asarray(images, self.dtype)), train))
        maps = []
        for i, unit in enumerate(self.body):
            call = nnx.remat(Unit.__call__, static_argnums=(2,)) if self.remat else Unit.__call__
            x = call(unit, x, train)
            if i in self.pyramid_units:
                maps.append(x)
        fine, middle, coarse = maps
        middle = upsample(coarse, middle.shape[1]) + self.lateral1(middle)
        fine = upsample(middle, fine.shape[1]) + self.lateral2(fine)
        return fine, middle, coarse

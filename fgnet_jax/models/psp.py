"""pSp's encoder (`GradualStyleEncoder`): an IR-SE ResNet, a feature pyramid, and one style block per code."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fgnet_jax.models.config import COARSE_STYLES, MIDDLE_STYLES, ModelConfig
from fgnet_jax.models.layers import BatchNorm, Buffer, Conv, EqualLinear, Linear, PReLU
from fgnet_jax.models.ops import direct, moments, platforms, switches
from fgnet_jax.models.ops.gathering import by_image, gathered, is_split
from fgnet_jax.models.ops.gpu import grouped
from fgnet_jax.models.ops.reductions import broadcast, scale, spatial_mean
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
        return remat(scale)(x, self.gate(spatial_mean(x)[:, 0, 0].astype(x.dtype)))

    def gate(self, means: jax.Array) -> jax.Array:
        """Compute the gate (N, C) from the channels' means (N, C)."""
        return nnx.sigmoid(self.expand(nnx.relu(self.reduce(means))))


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
        residual = self._gated(residual, train)
        if self.widens:
            return residual + self.shortcut_norm(self.shortcut_conv(x), train)
        return residual + x[:, :: self.stride, :: self.stride]  # published as a max-pool of window 1

    def _gated(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalise and gate (N, H, W, C)."""
        if platforms.current() == "cpu":
            return self.se(self.norm2(x, train))
        # The means of the normalised map follow from those of x: one pass does both.
        image_means, centre, gain, offset = self.norm2.coefficients(x, train)
        means = (image_means - centre) * gain + offset
        gate = self.se.gate(means.astype(x.dtype)).astype(means.dtype)
        return moments.affine(x, centre, gain * gate, offset * gate)


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

    def conv_weights(self) -> list[tuple[jax.Array, jax.Array]]:
        """Return kernel and bias of each convolution."""
        return [(layer.kernel[...], layer.bias[...]) for layer in self.convs if layer.bias is not None]


def merged_style_blocks(
    convs: list[list[tuple[jax.Array, jax.Array]]],
    linears: list[tuple[jax.Array, jax.Array]],
    maps: Sequence[jax.Array],
) -> jax.Array:
    """Compute the codes (N, K, style_dim) of K style blocks side by side, as groups of channels in order of style.

    Blocks that read a larger map are ahead by a convolution; then those of the next map join them. Where blocks read
    the same map, their convolutions are one wide one; where each has a map of its own, one grouped one.

    Args:
      convs: Kernels and biases of each block's convolutions.
      linears: Kernels and biases of each block's linear layer, as they are applied.
      maps: The map that each block reads.
    """
    x = None
    for left in range(max(map(len, convs)), 0, -1):
        joining = [style for style, block in enumerate(convs) if len(block) == left]
        ahead = [block[-left] for block in convs if len(block) > left]
        parts = [_side_by_side(maps[joining[0]], [convs[style][0] for style in joining], 1)] if joining else []
        parts += [_side_by_side(x, ahead, len(ahead))] if x is not None else []
        x = nnx.leaky_relu(jnp.concatenate(parts, axis=-1), STYLE_SLOPE)
    assert x is not None
    kernels, biases = (jnp.stack(arrays) for arrays in zip(*linears, strict=True))
    x = x.reshape(x.shape[0], len(linears), -1)
    return gathered(functools.partial(jnp.einsum, "nkc,kcd->nkd"))(x, kernels) + biases


def _side_by_side(x: jax.Array, layers: list[tuple[jax.Array, jax.Array]], groups: int) -> jax.Array:
    """Apply strided convolutions with these kernels and biases to x, or each to one of its groups of channels."""

    on_tpu = platforms.current() == "tpu"
    stack = _concatenate if on_tpu else grouped.stack
    halve = _halve if on_tpu else cast(Callable[..., jax.Array], grouped.halve)
    kernels = tuple(kernel.astype(x.dtype) for kernel, _ in layers)
    if is_split():
        x = by_image(lambda x, *kernels: halve(x, stack(kernels), groups))(x, *kernels)
    else:  # stacked beforehand, since predictions have the same kernels with every batch
        x = by_image(halve, groups)(x, stack(kernels))
    return x + broadcast(jnp.concatenate([bias for _, bias in layers]), x.shape, x.dtype)


def _concatenate(kernels: tuple[jax.Array, ...]) -> jax.Array:
    """Stack K kernels (3, 3, Cin, Cout) to (3, 3, Cin, K * Cout)."""
    return jnp.concatenate(kernels, axis=-1)


def _halve(x: jax.Array, kernels: jax.Array, groups: int) -> jax.Array:
    """Convolve each group of a map's channels by its kernel, with a stride of 2 and a padding of 1, as on TPUs."""
    return direct.conv(x, kernels, ((1, 1), (1, 1)), 2, groups)


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
        blocks = list(self.styles)[:count]
        maps = [coarse if k < COARSE_STYLES else middle if k < MIDDLE_STYLES else fine for k in range(len(blocks))]
        codes = self._merged(blocks, maps) if switches.is_on("styles") else self._one_by_one(blocks, maps)
        return codes + self.latent_avg[: len(blocks)].astype(codes.dtype)

    def _one_by_one(self, blocks: list[StyleBlock], maps: list[jax.Array]) -> jax.Array:
        """Compute the codes (N, K, style_dim) of K style blocks that read these maps."""
        codes = []
        for block, x in zip(blocks, maps, strict=True):
            call = nnx.remat(StyleBlock.__call__) if self.remat else StyleBlock.__call__
            codes.append(call(block, x))
        return jnp.stack(codes, axis=1)

    def _merged(self, blocks: list[StyleBlock], maps: list[jax.Array]) -> jax.Array:
        """Compute the same side by side: 8 convolutions, which start faster, and are less code, than 98."""
        merged = jax.checkpoint(merged_style_blocks) if self.remat else merged_style_blocks
        return merged([block.conv_weights() for block in blocks], [block.linear.applied() for block in blocks], maps)

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

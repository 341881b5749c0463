"""StyleGAN2's generator (config F): mapping network, synthesis and, where an image is asked for, the RGB branch."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.layers import Buffer, EqualLinear
from fgnet_jax.models.ops import patches, switches
from fgnet_jax.models.ops.activations import scaled_leaky_relu
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.filters import upsample_conv, upsample_rgb
from fgnet_jax.models.ops.reductions import broadcast, scale
from fgnet_jax.models.ops.remat import remat
from fgnet_jax.models.ops.resize import shrink

MAPPING_LR_MUL = 0.01
"""Learning rate multiplier of the mapping network's layers."""


class StyledConv(nnx.Module):
    """A 3x3 convolution whose input channels are scaled by a style, with noise, bias and activation.

    Activations are modulated, not weights: the style scales the input, every image shares one convolution, and the
    demodulation scales the output. The same mathematics as the published grouped convolution.
    """

    def __init__(self, config: ModelConfig, features_in: int, features_out: int, side: int, upsample: bool):
        param_dtype = jnp.dtype(config.param_dtype)
        self.kernel = nnx.Param(jnp.zeros((3, 3, features_in, features_out), param_dtype))
        self.modulation = EqualLinear(config, config.style_dim, features_in)
        self.noise_strength = nnx.Param(jnp.zeros((), param_dtype))
        self.noise = Buffer(jnp.zeros((side, side), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features_out,), param_dtype))
        self.upsample = upsample
        # The weight's scale goes into the style, a vector, since a scaled kernel would be a copy. But a copy can be
        # recomputed in every pass, while XLA keeps what it derives from the kernel itself from one pass to the next.
        self.scales_kernel = config.remat != "none"

    def __call__(self, x: jax.Array, w: jax.Array, patches_of: int | None = None) -> jax.Array:
        """Map (N, H, W, Cin), styled by w (N, style_dim), to (N, H, W, Cout), or to twice the side where it upsamples.

        Args:
          x: The map; if the layer does not upsample and `patches_of` is given, the map's patches.
          w: Styles.
          patches_of: Side that the output is shrunk to later, so that only the pixels that the shrink needs are
            computed, in the layout of `fgnet_jax.models.ops.patches`: patches where the layer upsamples, else what the
            shrink reads of them. None computes the whole map.
        """
        kernel, style = self.kernel[...], to_accum_dtype(self.modulation(w))
        root = math.sqrt(9 * kernel.shape[2])
        kernel, style = (kernel / root, style) if self.scales_kernel else (kernel, style / root)
        demodulation = jax.lax.rsqrt(jnp.square(style) @ _sum_over_taps(jnp.square(kernel)) + 1e-8)
        x = remat(_convolve, self.upsample, patches_of)(x, style, kernel.astype(x.dtype))
        noise = jax.lax.stop_gradient(self.noise[...])
        if patches_of is not None:
            noise = patches.patches(noise, patches_of)
            noise = noise if self.upsample else patches.read_places(noise)
        x = remat(_finish)(x, demodulation, noise[None, :, :, None], self.noise_strength[...], self.bias[...])
        if patches_of is None or not self.upsample:
            return x
        return x * patches.inside(self.noise.shape[0], patches_of).astype(x.dtype)


def _sum_over_taps(kernel: jax.Array) -> jax.Array:
    """Sum (3, 3, Cin, Cout) to (Cin, Cout): nine additions, since XLA's reduction takes 10 ms on CPUs instead of 1."""
    return functools.reduce(jnp.add, kernel.reshape(-1, *kernel.shape[2:]))


def _convolve(x: jax.Array, style: jax.Array, kernel: jax.Array, upsample: bool, patches_of: int | None) -> jax.Array:
    """Scale the input's channels, and convolve."""
    x = scale(x, style)
    if patches_of is None:
        return upsample_conv(x, kernel) if upsample else conv2d(x, kernel)
    return patches.upsample_conv_patches(x, kernel, patches_of) if upsample else patches.conv_patches(x, kernel)


def _finish(x: jax.Array, demodulation: jax.Array, noise: jax.Array, strength: jax.Array, bias: jax.Array) -> jax.Array:
    """Demodulate a convolution's result, add noise and bias, and activate."""
    noise = noise * broadcast(strength.reshape(1), noise.shape, noise.dtype)
    return scaled_leaky_relu(scale(x, demodulation) + noise.astype(x.dtype) + broadcast(bias, x.shape, x.dtype))


class ToRGB(nnx.Module):
    """A modulated 1x1 convolution to three channels, without demodulation."""

    def __init__(self, config: ModelConfig, features: int):
        self.kernel = nnx.Param(jnp.zeros((features, 3), jnp.dtype(config.param_dtype)))
        self.modulation = EqualLinear(config, config.style_dim, features)
        self.bias = nnx.Param(jnp.zeros((3,), jnp.dtype(config.param_dtype)))

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Map (N, H, W, C), styled by w (N, style_dim), to (N, H, W, 3)."""
        style = self.modulation(w) / math.sqrt(x.shape[-1])
        kernel = self.kernel[...].astype(x.dtype)
        return (x * style[:, None, None]) @ kernel + self.bias[...].astype(x.dtype)


class Generator(nnx.Module):
    """Mapping and synthesis networks of StyleGAN2, with the checkpoint's fixed noise."""

    def __init__(self, config: ModelConfig):
        dim, channels = config.style_dim, config.generator_channels
        self.mapping = nnx.List(EqualLinear(config, dim, dim, MAPPING_LR_MUL) for _ in range(config.mapping_layers))
        constant = jnp.zeros((4, 4, channels[0]), jnp.dtype(config.param_dtype))
        self.constant = nnx.Param(constant)
        self.convs = nnx.List([StyledConv(config, channels[0], channels[0], side=4, upsample=False)])
        for r in range(1, len(channels)):
            side = 4 << r
            self.convs.append(StyledConv(config, channels[r - 1], channels[r], side=side, upsample=True))
            self.convs.append(StyledConv(config, channels[r], channels[r], side=side, upsample=False))
        self.to_rgbs = nnx.List(ToRGB(config, width) for width in channels)
        self.dtype = config.dtype
        self.remat = config.remat == "blocks"

    def map(self, z: jax.Array) -> jax.Array:
        """Map z (..., style_dim) to w of the same shape by the mapping network: each vector alone, PixelNorm first."""
        # Eight layers of one vector cost little, and bfloat16 would lose most here: z is normalised in float32.
        z = to_accum_dtype(z)
        z = z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-8)
        for layer in self.mapping:
            z = scaled_leaky_relu(layer(z))
        return z

    def features(self, w: jax.Array, shrink_to: int | None = None) -> list[jax.Array]:
        """Synthesise feature maps of side 4, 8, ..., size from w (N, num_styles, style_dim), without the RGB branch.

        Layer k reads w[:, k]; the maps are those after the 4x4 convolution and after each resolution's second one.

        Args:
          w: Styles; those of the layers suffice.
          shrink_to: Side that larger maps are shrunk to (FG-Net's 128). Pixels of the largest map that the shrink does
            not read are then not computed. None returns all maps in full size.
        """
        constant = self.constant[...].astype(self.dtype)
        x, maps = jnp.broadcast_to(constant, (w.shape[0], *constant.shape)), []
        for k, conv in enumerate(self.convs):
            call = nnx.remat(StyledConv.__call__, static_argnums=(3,)) if self.remat else StyledConv.__call__
            patches_of = self._patches_of(k, shrink_to)
            x = call(conv, x, w[:, k], patches_of)
            if not conv.upsample:
                side = conv.noise.shape[0]
                maps.append(patches.shrink_patches(x, side) if patches_of else shrink(x, min(side, shrink_to or side)))
        return maps

    def _patches_of(self, k: int, shrink_to: int | None) -> int | None:
        """Return `shrink_to` if only patches of layer k are computed: at the last resolution, where they save work."""
        is_last = k + 2 >= len(self.convs)
        if not (shrink_to and is_last and switches.is_on("patches")):
            return None
        return shrink_to if self.convs[k].noise.shape[0] >= patches.PATCH * shrink_to else None

    def image(self, w: jax.Array) -> jax.Array:
        """Synthesise the RGB image (N, size, size, 3), in about [-1, 1], not clipped: for inversion."""
        rgb = None
        for r, (to_rgb, feature) in enumerate(zip(self.to_rgbs, self.features(w), strict=True)):
            own = to_rgb(feature, w[:, 2 * r + 1])
            rgb = own if rgb is None else own + upsample_rgb(rgb)
        assert rgb is not None
        return rgb

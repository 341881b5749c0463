"""StyleGAN2's generator (config F): mapping network, synthesis and, where an image is asked for, the RGB branch."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.layers import Buffer, EqualLinear
from fgnet_jax.models.ops import patches, platforms, switches
from fgnet_jax.models.ops.activations import scaled_leaky_relu
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.filters import upsample_conv, upsample_rgb
from fgnet_jax.models.ops.gathering import whole
from fgnet_jax.models.ops.gpu import patches as gpu_patches
from fgnet_jax.models.ops.gpu.styling import NO_FILTER, Filter, Styling, finish, products
from fgnet_jax.models.ops.gpu.upsampling import LOW_PASS_FILTER, transposed_conv
from fgnet_jax.models.ops.gpu.windows import shrink as shrink_in_place
from fgnet_jax.models.ops.reductions import broadcast, scale
from fgnet_jax.models.ops.remat import remat
from fgnet_jax.models.ops.resize import shrink
from fgnet_jax.models.ops.tpu import strips as tpu_strips

MAPPING_LR_MUL = 0.01
"""Learning rate multiplier of the mapping network's layers."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Factors:
    """What a styled convolution's result is multiplied by, float32 at least.

    Attributes:
      demodulation: (N, Cout), the scale of the kernel included.
      next_style: (N, Cout) of the next layer's input, or None after the last layer.
    """

    demodulation: jax.Array
    next_style: jax.Array | None


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
        kernel, style, demodulation = self._kernel_and_factors(w)
        x = remat(_convolve, self.upsample, patches_of)(x, style, kernel.astype(x.dtype))
        noise = jax.lax.stop_gradient(self.noise[...])
        if patches_of is not None:
            noise = patches.patches(noise, patches_of)
            noise = noise if self.upsample else patches.read_places(noise)
        x = remat(_finish)(x, demodulation, noise[None, :, :, None], self.noise_strength[...], self.bias[...])
        if patches_of is None or not self.upsample:
            return x
        return x * patches.inside(self.noise.shape[0], patches_of).astype(x.dtype)

    def _kernel_and_factors(self, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the kernel, the style (N, Cin) and the demodulation (N, Cout) for w, float32 at least."""
        kernel, style = whole(self.kernel[...]), to_accum_dtype(self.modulation(w))
        root = math.sqrt(9 * kernel.shape[2])
        kernel, style = (kernel / root, style) if self.scales_kernel else (kernel, style / root)
        return kernel, style, jax.lax.rsqrt(jnp.square(style) @ _sum_over_taps(jnp.square(kernel)) + 1e-8)

    def in_strips(self, x: jax.Array, w: jax.Array, size: int) -> jax.Array:
        """Do what `__call__` does for a map that is shrunk to `size`, in the layout of `ops.tpu.strips`.

        A map becomes strips where the layer upsamples, and strips become what the shrink reads.
        """
        kernel, style, demodulation = self._kernel_and_factors(w)
        side, channels, noise = self.noise.shape[0], kernel.shape[3], jax.lax.stop_gradient(self.noise[...])
        if self.upsample:
            x, noise = tpu_strips.upsample_conv_strips(x, style, kernel, size), tpu_strips.strips(noise, size, channels)
        else:
            x = scale(x, tpu_strips.side_by_side(style, x.shape[-1]))
            x, noise = tpu_strips.conv_strips(x, kernel, size), tpu_strips.read_pixels(noise, size, channels)
        each = functools.partial(tpu_strips.side_by_side, width=x.shape[-1])
        strength = jnp.broadcast_to(self.noise_strength[...], x.shape[-1:])
        x = remat(_finish)(x, each(demodulation), noise, strength, each(self.bias[...]))
        return x * tpu_strips.inside(side, size, channels).astype(x.dtype) if self.upsample else x

    def in_one_pass(self, x: jax.Array, factors: Factors, patches_of: int | None) -> tuple[jax.Array, jax.Array | None]:
        """Do what `__call__` does, with all that lies between two convolutions in one pass, as is fast on GPUs.

        Args:
          x: The map, already times this layer's style.
          factors: What the result is multiplied by.
          patches_of: As in `__call__`; patches have the layout of `fgnet_jax.models.ops.gpu.patches`.

        Returns:
          The layer's map, and the same times the next layer's style.
        """
        x, filtering = self._convolve(x, whole(self.kernel[...]).astype(x.dtype), patches_of)
        noise = jax.lax.stop_gradient(self.noise[...])
        if patches_of is not None:
            noise = gpu_patches.take_patches(noise, patches_of)
            noise = noise if self.upsample else gpu_patches.read_places(noise)
        styling = Styling(factors.demodulation, noise, self.noise_strength[...], self.bias[...], factors.next_style)
        return finish(filtering, x, styling)

    def _convolve(self, x: jax.Array, kernel: jax.Array, patches_of: int | None) -> tuple[jax.Array, Filter]:
        """Convolve, and return what is left to be filtered."""
        if not self.upsample:
            return (conv2d(x, kernel) if patches_of is None else gpu_patches.conv_patches(x, kernel)), NO_FILTER
        side = self.noise.shape[0]
        filtering = LOW_PASS_FILTER if patches_of is None else gpu_patches.low_pass_patches(side, patches_of)
        return transposed_conv(x, kernel), filtering


def _sum_over_taps(kernel: jax.Array) -> jax.Array:
    """Sum (3, 3, Cin, Cout) to (Cin, Cout): nine additions, since XLA's reduction takes 10 ms on CPUs instead of 1."""
    return functools.reduce(jnp.add, kernel.reshape(-1, *kernel.shape[2:]))


def _convolve(x: jax.Array, style: jax.Array, kernel: jax.Array, upsample: bool, patches_of: int | None) -> jax.Array:
    """Scale the input's channels, and convolve."""
    if platforms.current() == "tpu":
        # The interpreter reads the unstyled map: XLA would write both, where the convolution can style what it reads.
        x = jax.lax.optimization_barrier(x)
    x = scale(x, style)
    if patches_of is None:
        return upsample_conv(x, kernel) if upsample else conv2d(x, kernel)
    return patches.upsample_conv_patches(x, kernel, patches_of) if upsample else patches.conv_patches(x, kernel)


def _finish(x: jax.Array, demodulation: jax.Array, noise: jax.Array, strength: jax.Array, bias: jax.Array) -> jax.Array:
    """Demodulate a convolution's result, add noise and bias, and activate."""
    noise = noise * broadcast(strength.reshape(-1), noise.shape, noise.dtype)
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
        if platforms.current() == "gpu" and switches.is_on("phases"):
            return self._features_in_passes(w, shrink_to)
        constant = self.constant[...].astype(self.dtype)
        x, maps = jnp.broadcast_to(constant, (w.shape[0], *constant.shape)), []
        for k, conv in enumerate(self.convs):
            call = nnx.remat(StyledConv.__call__, static_argnums=(3,)) if self.remat else StyledConv.__call__
            patches_of = self._patches_of(k, shrink_to)
            if patches_of and platforms.current() == "tpu":
                return [*maps, self._last_in_strips(x, w[:, k:], patches_of)]
            x = call(conv, x, w[:, k], patches_of)
            if not conv.upsample:
                side = conv.noise.shape[0]
                maps.append(patches.shrink_patches(x, side) if patches_of else shrink(x, min(side, shrink_to or side)))
        return maps

    def _last_in_strips(self, x: jax.Array, w: jax.Array, size: int) -> jax.Array:
        """Compute the last resolution's map, shrunk to `size`, from the one before it, as is fast on TPUs."""
        for k, conv in enumerate(list(self.convs)[-2:]):
            call = nnx.remat(StyledConv.in_strips, static_argnums=(3,)) if self.remat else StyledConv.in_strips
            x = call(conv, x, w[:, k], size)
        return tpu_strips.shrink_read(x, self.convs[-1].noise.shape[0], size)

    def _features_in_passes(self, w: jax.Array, shrink_to: int | None) -> list[jax.Array]:
        """Compute `features` with one pass between two convolutions, which needs the next layer's style, too."""
        first_style, factors = self._factors(w)
        constant = self.constant[...][None] * first_style[:, None, None]
        x, maps = constant.astype(self.dtype), []
        for k, conv in enumerate(self.convs):
            call = StyledConv.in_one_pass
            call = nnx.remat(call, static_argnums=(3,)) if self.remat else call
            patches_of, side = self._patches_of(k, shrink_to), conv.noise.shape[0]
            assert x is not None  # only the last layer has no next one
            y, x = call(conv, x, factors[k], patches_of)
            if not conv.upsample:
                size = min(side, shrink_to or side)
                maps.append(gpu_patches.shrink_patches(y, side) if patches_of else shrink_in_place(y, size))
        return maps

    def _factors(self, w: jax.Array) -> tuple[jax.Array, list[Factors]]:
        """Compute the first layer's style (N, C), and each layer's factors, in two products for all layers."""
        applied = [conv.modulation.applied() for conv in self.convs]
        w = w[:, : len(applied)].swapaxes(0, 1).astype(self.dtype)
        styles = products(w, [whole(kernel) for kernel, _ in applied])
        styles += jnp.stack([jnp.pad(bias, (0, styles.shape[-1] - len(bias))) for _, bias in applied])[:, None]
        # The kernel's scale, which goes with the style in principle, goes into the demodulation, which knows of it.
        roots = np.array([math.sqrt(9 * conv.kernel.shape[2]) for conv in self.convs], styles.dtype)[:, None, None]
        squares = [_sum_over_taps(jnp.square(whole(conv.kernel[...]))) for conv in self.convs]
        demodulation = jax.lax.rsqrt(products(jnp.square(styles / roots), squares) + 1e-8) / roots
        widths = [conv.kernel.shape[2] for conv in self.convs]
        own = [style[:, :width] for style, width in zip(styles, widths, strict=True)]
        factors = [
            Factors(demodulation[k][:, : conv.kernel.shape[3]], own[k + 1] if k + 1 < len(own) else None)
            for k, conv in enumerate(self.convs)
        ]
        return own[0], factors

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

"""The StyleGAN2 generator with fixed noise, each modulated convolution in two variants."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_fgnet.layers import EqualLinear
from fgnet_jax.models.config import ModelConfig

GAIN = math.sqrt(2)
SLOPE = 0.2


class PixelNorm(nn.Module):
    """x * rsqrt(mean(x^2) + 1e-8) over the last axis."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (..., C)."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-8)


class LowPass(nn.Module):
    """Holds the [1, 3, 3, 1] x [1, 3, 3, 1] filter, normalised to sum 4."""

    kernel: torch.Tensor

    def __init__(self):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(taps, taps) / 16)


def filter_unfused(x: torch.Tensor, kernel: torch.Tensor, up: int, pad: tuple[int, int]) -> torch.Tensor:
    """Insert zeros, pad and filter as the published `upfirdn2d` does without its CUDA kernel.

    Args:
        x: (N, C, H, W).
        kernel: (k, k).
        up: every pixel is followed by up - 1 zeros, both ways.
        pad: zeros before and after, both ways.

    Returns:
        (N, C, up * H + sum(pad) - k + 1, the same of W).
    """
    n, c, h, w = x.shape
    x = x.reshape(-1, 1, h, 1, w, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(-1, 1, h * up, w * up)
    x = F.conv2d(F.pad(x, (*pad, *pad)), kernel.flip(0, 1)[None, None])
    return x.reshape(n, c, *x.shape[-2:])


def blur_fused(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Apply the low-pass after an upsampling convolution, padding (1, 1), as one grouped convolution.

    Measured on a CPU, channels_last: half the time of two separable passes, a tenth of that of adding up slices.
    """
    channels = x.shape[1]
    weight = kernel.flip(0, 1).expand(channels, 1, 4, 4).contiguous()
    return F.conv2d(x, weight, bias, padding=1, groups=channels)


def upsample_fused(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Insert zeros and apply the low-pass with padding (2, 1), as one grouped transposed convolution."""
    channels = x.shape[1]
    weight = kernel.expand(channels, 1, 4, 4).contiguous()
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)


class ModulatedConv(nn.Module):
    """Weights of a style-modulated convolution.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the filter.
        style_dim: width of w.
        up: with the low-pass of an upsampling convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style_dim: int, up: bool):
        super().__init__()
        self.up, self.scale = up, 1 / math.sqrt(inputs * kernel**2)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        if up:
            self.blur = LowPass()
        self.modulation = EqualLinear(style_dim, inputs, bias_init=1.0)

    def unfused(self, x: torch.Tensor, w: torch.Tensor, demodulate: bool) -> torch.Tensor:
        """Convolve with one filter bank per image, as one convolution with a group per image; then the low-pass."""
        n, inputs, height, width = x.shape
        weight = self.scale * self.weight * self.modulation(w)[:, None, :, None, None]
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        x = x.reshape(1, n * inputs, height, width)
        if not self.up:
            weight = weight.flatten(0, 1)
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=n)
            return x.reshape(n, -1, height, width)
        weight = weight.transpose(1, 2).flatten(0, 1)
        x = F.conv_transpose2d(x, weight, stride=2, groups=n)
        return filter_unfused(x.reshape(n, -1, *x.shape[-2:]), self.blur.kernel, up=1, pad=(1, 1))

    def factors(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute scales of the inputs (N, inputs) and, with demodulation and the activation's gain, of the outputs."""
        before = self.modulation(w) * self.scale
        energy = before.square() @ self.weight[0].square().sum((2, 3)).T
        return before, torch.rsqrt(energy + 1e-8) * GAIN

    def shared(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve with one filter bank (outputs, inputs, k, k) for the whole batch; then the low-pass."""
        if not self.up:
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
        return blur_fused(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), self.blur.kernel, bias)


class Noise(nn.Module):
    """Holds the strength of a layer's noise."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Activation(nn.Module):
    """Holds the bias before a layer's activation."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated 3x3 convolution (upsampling or not), noise, bias, LeakyReLU(0.2) * sqrt(2)."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, up: bool, fused: bool):
        super().__init__()
        self.fused = fused
        self.conv = ModulatedConv(inputs, outputs, 3, style_dim, up)
        self.noise = Noise()
        self.activate = Activation(outputs)

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, H) to (N, outputs, H or 2H, same), with w (N, style_dim) and noise (1, 1, ., .)."""
        if self.fused:
            return self._fused_single(x, w, noise) if len(x) == 1 else self._fused_batch(x, w, noise)
        x = self.conv.unfused(x, w, demodulate=True) + self.noise.weight * noise
        return F.leaky_relu(x + self.activate.bias[:, None, None], SLOPE) * GAIN

    def _fused_single(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        # One image: the weight is far smaller than the maps, so everything that scales goes into it. The gain may
        # go before the activation, which is homogeneous.
        before, after = self.conv.factors(w)
        weight = self.conv.weight[0] * before[0, :, None, None] * after[0, :, None, None, None]
        x = self.conv.shared(x, weight, self.activate.bias * GAIN)
        return F.leaky_relu_(x.add_(noise * self.noise.weight * GAIN), SLOPE)

    def _fused_batch(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        before, after = self.conv.factors(w)
        x = self.conv.shared(x * before[:, :, None, None], self.conv.weight[0])
        # The bias goes last, so that the sum is channels_last: mixed layouts cost a factor of three.
        offset = noise.permute(0, 2, 3, 1) * (self.noise.weight * GAIN) + self.activate.bias * GAIN
        return F.leaky_relu_(torch.addcmul(offset.permute(0, 3, 1, 2), x, after[:, :, None, None]), SLOPE)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to the image, not demodulated, added to the upsampled image so far."""

    def __init__(self, inputs: int, style_dim: int, up: bool, fused: bool):
        super().__init__()
        self.fused = fused
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if up:
            self.upsample = LowPass()
        self.conv = ModulatedConv(inputs, 3, 1, style_dim, up=False)

    def forward(self, x: torch.Tensor, w: torch.Tensor, image: torch.Tensor | None) -> torch.Tensor:
        """Compute the image (N, 3, H, H) from x (N, inputs, H, H), w (N, style_dim) and the image of half the side."""
        if self.fused:
            before = self.conv.modulation(w) * self.conv.scale
            rgb = F.conv2d(x * before[:, :, None, None], self.conv.weight[0]) + self.bias
        else:
            rgb = self.conv.unfused(x, w, demodulate=False) + self.bias
        if image is None:
            return rgb
        if self.fused:
            return rgb + upsample_fused(image, self.upsample.kernel)
        return rgb + filter_unfused(image, self.upsample.kernel, up=2, pad=(2, 1))


class ConstantInput(nn.Module):
    """Holds the learnt 4x4 map that synthesis starts from."""

    def __init__(self, channels: int):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Generator(nn.Module):
    """Mapping (`style`) and synthesis; state dict as `g_ema` and `g_all` in the published files."""

    def __init__(self, config: ModelConfig, fused: bool):
        super().__init__()
        channels, dim = config.generator_channels, config.style_dim
        self.fused = fused
        mapping = (EqualLinear(dim, dim, lr_mul=0.01, activate=True) for _ in range(config.mapping_layers))
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(channels[0])
        self.conv1 = StyledConv(channels[0], channels[0], dim, up=False, fused=fused)
        self.to_rgb1 = ToRGB(channels[0], dim, up=False, fused=fused)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for inputs, outputs in zip(channels, channels[1:], strict=False):
            self.convs.append(StyledConv(inputs, outputs, dim, up=True, fused=fused))
            self.convs.append(StyledConv(outputs, outputs, dim, up=False, fused=fused))
            self.to_rgbs.append(ToRGB(outputs, dim, up=True, fused=fused))
        for layer in range(2 * len(channels) - 1):
            side = 4 * 2 ** ((layer + 1) // 2)
            self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, side, side))

    def features(self, w: torch.Tensor) -> list[torch.Tensor]:
        """Compute the feature maps (N, C, s, s), s = 4, 8, .., from w (N, at least styles - 1, style_dim)."""
        x = self.input.input.expand(len(w), -1, -1, -1)
        if self.fused:
            x = x.contiguous(memory_format=torch.channels_last)
        features = [self.conv1(x, w[:, 0], self.noises.get_buffer("noise_0"))]
        for r in range(1, len(self.to_rgbs) + 1):
            x = self.convs[2 * r - 2](features[-1], w[:, 2 * r - 1], self.noises.get_buffer(f"noise_{2 * r - 1}"))
            features.append(self.convs[2 * r - 1](x, w[:, 2 * r], self.noises.get_buffer(f"noise_{2 * r}")))
        return features

    def forward(self, w: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Compute the feature maps and the image (N, 3, G, G) from w (N, styles, style_dim)."""
        features = self.features(w)
        rgb = self.to_rgb1(features[0], w[:, 1], None)
        for r, (to_rgb, feature) in enumerate(zip(self.to_rgbs, features[1:], strict=True), start=1):
            rgb = to_rgb(feature, w[:, 2 * r + 1], rgb)
        return features, rgb

"""The student: a small network from an aligned face to FG-Net's heatmaps, for real time on processors without a GPU.

A backbone halves the face's side twice and then computes maps at a quarter, an eighth and a sixteenth of it; a feature
pyramid (Lin et al., CVPR 2017) joins them at the quarter. Targets are blobs of a standard deviation of a sixth of the
face, so that nothing is lost at this size. Convolutions have few kinds and many channels each, because that is what
XLA computes fast on CPUs, GPUs and TPUs alike: docs/student.md compares three kinds of blocks.
"""

from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fgnet_jax.models.config import StudentConfig
from fgnet_jax.models.layers import BatchNorm, Conv
from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.gathering import gathered
from fgnet_jax.models.ops.resize import upsample

STEM = 16
"""Width of the first convolution, at half the face's side."""

PARTIAL = 4
"""A partial convolution mixes neighbouring pixels of one channel in this many (FasterNet, CVPR 2023)."""

EXPANSION = {"partial": 2, "inverted": 4}
"""How many times wider blocks are between their 1x1 convolutions (FasterNet; MobileNetV2, CVPR 2018: 4 to 6)."""


class ConvNorm(nnx.Module):
    """Convolution without bias, then BatchNorm."""

    def __init__(self, config: StudentConfig, features_in: int, features: int, kernel: int = 3, stride: int = 1):
        self.conv = Conv(config, features_in, features, kernel, stride=stride, bias=False)
        self.norm = BatchNorm(features)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map (N, H, W, Cin) to (N, H / stride, W / stride, C)."""
        return self.norm(self.conv(x), train)


class DepthwiseNorm(nnx.Module):
    """3x3 convolution of each channel by itself, then BatchNorm.

    Attributes:
      kernel: (3, 3, 1, features).
    """

    def __init__(self, config: StudentConfig, features: int):
        self.kernel = nnx.Param(jnp.zeros((3, 3, 1, features), jnp.dtype(config.param_dtype)))
        self.norm = BatchNorm(features)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Convolve (N, H, W, C)."""
        return self.norm(gathered(_depthwise)(x, self.kernel[...].astype(x.dtype)), train)


def _depthwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), [(1, 1), (1, 1)], dimension_numbers=layout, feature_group_count=x.shape[-1]
    )


class Residual(nnx.Module):
    """Two 3x3 convolutions beside a shortcut (ResNet's basic block, CVPR 2016)."""

    def __init__(self, config: StudentConfig, features: int):
        self.first = ConvNorm(config, features, features)
        self.second = ConvNorm(config, features, features)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map (N, H, W, C) to the same shape."""
        return nnx.relu(x + self.second(nnx.relu(self.first(x, train)), train))


class Partial(nnx.Module):
    """A 3x3 convolution of a part of the channels, then 1x1 convolutions of all, beside a shortcut (FasterNet's)."""

    def __init__(self, config: StudentConfig, features: int):
        self.mixed, wide = features // PARTIAL, EXPANSION["partial"] * features
        self.spatial = Conv(config, self.mixed, self.mixed, 3, bias=False)
        self.expand = ConvNorm(config, features, wide, 1)
        self.project = ConvNorm(config, wide, features, 1)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map (N, H, W, C) to the same shape."""
        mixed = jnp.concatenate([self.spatial(x[..., : self.mixed]), x[..., self.mixed :]], -1)
        return x + self.project(nnx.relu(self.expand(mixed, train)), train)


class Inverted(nnx.Module):
    """A depthwise convolution between two 1x1 convolutions, beside a shortcut (MobileNetV2's inverted residual)."""

    def __init__(self, config: StudentConfig, features: int):
        wide = EXPANSION["inverted"] * features
        self.expand = ConvNorm(config, features, wide, 1)
        self.depthwise = DepthwiseNorm(config, wide)
        self.project = ConvNorm(config, wide, features, 1)

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map (N, H, W, C) to the same shape."""
        wide = nnx.relu(self.depthwise(nnx.relu(self.expand(x, train)), train))
        return x + self.project(wide, train)


_BLOCKS: dict[str, Callable[[StudentConfig, int], Residual | Partial | Inverted]] = {
    "residual": Residual,
    "partial": Partial,
    "inverted": Inverted,
}


class Student(nnx.Module):
    """Aligned faces to AU heatmaps. `fgnet.merge` gives it its values."""

    def __init__(self, config: StudentConfig):
        widths = (STEM, *config.channels)
        self.stem = ConvNorm(config, 3, STEM, stride=2)
        self.downs = nnx.List(ConvNorm(config, widths[i], widths[i + 1], stride=2) for i in range(3))
        block = _BLOCKS[config.block]
        self.stages = nnx.List(
            nnx.List(block(config, width) for _ in range(units))
            for width, units in zip(config.channels, config.units, strict=True)
        )
        self.laterals = nnx.List(Conv(config, width, config.decoder, 1) for width in config.channels)
        self.joins = nnx.List(ConvNorm(config, config.decoder, config.decoder) for _ in range(2))
        self.output = Conv(config, config.decoder, config.num_heatmaps, 3)
        self.heatmap_size, self.dtype = config.heatmap_size, config.dtype

    def __call__(
        self, images: jax.Array | np.ndarray, train: Collection[str] = (), dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Predict heatmaps (N, heatmap_size, heatmap_size, num_heatmaps), not clipped, of images (N, S, S, 3).

        Args:
          images: Aligned faces in [-1, 1].
          train: Anything but nothing: BatchNorm uses the batch's statistics, and updates the running ones.
          dropout_key: Not used: the student has no dropout. All networks are called in the same way.
        """
        del dropout_key
        maps = self._maps(jnp.asarray(images, self.dtype), bool(train))
        x = self.laterals[2](maps[2])
        for i, join in zip((1, 0), self.joins, strict=True):
            x = _double(x) + self.laterals[i](maps[i])
            x = nnx.relu(join(x, bool(train)))
        heatmaps = to_accum_dtype(self.output(x))
        return heatmaps if heatmaps.shape[1] == self.heatmap_size else upsample(heatmaps, self.heatmap_size)

    def _maps(self, x: jax.Array, train: bool) -> list[jax.Array]:
        """Compute the backbone's maps at a quarter, an eighth and a sixteenth of the face's side."""
        x, maps = nnx.relu(self.stem(x, train)), []
        for down, blocks in zip(self.downs, self.stages, strict=True):
            x = nnx.relu(down(x, train))
            for block in blocks:
                x = block(x, train)
            maps.append(x)
        return maps


def _double(x: jax.Array) -> jax.Array:
    """Repeat each pixel of (N, H, W, C) in two rows and two columns."""
    n, height, width, features = x.shape
    repeated = jnp.broadcast_to(x[:, :, None, :, None], (n, height, 2, width, 2, features))
    return repeated.reshape(n, 2 * height, 2 * width, features)

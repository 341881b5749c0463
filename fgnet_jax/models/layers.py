"""Layers that several of the three networks use, or whose semantics in flax differ from PyTorch's.

Constructors of the networks only declare shapes (all zeros, abstract in practice); `fgnet_jax.models.initializers`
draws the values by NumPy, since compiling a random number generator for each of 600 shapes takes half a minute.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.ops import moments, platforms
from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.dtypes import to_accum_dtype
from fgnet_jax.models.ops.gathering import gathered
from fgnet_jax.models.ops.reductions import batch_mean, broadcast
from fgnet_jax.models.ops.remat import remat
from fgnet_jax.models.ops.resize import upsample_conv2d

BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""In PyTorch's sense: the weight of the batch in the running statistics."""


class Buffer(nnx.Variable):
    """An array that belongs to the model and is never trained: a noise map, the average latent."""


class Conv(nnx.Module):
    """A convolution padded like PyTorch's `padding=kernel // 2` (flax's "SAME" differs when it strides).

    Attributes:
      kernel: (kernel, kernel, in, out).
      bias: (out,), or None.
    """

    def __init__(
        self,
        config: NetworkConfig,
        features_in: int,
        features_out: int,
        kernel: int,
        *,
        stride: int = 1,
        bias: bool = True,
    ):
        param_dtype = jnp.dtype(config.param_dtype)
        self.kernel = nnx.Param(jnp.zeros((kernel, kernel, features_in, features_out), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features_out,), param_dtype)) if bias else None
        self.stride = stride

    def __call__(self, x: jax.Array, enlarge_to: int | None = None) -> jax.Array:
        """Convolve (N, H, W, in) to (N, H / stride, W / stride, out), in the dtype of x.

        Args:
          x: The map.
          enlarge_to: Side that x is upsampled to first (only for a stride of 1).
        """
        kernel = self.kernel[...].astype(x.dtype)
        convolve, argument = (conv2d, self.stride) if enlarge_to is None else (upsample_conv2d, enlarge_to)
        x = gathered(convolve, argument)(x, kernel)
        return x if self.bias is None else x + broadcast(self.bias[...], x.shape, x.dtype)


class Linear(nnx.Module):
    """Linear layer without bias: x @ kernel, kernel being (in, out)."""

    def __init__(self, config: NetworkConfig, features_in: int, features_out: int):
        self.kernel = nnx.Param(jnp.zeros((features_in, features_out), jnp.dtype(config.param_dtype)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (..., in) to (..., out), in the dtype of x."""
        return gathered(jnp.matmul)(x, self.kernel[...].astype(x.dtype))


class BatchNorm(nnx.Module):
    """Batch normalisation over (N, H, W) with PyTorch's running statistics.

    Unlike `nnx.BatchNorm`, the running variance is updated by the batch's unbiased variance; the normalisation uses
    the biased one. Statistics are float32 at least in any compute dtype; over a sharded batch they are global.
    """

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.zeros((features,)))
        self.bias = nnx.Param(jnp.zeros((features,)))
        self.mean = nnx.BatchStat(jnp.zeros((features,)))
        self.var = nnx.BatchStat(jnp.zeros((features,)))

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalise (N, H, W, C) by the batch's statistics, and update the running ones; or by the running ones."""
        if platforms.current() != "cpu":
            return moments.affine(x, *self.coefficients(x, train)[1:])
        if train:
            mean, var = self._batch_statistics(x)
            return remat(_normalise)(x, mean, var, self.scale[...], self.bias[...])
        gain = self.scale[...] * jax.lax.rsqrt(self.var[...] + BATCH_NORM_EPS)
        offset = self.bias[...] - self.mean[...] * gain
        return x * broadcast(gain, x.shape, x.dtype) + broadcast(offset, x.shape, x.dtype)

    def coefficients(self, x: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Return what `moments.affine` normalises a map (N, H, W, C) by, after the mean of each image: all (N, C).

        In training, the running statistics are updated. It is meant for GPUs and TPUs.
        """
        if train:
            image_means, image_vars = moments.moments(x)
            mean = image_means.mean(0)
            var = (image_vars + jnp.square(image_means - mean)).mean(0)
            self._update(x, mean, var)
        else:
            mean, var, image_means = self.mean[...], self.var[...], to_accum_dtype(x).mean((1, 2))
        gain = self.scale[...] * jax.lax.rsqrt(var + BATCH_NORM_EPS)
        centre = jax.lax.stop_gradient(mean)
        offset = self.bias[...] - (mean - centre) * gain  # the bias, with the gradient of the mean
        return image_means, moments.vectors(centre, x), moments.vectors(gain, x), moments.vectors(offset, x)

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Compute the batch's mean and variance (C,), float32 at least, and update the running statistics."""
        mean = batch_mean(x)
        var = remat(_variance)(x, mean)
        self._update(x, mean, var)
        return mean, var

    def _update(self, x: jax.Array, mean: jax.Array, var: jax.Array) -> None:
        """Update the running statistics by those of a batch x."""
        count = math.prod(x.shape[:3])
        # Departure from flax: PyTorch updates the running variance by the unbiased one.
        for statistic, batch in ((self.mean, mean), (self.var, var * (count / max(count - 1, 1)))):
            statistic.set_value(statistic[...] + BATCH_NORM_MOMENTUM * (batch - statistic[...]))


def _variance(x: jax.Array, mean: jax.Array) -> jax.Array:
    return batch_mean(jnp.square(x.astype(mean.dtype) - broadcast(mean, x.shape, mean.dtype)))


def _normalise(x: jax.Array, mean: jax.Array, var: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    # The mean goes first: x * gain + offset would cancel where |mean| is large.
    centred = x.astype(mean.dtype) - broadcast(mean, x.shape, mean.dtype)
    gain = scale * jax.lax.rsqrt(var + BATCH_NORM_EPS)
    return (centred * broadcast(gain, x.shape, mean.dtype) + broadcast(bias, x.shape, mean.dtype)).astype(x.dtype)


class PReLU(nnx.Module):
    """max(x, 0) + slope * min(x, 0) with one slope per channel (`nnx.PReLU` has a single one)."""

    def __init__(self, features: int):
        self.slope = nnx.Param(jnp.zeros((features,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Activate (..., C)."""
        return remat(_prelu)(x, self.slope[...]) if platforms.current() == "cpu" else moments.prelu(x, self.slope[...])


def _prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.where(x >= 0, x, broadcast(slope, x.shape, x.dtype) * x)


class EqualLinear(nnx.Module):
    """Linear layer with equalised learning rate: x @ (kernel * lr_mul / sqrt(in)) + bias * lr_mul (StyleGAN2).

    Attributes:
      kernel: (in, out).
      bias: (out,).
    """

    def __init__(self, config: NetworkConfig, features_in: int, features_out: int, lr_mul: float = 1.0):
        param_dtype = jnp.dtype(config.param_dtype)
        self.kernel = nnx.Param(jnp.zeros((features_in, features_out), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features_out,), param_dtype))
        self.lr_mul = lr_mul
        self.dtype = config.dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map (..., in) to (..., out), in the compute dtype."""
        kernel, bias = self.applied()
        return gathered(jnp.matmul)(x.astype(self.dtype), kernel) + bias

    def applied(self) -> tuple[jax.Array, jax.Array]:
        """Return kernel and bias as they are applied: multiplied by their factors, in the compute dtype."""
        kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        return kernel * (self.lr_mul / math.sqrt(kernel.shape[0])), bias * self.lr_mul

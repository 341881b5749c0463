"""Layers that more than one of the three networks uses, or that flax has with other semantics than PyTorch."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from fgnet_jax.models.config import ModelConfig

BATCH_NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
"""In PyTorch's sense: the share of the batch in the running statistics."""


class Buffer(nnx.Variable):
    """An array that belongs to the model and is never trained: a noise map, the average latent."""


def conv(
    config: ModelConfig, features_in: int, features_out: int, kernel: int, *, rngs: nnx.Rngs, stride: int = 1, **kwargs
) -> nnx.Conv:
    """A convolution padded like PyTorch's `padding=kernel // 2` (flax's "SAME" differs when it strides)."""
    return nnx.Conv(
        features_in,
        features_out,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        dtype=jnp.dtype(config.dtype),
        param_dtype=jnp.dtype(config.param_dtype),
        rngs=rngs,
        **kwargs,
    )


class BatchNorm(nnx.Module):
    """Batch normalisation over (N, H, W) with PyTorch's running statistics.

    Unlike `nnx.BatchNorm`, the running variance is fed by the unbiased variance of the batch; the normalisation uses
    the biased one. Statistics are float32 in any compute format; over a sharded batch they are global.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs, scale_init=nnx.initializers.ones):
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((features,)))
        self.mean = nnx.BatchStat(jnp.zeros((features,)))
        self.var = nnx.BatchStat(jnp.ones((features,)))

    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Normalises (N, H, W, C) by the batch's statistics, moving the running ones, or by the running ones."""
        mean, var = self._batch_statistics(x) if train else (self.mean[...], self.var[...])
        gain = self.scale[...] * jax.lax.rsqrt(var + BATCH_NORM_EPS)
        offset = self.bias[...] - mean * gain
        if train:  # subtract first: x * gain + offset would cancel where |mean| is large
            return ((x.astype(jnp.float32) - mean) * gain + self.bias[...]).astype(x.dtype)
        return x * gain.astype(x.dtype) + offset.astype(x.dtype)

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = x.astype(jnp.float32)
        mean = x.mean((0, 1, 2))
        var = jnp.square(x - mean).mean((0, 1, 2))
        count = math.prod(x.shape[:3])
        # Departure from flax: PyTorch feeds the running variance with the unbiased one.
        for running, batch in ((self.mean, mean), (self.var, var * (count / max(count - 1, 1)))):
            running[...] += BATCH_NORM_MOMENTUM * (batch - running[...])
        return mean, var


class PReLU(nnx.Module):
    """max(x, 0) + slope * min(x, 0) with one slope per channel (`nnx.PReLU` has a single one)."""

    def __init__(self, features: int):
        self.slope = nnx.Param(jnp.full((features,), 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies it to (..., C)."""
        return jnp.where(x >= 0, x, self.slope[...].astype(x.dtype) * x)


class EqualLinear(nnx.Module):
    """Linear layer with equalised learning rate: x @ (kernel * lr_mul / sqrt(in)) + bias * lr_mul (StyleGAN2).

    Attributes:
      kernel: (in, out), standard normal over lr_mul when fresh.
      bias: (out,).
    """

    def __init__(
        self, config: ModelConfig, features_in: int, features_out: int, *, rngs: nnx.Rngs, lr_mul=1.0, bias_init=0.0
    ):
        param_dtype = jnp.dtype(config.param_dtype)
        normal = jax.random.normal(rngs.params(), (features_in, features_out), param_dtype)
        self.kernel = nnx.Param(normal / lr_mul)
        self.bias = nnx.Param(jnp.full((features_out,), bias_init, param_dtype))
        self.lr_mul = lr_mul
        self.dtype = config.dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., in) to (..., out), in the compute format."""
        kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        scale = self.lr_mul / math.sqrt(kernel.shape[0])
        return x.astype(self.dtype) @ (kernel * scale) + bias * self.lr_mul

"""Activations of StyleGAN2."""

import math

import jax
import jax.numpy as jnp


def scaled_leaky_relu(x: jax.Array) -> jax.Array:
    """Compute LeakyReLU of slope 0.2 times sqrt(2), which keeps the variance (StyleGAN2's `fused_leaky_relu`)."""
    return jnp.where(x >= 0, x, 0.2 * x) * math.sqrt(2)

"""Comparison of two ways to compute the same: values and gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def random(*shape: int, seed: int = 0) -> jax.Array:
    """Draw an array of normally distributed numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def same_with_gradients(
    actual: Callable[..., jax.Array], expected: Callable[..., jax.Array], *arrays: jax.Array, rtol: float = 0.0
) -> None:
    """Compare values, and gradients to within a few roundings of the largest."""

    def both(function: Callable[..., jax.Array]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        out, gradients = jax.vjp(function, *arrays)
        return out, gradients(random(*out.shape))

    with jax.default_matmul_precision("highest"):
        (value, gradients), (other, others) = (jax.jit(both, static_argnums=0)(f) for f in (actual, expected))
        np.testing.assert_allclose(value, other, rtol=rtol, atol=5e-6)
        for gradient, other in zip(gradients, others, strict=True):
            scale = float(jnp.abs(other).max())
            np.testing.assert_allclose(gradient / scale, other / scale, rtol=0, atol=2e-6)

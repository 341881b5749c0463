"""Strided convolutions side by side, against one after the other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import direct, platforms
from fgnet_jax.models.ops.gpu import grouped

RNG = np.random.default_rng(0)


def _normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def _one_by_one(x, kernels, groups):
    maps = jnp.split(x, groups, axis=-1) if groups > 1 else [x] * len(kernels)
    pairs = zip(maps, kernels, strict=True)
    return jnp.concatenate([direct.conv(y, kernel, ((1, 1), (1, 1)), 2) for y, kernel in pairs], axis=-1)


@pytest.mark.parametrize(("side", "groups"), [(8, 3), (2, 3), (8, 1)], ids=["grouped", "to_a_pixel", "wide"])
def test_values_and_gradients(side, groups):
    """Of a map for each kernel, and of one for all."""
    x, kernels = _normal(2, side, side, 5 * groups), tuple(_normal(3, 3, 5, 7) for _ in range(3))
    with jax.default_matmul_precision("highest"), platforms.tracing_for("gpu"):
        merged: Any = lambda x, kernels: grouped.halve(x, grouped.stack(kernels), groups)  # noqa: E731
        actual, backward = jax.vjp(merged, x, kernels)
        expected, expected_backward = jax.vjp(lambda x, kernels: _one_by_one(x, kernels, groups), x, kernels)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
        gradient = _normal(*actual.shape)
        for ours, theirs in zip(*map(jax.tree.leaves, (backward(gradient), expected_backward(gradient))), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)

"""What the backward pass keeps, and the order in which it computes gradients."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.remat import remat

RNG = np.random.default_rng(0)
X, GAIN = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)


def powers(x, gain, power):
    """Compute a function of a map, an array and a constant."""
    return jnp.sin(x * gain) ** power


def total(fn, *static):
    """Return a loss of `fn`'s result."""
    return lambda x, gain: jnp.sum(fn(x, gain, *static) ** 2)


@pytest.mark.parametrize("arguments", [0, 1, (0, 1)])
def test_gradients_are_those_of_the_function(arguments):
    """With respect to the map, to the other array, to both."""
    actual = jax.jit(jax.grad(total(remat(powers, 3)), arguments))(X, GAIN)
    for got, expected in zip(
        jax.tree.leaves(actual), jax.tree.leaves(jax.grad(total(powers, 3), arguments)(X, GAIN)), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_only_the_arguments_are_kept():
    """Between the passes, no intermediate map is kept."""
    residuals = jax.eval_shape(lambda x, gain: jax.vjp(lambda *a: remat(powers, 3)(*a), x, gain)[1], X, GAIN)
    maps = [leaf for leaf in jax.tree.leaves(residuals) if leaf.shape == X.shape]
    assert len(maps) == 1, "the argument"


@pytest.mark.skipif(platforms.current() != "cpu", reason="the order is for XLA's scheduler on CPUs")
def test_the_map_waits_only_for_gradients_that_are_used():
    """The gradient of a frozen array is not computed just to establish the order."""

    def loss(x, matrix):
        return jnp.sum(remat(jnp.matmul)(x, matrix) ** 2)

    def flops(arguments):
        compiled = jax.jit(jax.grad(loss, arguments)).lower(X, np.ones((3, 3), np.float32)).compile()
        return cast(Any, compiled.cost_analysis())["flops"]

    assert flops((0, 1)) > flops(0) + X.size * 3

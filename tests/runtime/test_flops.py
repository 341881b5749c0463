"""Counts of operations."""

import jax
import jax.numpy as jnp
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops import switches
from fgnet_jax.runtime import flops

X = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((3, 3, 3, 5), jnp.float32)


def _conv(x, kernel, **options):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        options.pop("strides", (1, 1)),
        [(1, 1), (1, 1)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **options,
    )


def test_a_matrix_product():
    """Two operations per multiply-add, in every batch."""
    a, b = jax.ShapeDtypeStruct((7, 2, 3), jnp.float32), jax.ShapeDtypeStruct((7, 3, 5), jnp.float32)
    assert flops.count(lambda a, b: a @ b, a, b) == 2 * 7 * 2 * 3 * 5


@pytest.mark.parametrize("options", [{}, {"strides": (2, 2)}, {"lhs_dilation": (2, 2)}])
def test_a_convolution_counts_as_by_the_compiler(options):
    """Its padding and the zeros between its samples are not multiplied."""

    def fn(x, kernel):
        return _conv(x, kernel, **options)

    compiled = jax.jit(fn).lower(X, KERNEL).cost_analysis()
    assert compiled and flops.count(fn, X, KERNEL) == pytest.approx(compiled["flops"])


def test_a_loop_counts_as_often_as_it_runs():
    """XLA counts its body once."""

    def fn(x, kernel):
        return jax.lax.scan(lambda total, _: (total + _conv(x, kernel).sum(), None), 0.0, None, length=4)[0]

    assert flops.count(fn, X, KERNEL) == 4 * flops.count(_conv, X, KERNEL)


def test_unused_results_are_not_counted():
    """The value of a convolution of which only the gradient is used."""

    def fn(x, kernel):
        return jax.grad(lambda x: _conv(x, kernel).sum())(x)

    assert flops.count(fn, X, KERNEL) == flops.count(_conv, X, KERNEL)


def test_the_published_features_stay_cheap():
    """Of one face: pixels that are not read are not computed (all take 149 GFLOP), and Winograd's method saves more."""
    config, w = ModelConfig(), jax.ShapeDtypeStruct((1, ModelConfig().num_styles, 512), jnp.float32)

    def count() -> float:
        def features(variables, w):  # a new function each time: JAX caches what it traced
            network = fgnet.merge(config, variables)
            assert isinstance(network, fgnet.FGNet)
            return network.generator.features(w, config.heatmap_size)

        return flops.count(features, fgnet.abstract(config), w)

    with switches.without([*switches.PATHS]):
        plain = count()
    assert count() < 120e9 < 140e9 < plain

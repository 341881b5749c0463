"""A program in two parts: what its weights alone decide, and the rest."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms
from fgnet_jax.predict.partial_evaluation import split

WEIGHTS = {"kernel": jnp.ones((4, 3)), "bias": jnp.arange(3.0)}
BATCH = jnp.ones((1000, 4))


def _layer(weights, x):
    return {"result": x @ jnp.exp(weights["kernel"]) + weights["bias"], "squares": jnp.square(weights["kernel"]).sum(0)}


def test_the_two_parts_do_what_the_function_does():
    """A tree of results, one of which depends on the weights alone."""
    prepare, finish = split(_layer, WEIGHTS, BATCH)
    actual, expected = finish(prepare(WEIGHTS), BATCH), _layer(WEIGHTS, BATCH)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)


def test_what_the_weights_decide_is_computed_once():
    """The second part computes nothing of the kernel; the first one does not broadcast the bias to all rows."""
    prepare, finish = split(_layer, WEIGHTS, BATCH)
    prepared = jax.eval_shape(prepare, WEIGHTS)
    assert max(math.prod(array.shape) for array in prepared) == 4 * 3
    rest = {equation.primitive.name for equation in jax.make_jaxpr(finish)(prepared, BATCH).eqns}
    assert {"dot_general", "add"} <= rest <= {"dot_general", "add", "broadcast_in_dim"}


def test_a_reversal_stays():
    """By it, XLA knows that a convolution is a transposed one; what comes before it is computed once."""

    def reversing(weights, x):
        return x @ jax.lax.rev(jnp.exp(weights["kernel"]), (0,))

    prepare, finish = split(reversing, WEIGHTS, BATCH)
    names = [{each.primitive.name for each in jax.make_jaxpr(fn)(*args).eqns}
             for fn, args in ((prepare, (WEIGHTS,)), (finish, (jax.eval_shape(prepare, WEIGHTS), BATCH)))]  # fmt: skip
    assert names == [{"exp"}, {"rev", "dot_general"}]


def test_calls_are_opened():
    """What an inner `jax.jit`, `jax.checkpoint` or function with its own gradient does to weights is done once too."""
    own = jax.custom_vjp(jnp.exp)
    own.defvjp(lambda k: (jnp.exp(k), k), lambda k, g: (g,))
    inner = jax.jit(jax.checkpoint(lambda x, kernel: x @ own(kernel)))
    prepare, finish = split(lambda kernel, x: inner(x, kernel), WEIGHTS["kernel"], BATCH)
    prepared = prepare(WEIGHTS["kernel"])
    rest = [equation.primitive.name for equation in jax.make_jaxpr(finish)(prepared, BATCH).eqns]
    assert rest == ["dot_general"]
    np.testing.assert_array_equal(finish(prepared, BATCH), inner(BATCH, WEIGHTS["kernel"]))


@pytest.mark.parametrize(
    ("platform", "changes"), [("gpu", {}), ("gpu", {"remat": "blocks"}), ("tpu", {"dtype": "float32"})], ids=str
)
def test_the_network_reads_weights_in_the_format_it_computes_in(platform, changes):
    """Nothing larger than the weights is prepared, no kernel is left in float32, and heatmaps are the same."""
    config = dataclasses.replace(TINY, **{"dtype": "bfloat16"} | changes)
    variables = fgnet.init(config, seed=0)
    faces = np.random.default_rng(0).integers(0, 256, (2, config.image_size, config.image_size, 3), np.uint8)
    network = platforms.traced_for(platform, lambda variables, faces: fgnet.au_heatmaps(config, variables, faces, 12))
    prepare, finish = split(network, variables, faces)
    prepared = jax.jit(prepare)(variables)
    assert sum(array.nbytes for array in prepared) < 1.1 * sum(array.nbytes for array in jax.tree.leaves(variables))
    kernels = [array for array in prepared if array.ndim == 4 and array.shape[0] > len(faces)]
    assert kernels and all(array.dtype == config.dtype for array in kernels)
    expected = np.asarray(jax.jit(network)(variables, faces))
    bound = 1e-5 if config.dtype == "float32" else 0.05 * np.abs(expected).max()
    np.testing.assert_allclose(jax.jit(finish)(prepared, faces), expected, rtol=0, atol=bound)

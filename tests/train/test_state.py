"""The state that training carries: its averages."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from fgnet_jax.models.fgnet import Variables
from fgnet_jax.train import state
from fgnet_jax.train.optimizer import OptimConfig, optimizer


def test_averages_of_parameters_in_bfloat16_follow_them():
    """A thousandth of a difference is less than bfloat16 resolves: averages are kept in float32 and evaluated in it."""
    path, config = "encoder/body/0/conv1/kernel", OptimConfig()
    variables = Variables({path: jnp.ones(3, jnp.bfloat16)}, {"encoder/norm/mean": jnp.zeros(3)}, {})
    current = state.create(variables, config, optimizer(config, 10), averaged=True)
    averages, expected = current.averages, 1.0
    for _ in range(300):
        values = {path: jnp.full(3, 1.5, jnp.bfloat16), "encoder/norm/mean": jnp.zeros(3)}
        averages = state.averaged(averages, values, step=jnp.asarray(10**6), decay=0.999)
        expected += 0.001 * (1.5 - expected)
    np.testing.assert_allclose(averages[path], expected, rtol=1e-5)
    evaluated = dataclasses.replace(current, averages=averages).evaluated
    assert evaluated.params[path].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(evaluated.params[path], np.float32), expected, rtol=2**-8)

"""The whole network by the paths of each platform, traced for it and run on CPU: all compute the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms, switches

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, TINY.image_size, TINY.image_size, 3)).astype(np.float32)


def _variables() -> fgnet.Variables:
    """Initialise a network whose noise is not switched off, as it is initially."""
    variables = fgnet.init(TINY)
    params = {name: value + 0.1 * name.endswith("noise_strength") for name, value in variables.params.items()}
    return dataclasses.replace(variables, params=params)


def _predicted(platform: str) -> jax.Array:
    program = platforms.traced_for(platform, lambda variables: fgnet.apply(TINY, variables, IMAGES))
    return jax.jit(program)(_variables())


def _gradients(platform: str, remat: str) -> dict[str, jax.Array]:
    config = dataclasses.replace(TINY, remat=remat)

    def loss(variables: fgnet.Variables) -> jax.Array:
        heatmaps, _ = fgnet.apply_train(config, variables, IMAGES, None)
        return jnp.square(heatmaps).mean()

    with jax.default_matmul_precision("highest"):
        return jax.jit(platforms.traced_for(platform, jax.grad(loss)))(_variables()).params


@pytest.mark.parametrize("path", [None, "patches", "phases", "mix"])
def test_heatmaps_of_gpus(path):
    """Those of CPUs to 1e-5, whichever path is switched off."""
    with switches.without([path] if path else []):
        actual = _predicted("gpu")
    np.testing.assert_allclose(actual, _predicted("cpu"), rtol=0, atol=1e-5)


@pytest.mark.slow  # compiles three training programs
@pytest.mark.parametrize("remat", ["none", "blocks"])
def test_gradients_of_gpus(remat):
    """Each to a thousandth of its norm, with the noise's strength, whose gradient cancels most."""
    expected, actual = _gradients("cpu", "none"), _gradients("gpu", remat)
    largest = max(float(jnp.linalg.norm(gradient)) for gradient in expected.values())
    for name, gradient in expected.items():
        error = float(jnp.linalg.norm(gradient - actual[name]))
        assert error <= 1e-3 * float(jnp.linalg.norm(gradient)) + 1e-6 * largest, name

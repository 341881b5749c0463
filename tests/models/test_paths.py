"""The whole network by the paths of each platform, traced for it and run on CPU: all compute the same."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms, switches
from fgnet_jax.models.ops.cpu import compiler_options

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, TINY.image_size, TINY.image_size, 3)).astype(np.float32)


def _variables() -> fgnet.Variables:
    """Initialise a network whose noise is not switched off, as it is initially."""
    variables = fgnet.init(TINY)
    params = {name: value + 0.1 * name.endswith("noise_strength") for name, value in variables.params.items()}
    return dataclasses.replace(variables, params=params)


def _predicted(platform: str, dtype: str = "float32") -> jax.Array:
    config = dataclasses.replace(TINY, dtype=dtype)
    program = platforms.traced_for(platform, lambda variables: fgnet.apply(config, variables, IMAGES))
    return jax.jit(program, compiler_options=compiler_options.inference(platform))(_variables())


def _gradients(platform: str, remat: str = "none", dtype: str = "float32") -> dict[str, jax.Array]:
    config = dataclasses.replace(TINY, remat=remat, dtype=dtype)

    def loss(variables: fgnet.Variables) -> jax.Array:
        heatmaps, _ = fgnet.apply_train(config, variables, IMAGES, None)
        return jnp.square(heatmaps).mean()

    with jax.default_matmul_precision("highest"):
        return jax.jit(platforms.traced_for(platform, jax.grad(loss)))(_variables()).params


@pytest.mark.parametrize("path", [None, "patches", "phases", "mix", "styles"])
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


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_heatmaps_in_bfloat16(platform):
    """As near to those in float32 as those of CPUs."""
    exact = _predicted("cpu")
    own, of_cpus = (float(jnp.linalg.norm(_predicted(each, "bfloat16") - exact)) for each in (platform, "cpu"))
    assert 0 < own <= of_cpus < 0.05 * float(jnp.linalg.norm(exact))


@pytest.mark.slow  # compiles three training programs
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_gradients_in_bfloat16(platform):
    """All of them together are as near to those in float32 as those of CPUs."""
    exact = _gradients("cpu")

    def error(gradients: dict[str, jax.Array]) -> float:
        return math.sqrt(sum(float(jnp.square(gradients[name] - exact[name]).sum()) for name in exact))

    own, of_cpus = (error(_gradients(each, dtype="bfloat16")) for each in (platform, "cpu"))
    norm = math.sqrt(sum(float(jnp.square(gradient).sum()) for gradient in exact.values()))
    assert 0 < own <= of_cpus < 0.25 * norm  # bfloat16 itself is a fifth from float32

"""Every fast path against the plain one: the whole network's heatmaps and gradients."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import switches

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, TINY.image_size, TINY.image_size, 3)).astype(np.float32)


def _loss(variables, images):
    heatmaps, _ = fgnet.apply_train(TINY, variables, images, None)
    return jnp.square(heatmaps).mean(), heatmaps


def _computed(paths):
    """Heatmaps, and the gradient of every parameter; and how many convolutions and products the program has."""
    with switches.without(paths), jax.default_matmul_precision("highest"):
        lowered = jax.jit(jax.value_and_grad(lambda v, x: _loss(v, x), has_aux=True)).lower(_variables(), IMAGES)
        (_, heatmaps), gradients = lowered.compile()(_variables(), IMAGES)
    return heatmaps, gradients.params, lowered.as_text()


def _variables():
    variables = fgnet.init(TINY)
    return fgnet.Variables(variables.params, variables.batch_stats, variables.buffers)


@pytest.fixture(scope="module")
def fastest():
    """With all paths on."""
    return _computed([])


@pytest.mark.parametrize("path", switches.PATHS)
def test_a_path_changes_the_program_and_not_its_result(path, fastest):
    """Forwards to 1e-5, and each gradient to a thousandth of its norm; the switch does something."""
    heatmaps, gradients, program = _computed([path])
    assert program != fastest[2]
    np.testing.assert_allclose(heatmaps, fastest[0], rtol=0, atol=1e-5)
    largest = max(float(jnp.linalg.norm(g)) for g in gradients.values())
    for name, gradient in gradients.items():
        apart = float(jnp.linalg.norm(gradient - fastest[1][name]))
        assert apart <= 1e-3 * float(jnp.linalg.norm(gradient)) + 1e-6 * largest, name


@pytest.mark.parametrize(("named", "said"), [("sparse,taps", "True False"), ("all", "False False"), ("", "True True")])
def test_the_environment_names_what_is_off(named, said):
    """When the process starts."""
    program = "from fgnet_jax.models.ops import fast; print(fast.is_on('mix'), fast.is_on('sparse'))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"FGNET_JAX_PLAIN": named, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == said, run.stderr


def test_an_unknown_path_is_refused():
    """With those that there are."""
    with pytest.raises(ValueError, match="'sparce': expected sparse, mix"), switches.without(["sparce"]):
        pass

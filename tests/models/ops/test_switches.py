"""Every fast path of CPUs against the plain one: heatmaps and gradients of the whole network."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms, switches

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, TINY.image_size, TINY.image_size, 3)).astype(np.float32)


def _loss(variables, images):
    heatmaps, _ = fgnet.apply_train(TINY, variables, images, None)
    return jnp.square(heatmaps).mean(), heatmaps


def _compute(paths):
    """Compute heatmaps and the gradient of every parameter without these paths; and the program's text."""
    with switches.without(paths), jax.default_matmul_precision("highest"):
        lowered = jax.jit(jax.value_and_grad(lambda v, x: _loss(v, x), has_aux=True)).lower(_variables(), IMAGES)
        (_, heatmaps), gradients = lowered.compile()(_variables(), IMAGES)
    return heatmaps, gradients.params, lowered.as_text()


def _variables():
    variables = fgnet.init(TINY)
    return fgnet.Variables(variables.params, variables.batch_stats, variables.buffers)


@pytest.fixture(scope="module")
def fastest():
    """Results with all paths on."""
    return _compute([])


@pytest.mark.slow  # compiles the network once for every switch
@pytest.mark.parametrize("path", [name for name, path in switches.PATHS.items() if "cpu" in path.platforms])
def test_a_path_changes_the_program_and_not_its_result(path, fastest):
    """Heatmaps agree to 1e-5, and each gradient to a thousandth of its norm; the switch changes the program."""
    heatmaps, gradients, program = _compute([path])
    assert program != fastest[2]
    np.testing.assert_allclose(heatmaps, fastest[0], rtol=0, atol=1e-5)
    largest = max(float(jnp.linalg.norm(g)) for g in gradients.values())
    for name, gradient in gradients.items():
        error = float(jnp.linalg.norm(gradient - fastest[1][name]))
        assert error <= 1e-3 * float(jnp.linalg.norm(gradient)) + 1e-6 * largest, name


@pytest.mark.parametrize(
    ("value", "output"), [("patches,taps", "True False"), ("all", "False False"), ("", "True True")]
)
def test_the_environment_switches_paths_off(value, output):
    """It is read when the process starts."""
    program = "from fgnet_jax.models.ops.switches import is_on; print(is_on('mix'), is_on('patches'))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"FGNET_JAX_PLAIN": value, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == output, run.stderr


def test_a_path_is_on_for_its_platforms_only():
    """Products by taps are fast on CPUs alone, merged style blocks elsewhere; switched off, a path is on nowhere."""
    on = {}
    for platform in platforms.PLATFORMS:
        with platforms.tracing_for(platform):
            on[platform] = [path for path in ("taps", "styles") if switches.is_on(path)]
            with switches.without(["taps", "styles"]):
                assert not switches.is_on("taps") and not switches.is_on("styles")
    assert on == {"cpu": ["taps"], "gpu": ["styles"], "tpu": ["styles"]}


@pytest.mark.parametrize("name", ["patch", "sparse", "lean"])
def test_an_unknown_path_is_refused(name):
    """The message lists the known paths; names of former versions are unknown, too."""
    with pytest.raises(ValueError, match=f"'{name}': expected patches, mix"), switches.without([name]):
        pass

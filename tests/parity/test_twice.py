"""The published training's first step by gradients that are computed twice, at full size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.train import losses, optimizer as optim, state, two_pass as twice
from fgnet_jax.runtime import xla
from fgnet_jax.models import fgnet
from fgnet_jax.models.stages import run, stages
from tests.parity import reference
from tests.parity.test_training import OPTIM, RATE_ENDS, begin, network

pytestmark = pytest.mark.full_size


def _step(config, tx, current, images, targets):
    """One update on given targets: the state after it, loss and norm."""
    trained, frozen = optim.split(current.params, OPTIM)

    def link(stage, is_last):
        def call(own, x, batch_stats):
            variables = fgnet.Variables(current.params | own, batch_stats, current.buffers)
            x, batch_stats = run(config, stage, variables, x, None)
            return losses.heatmap_loss(x, targets, jnp.ones(targets.shape[::3], bool)) if is_last else x, batch_stats

        return twice.Link(tuple(path for path in trained if stage.owns(path)), call)

    parts = stages(config, OPTIM.trained)
    chain = [link(part, part is parts[-1]) for part in parts]
    moved = twice.update(chain, tx, trained, current.opt_state, images, current.batch_stats)
    following = state.TrainState(
        current.step + 1, moved.params | frozen, moved.carried, current.buffers, moved.opt_state
    )
    return following, {"loss": moved.loss, "grad_norm": moved.norm}


def test_the_first_step_gives_the_published_numbers():
    """Loss and norm, as near as float32 is; tests/test_twice.py has the tiny network in float64."""
    config = network("float32", "twice")
    current, images, targets = begin(config.dtype)
    update = functools.partial(_step, config, optim.optimizer(OPTIM, RATE_ENDS))
    options = xla.training("none")  # the usual step's: its own take long to compile
    step = jax.jit(update, donate_argnums=0, compiler_options=options)
    with jax.default_matmul_precision("highest"):
        _, figures = step(current, images, targets)
    golden = reference.golden("training")
    np.testing.assert_allclose(figures["loss"], golden["loss"][0], rtol=1e-5)
    np.testing.assert_allclose(figures["grad_norm"], golden["grad_norm"][0], rtol=5e-4)

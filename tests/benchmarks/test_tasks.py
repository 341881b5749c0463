"""The tasks that are measured do what the network does."""

from typing import cast

import jax
import numpy as np
import pytest

from benchmarks import tasks
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from fgnet_jax.models.ops import platforms


@pytest.mark.slow  # compiles the network and its stages
def test_the_whole_network_is_measured_as_it_predicts():
    """On GPUs from weights that are prepared before; the heatmaps are those of CPUs."""
    images = tasks._images(TINY, 2)
    expected = jax.jit(fgnet.apply, static_argnums=0)(TINY, fgnet.init(TINY), images)
    with platforms.tracing_for("gpu"):
        task = tasks.inference(TINY, 2)["whole"]
    actual = cast(jax.Array, task.run())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert task.cost.gflop is not None and task.cost.gflop > 0.05

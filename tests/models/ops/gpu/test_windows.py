"""Windows of a map, and the shrink that reads no more than it needs."""

import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import resize
from fgnet_jax.models.ops.gpu.windows import shrink, weighted, windows
from tests.models.ops.comparing import random, same_with_gradients


@pytest.mark.parametrize(("side", "size"), [(32, 16), (32, 8), (128, 16)])
def test_shrink(side, size):
    """Values and gradients are those of the sum over whole blocks."""
    same_with_gradients(lambda x: shrink(x, size), lambda x: resize.shrink(x, size), random(2, side, side, 3))


def test_a_map_of_that_size_is_left_alone():
    """As those of the lower resolutions are."""
    x = random(1, 8, 8, 2)
    assert shrink(x, 8) is x


def test_windows():
    """One for each block and axis, at the given starts."""
    taken = windows(jnp.arange(25.0).reshape(1, 5, 5, 1), np.array([0, 3]), 2)
    assert taken.shape == (1, 2, 2, 2, 2, 1)
    assert taken[0, 1, 0, :, :, 0].tolist() == [[15, 16], [20, 21]]


def test_a_weighted_sum_of_windows():
    """By the product of a row's and a column's weight."""
    taken = windows(jnp.arange(25.0).reshape(1, 5, 5, 1), np.array([0, 3]), 2)
    rows, columns = jnp.array([[1.0, 0.0], [0.5, 0.5]]), jnp.array([[0.0, 1.0], [1.0, 0.0]])
    assert weighted(taken, rows, columns)[0, ..., 0].tolist() == [[1, 3], [18.5, 20.5]]

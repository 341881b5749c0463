"""The upsampling convolution for GPUs: against that of `ops.filters`, which is tested against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops.filters import upsample_conv
from fgnet_jax.models.ops.gpu.upsampling import low_pass, low_pass_gradient, transposed_conv
from tests.models.ops.comparing import random, same_with_gradients


@pytest.mark.parametrize("side", [4, 7])
def test_transposed_convolution_and_low_pass(side):
    """Values and gradients are those of the four phases."""

    def in_two_kernels(x, kernel):
        return low_pass(transposed_conv(x, kernel))

    same_with_gradients(in_two_kernels, upsample_conv, random(2, side, side, 3), random(3, 3, 3, 5))


def test_the_low_pass_is_its_own_gradient():
    """Written by hand, it is what autodiff computes."""
    x = random(2, 9, 9, 3)
    result, transpose = jax.vjp(low_pass, x)
    gradient = random(*result.shape)
    np.testing.assert_allclose(low_pass_gradient(gradient), transpose(gradient)[0], rtol=0, atol=1e-6)


def test_the_low_pass_gives_what_the_next_operations_compute_in():
    """Of a map in bfloat16 it gives float32, which is rounded once, after them."""
    assert low_pass(jnp.zeros((1, 5, 5, 2), jnp.bfloat16)).dtype == jnp.float32

"""Convolution of NHWC maps: padding, and the choice of the method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import direct, platforms, switches
from fgnet_jax.models.ops.conv import _method, conv2d
from fgnet_jax.models.ops.cpu import taps


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1)])
def test_conv2d_pads_by_half_the_kernel(side, stride):
    """On every side, also with a stride."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 8, 6, 3)).astype(np.float32))
    kernel = jnp.asarray(rng.standard_normal((side, side, 3, 5)).astype(np.float32))
    half = side // 2
    with jax.default_matmul_precision("highest"):
        expected = direct.conv(x, kernel, ((half, half), (half, half)), stride)
        np.testing.assert_allclose(conv2d(x, kernel, stride), expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(platforms.current() != "cpu", reason="other devices have one method")
def test_the_method_suits_kernel_and_switch():
    """Tap by tap where XLA's gradient is slow, on even kernels and on many channels, unless it is switched off."""
    small, large, even = (jnp.zeros(shape) for shape in ((3, 3, 3, 8), (3, 3, 32, 8), (2, 1, 3, 8)))
    assert _method(small) is taps.direct_conv
    assert _method(large) is _method(even) is taps.conv_by_taps
    with switches.without(["taps"]):
        assert _method(large) is taps.direct_conv

"""Convolutions of enlarged maps, channels first, as GPUs compute them: against the convolution of the enlarged map."""

import pytest

from fgnet_jax.models.ops.conv import conv2d
from fgnet_jax.models.ops.gpu.mixing import upsample_conv2d
from fgnet_jax.models.ops.resize import upsample
from tests.models.ops.comparing import random, same_with_gradients


@pytest.mark.parametrize(("side", "taps"), [(4, 3), (8, 5), (2, 5), (8, 7)])
def test_it_is_the_convolution_of_the_enlarged_map(side, taps):
    """Values and gradients, borders included."""

    def enlarged(x, kernel):
        return conv2d(upsample(x, 2 * side), kernel)

    same_with_gradients(upsample_conv2d, enlarged, random(2, side, side, 6), 0.1 * random(taps, taps, 6, 4))

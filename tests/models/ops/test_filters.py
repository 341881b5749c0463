"""StyleGAN2's upsampling, against its definition in PyTorch: inserted zeros, padding, a 4x4 filter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops import switches
from fgnet_jax.models.ops.filters import upsample_conv, upsample_rgb

torch = pytest.importorskip("torch")

LOW_PASS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 16  # sum 4


def _filter(x, padding: tuple[int, int]):
    before, after = padding
    x = torch.nn.functional.pad(x, (before, after, before, after))
    n, c, h, w = x.shape
    return torch.nn.functional.conv2d(x.reshape(n * c, 1, h, w), torch.from_numpy(LOW_PASS)[None, None]).reshape(
        n, c, h - 3, w - 3
    )


def _nchw(x: np.ndarray):
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())


def _nhwc(x) -> np.ndarray:
    return x.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("plain", [[], ["phases"]])
@pytest.mark.parametrize("side", [4, 7])
def test_upsample_conv(side, plain):
    """A transposed convolution of stride 2 and the low-pass with padding (1, 1)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, side, side, 3)).astype(np.float32)
    kernel = rng.standard_normal((3, 3, 3, 5)).astype(np.float32)
    transposed = torch.nn.functional.conv_transpose2d(
        _nchw(x), torch.from_numpy(kernel.transpose(2, 3, 0, 1).copy()), stride=2
    )
    with jax.default_matmul_precision("highest"), switches.without(plain):
        actual = upsample_conv(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(actual, _nhwc(_filter(transposed, (1, 1))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [4, 7])
def test_upsample_rgb(side):
    """Zeros between pixels and the low-pass with padding (2, 1)."""
    x = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)
    with_zeros = np.zeros((2, 2 * side, 2 * side, 3), np.float32)
    with_zeros[:, ::2, ::2] = x
    np.testing.assert_allclose(
        upsample_rgb(jnp.asarray(x)), _nhwc(_filter(_nchw(with_zeros), (2, 1))), rtol=0, atol=1e-6
    )

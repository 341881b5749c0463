"""Bilinear resizing with aligned corners, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fgnet_jax.models.ops.resize import bilinear_matrix, shrink, upsample, upsample_conv2d

torch = pytest.importorskip("torch")


def _torch_resize(x: np.ndarray, size: int) -> np.ndarray:
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    resized = torch.nn.functional.interpolate(nchw, size=(size, size), mode="bilinear", align_corners=True)
    return resized.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("side", [4, 8, 64])
def test_upsample(side):
    """To twice the side."""
    x = np.random.default_rng(0).standard_normal((2, side, side, 3)).astype(np.float32)
    with jax.default_matmul_precision("highest"):
        np.testing.assert_allclose(upsample(jnp.asarray(x), 2 * side), _torch_resize(x, 2 * side), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "taps"), [(4, 3), (8, 5), (2, 5)])
def test_upsampled_convolution(side, taps):
    """It gives what enlarging and then convolving does, borders included."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, side, side, 6)).astype(np.float32)
    kernel = rng.uniform(-0.2, 0.2, (taps, taps, 6, 4)).astype(np.float32)
    enlarged = torch.from_numpy(_torch_resize(x, 2 * side).transpose(0, 3, 1, 2).copy())
    oihw = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
    expected = torch.nn.functional.conv2d(enlarged, oihw, padding=taps // 2).numpy().transpose(0, 2, 3, 1)
    with jax.default_matmul_precision("highest"):
        actual = upsample_conv2d(jnp.asarray(x), jnp.asarray(kernel), 2 * side)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("side", [128, 256, 512, 1024])
def test_shrink(side):
    """From every resolution of the generator to 128."""
    x = np.random.default_rng(0).standard_normal((1, side, side, 2)).astype(np.float32)
    np.testing.assert_allclose(shrink(jnp.asarray(x), 128), _torch_resize(x, 128), rtol=0, atol=1e-6)


def test_matrix_keeps_the_corners():
    """First sample on first, last on last, and every row sums to one."""
    matrix = bilinear_matrix(5, 9)
    assert matrix[0, 0] == 1 and matrix[-1, -1] == 1
    np.testing.assert_allclose(matrix.sum(1), 1)


def test_shrink_refuses_a_side_that_is_no_multiple():
    """The map would not split into blocks."""
    with pytest.raises(ValueError, match="side of 10 is not a multiple of 4"):
        shrink(jnp.zeros((1, 10, 10, 1)), 4)

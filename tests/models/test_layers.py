"""Each kind of layer alone, against the PyTorch operation that it stands for."""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fgnet_jax.models.config import TINY
from fgnet_jax.models.layers import BatchNorm, Conv, EqualLinear, Linear, PReLU
from fgnet_jax.models.ops import platforms
from fgnet_jax.models.ops.activations import scaled_leaky_relu
from fgnet_jax.models.psp import SqueezeExcite, StyleBlock, Unit
from fgnet_jax.models.stylegan2 import StyledConv, ToRGB

torch = pytest.importorskip("torch")

functional = torch.nn.functional
RNG = np.random.default_rng(0)
Module = TypeVar("Module", bound=nnx.Module)


@pytest.fixture(autouse=True, params=platforms.PLATFORMS)
def _platform(request):
    """Trace for each platform, whose paths differ."""
    with jax.default_matmul_precision("highest"), platforms.tracing_for(request.param):
        yield


def _normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _filled(module: Module) -> Module:
    """Fill the module with random values: variances are positive, convolutions keep the variance."""
    for path, variable in nnx.to_flat_state(nnx.state(module)):
        values = RNG.uniform(0.5, 1.5, variable.shape) if path[-1] in ("var", "scale") else _normal(*variable.shape)
        values = values / math.sqrt(math.prod(variable.shape[:3])) if len(variable.shape) == 4 else values
        variable.set_value(jnp.asarray(values, jnp.float32))
        nnx.update(module, nnx.from_flat_state([(path, variable)]))
    return module


def _nchw(x):
    return torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())


def _weight(conv):
    return torch.from_numpy(np.asarray(conv.kernel[...]).transpose(3, 2, 0, 1).copy())


def _tensor(variable):
    return torch.from_numpy(np.array(variable[...]))


def _equal(actual, expected, atol=2e-5):
    np.testing.assert_allclose(np.asarray(actual).transpose(0, 3, 1, 2), expected.detach().numpy(), rtol=0, atol=atol)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1)])
def test_conv(kernel, stride):
    """Padding is k // 2 on every side, also with a stride."""
    conv, x = _filled(Conv(TINY, 4, 6, kernel, stride=stride)), _normal(2, 8, 8, 4)
    expected = functional.conv2d(_nchw(x), _weight(conv), _tensor(conv.bias), stride, kernel // 2)
    _equal(conv(jnp.asarray(x)), expected)


def test_linear():
    """Its kernel is (in, out), PyTorch's is (out, in)."""
    linear, x = _filled(Linear(TINY, 4, 6)), _normal(3, 4)
    expected = functional.linear(torch.from_numpy(x), _tensor(linear.kernel).T)
    np.testing.assert_allclose(linear(jnp.asarray(x)), expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("lr_mul", [1.0, 0.01])
def test_equal_linear(lr_mul):
    """Weight times lr_mul / sqrt(in), bias times lr_mul."""
    linear, x = _filled(EqualLinear(TINY, 16, 6, lr_mul)), _normal(3, 16)
    weight = _tensor(linear.kernel).T * (lr_mul / math.sqrt(16))
    expected = functional.linear(torch.from_numpy(x), weight, _tensor(linear.bias) * lr_mul)
    np.testing.assert_allclose(linear(jnp.asarray(x)), expected.numpy(), rtol=0, atol=1e-5)


def test_prelu():
    """One slope per channel."""
    prelu, x = _filled(PReLU(5)), _normal(2, 3, 3, 5)
    _equal(prelu(jnp.asarray(x)), functional.prelu(_nchw(x), _tensor(prelu.slope)))


def test_scaled_leaky_relu():
    """Slope 0.2, times sqrt(2)."""
    x = _normal(7)
    expected = functional.leaky_relu(torch.from_numpy(x), 0.2) * math.sqrt(2)
    np.testing.assert_allclose(scaled_leaky_relu(jnp.asarray(x)), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("train", [True, False])
def test_batch_norm(train):
    """Output, and running statistics fed by the unbiased variance: of 8 samples, where it matters."""
    norm, x = _filled(BatchNorm(3)), _normal(2, 2, 2, 3) * 3 + 5
    mean, var = _tensor(norm.mean), _tensor(norm.var)
    expected = functional.batch_norm(_nchw(x), mean, var, _tensor(norm.scale), _tensor(norm.bias), train)
    _equal(norm(jnp.asarray(x), train), expected)
    np.testing.assert_allclose(norm.mean[...], mean.numpy(), rtol=1e-6)  # PyTorch updated them in place
    np.testing.assert_allclose(norm.var[...], var.numpy(), rtol=1e-6)


def test_batch_norm_keeps_the_digits_of_a_large_mean():
    """Of values near 1,000, whose squares' mean has none left of the variance."""
    norm, x = _filled(BatchNorm(3)), _normal(2, 8, 8, 3) + 1000
    expected = functional.batch_norm(
        _nchw(x).double(), None, None, _tensor(norm.scale).double(), _tensor(norm.bias).double(), training=True
    )
    _equal(norm(jnp.asarray(x), True), expected, atol=2e-4)


def test_squeeze_excite():
    """Mean, two 1x1 convolutions, sigmoid."""
    se, x = _filled(SqueezeExcite(TINY, 32)), _normal(2, 4, 4, 32)
    hidden = functional.relu(_nchw(x).mean((2, 3)) @ _tensor(se.reduce.kernel))
    gate = torch.sigmoid(hidden @ _tensor(se.expand.kernel))
    _equal(se(jnp.asarray(x)), _nchw(x) * gate[:, :, None, None])


@pytest.mark.parametrize(("features_in", "stride"), [(16, 1), (16, 2), (32, 2)])
@pytest.mark.parametrize("train", [False, True])
def test_residual_unit(features_in, stride, train):
    """Both shortcuts: every stride-th pixel, and a convolution where the width changes."""
    unit, x = (
        _filled(Unit(TINY, features_in, 32 if features_in == 32 else 16 * stride, stride)),
        _normal(2, 8, 8, features_in),
    )
    norm = lambda n, y: functional.batch_norm(y, *(_tensor(v) for v in (n.mean, n.var, n.scale, n.bias)), train)  # noqa: E731
    y = functional.conv2d(norm(unit.norm1, _nchw(x)), _weight(unit.conv1), padding=1)
    y = functional.conv2d(functional.prelu(y, _tensor(unit.prelu.slope)), _weight(unit.conv2), stride=stride, padding=1)
    y = norm(unit.norm2, y)
    gate = functional.relu(y.mean((2, 3)) @ _tensor(unit.se.reduce.kernel)) @ _tensor(unit.se.expand.kernel)
    y = y * torch.sigmoid(gate)[:, :, None, None]
    if unit.widens:
        shortcut = norm(unit.shortcut_norm, functional.conv2d(_nchw(x), _weight(unit.shortcut_conv), stride=stride))
    else:
        shortcut = functional.max_pool2d(_nchw(x), 1, stride)
    _equal(unit(jnp.asarray(x), train), y + shortcut)


def test_style_block():
    """Strided convolutions down to a pixel."""
    block, x = _filled(StyleBlock(TINY, 8)), _normal(2, 8, 8, 32)
    y = _nchw(x)
    for conv in block.convs:
        y = functional.leaky_relu(functional.conv2d(y, _weight(conv), _tensor(conv.bias), 2, 1), 0.01)
    assert y.shape[2:] == (1, 1)
    expected = y[:, :, 0, 0] @ (_tensor(block.linear.kernel) / math.sqrt(32)) + _tensor(block.linear.bias)
    np.testing.assert_allclose(block(jnp.asarray(x)), expected.numpy(), rtol=0, atol=2e-5)


def _modulated_weight(layer, w, demodulate: bool):
    """Compute one weight per image, (N, O, I, k, k), as the published code does."""
    style = torch.from_numpy(np.array(layer.modulation(jnp.asarray(w))))
    kernel = _tensor(layer.kernel)
    weight = kernel.permute(3, 2, 0, 1) if demodulate else kernel.T[:, :, None, None]
    weight = weight[None] / math.sqrt(weight[0].numel()) * style[:, None, :, None, None]
    if demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    return weight


@pytest.mark.parametrize("upsample", [False, True])
def test_styled_conv(upsample):
    """Modulated activations and modulated weights are the same mathematics."""
    conv = _filled(StyledConv(TINY, 6, 5, 8, upsample))
    x, w = _normal(2, 4 if upsample else 8, 4 if upsample else 8, 6), _normal(2, 32)
    maps = []
    for image, weight in zip(_nchw(x), _modulated_weight(conv, w, True), strict=True):
        if upsample:
            y = functional.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
            low_pass = (torch.outer(taps, taps) / 16).expand(5, 1, 4, 4)
            maps.append(functional.conv2d(functional.pad(y, (1, 1, 1, 1)), low_pass, groups=5))
        else:
            maps.append(functional.conv2d(image[None], weight, padding=1))
    y = torch.cat(maps) + _tensor(conv.noise_strength) * _tensor(conv.noise) + _tensor(conv.bias)[:, None, None]
    _equal(conv(jnp.asarray(x), jnp.asarray(w)), functional.leaky_relu(y, 0.2) * math.sqrt(2))


def test_to_rgb():
    """Modulated, not demodulated."""
    layer, x, w = _filled(ToRGB(TINY, 6)), _normal(2, 4, 4, 6), _normal(2, 32)
    weights = _modulated_weight(layer, w, False)
    maps = [functional.conv2d(image[None], weight) for image, weight in zip(_nchw(x), weights, strict=True)]
    _equal(layer(jnp.asarray(x), jnp.asarray(w)), torch.cat(maps) + _tensor(layer.bias)[:, None, None])

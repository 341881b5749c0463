"""NVIDIA's conventions: their formulas on their tensors give the same as our network on the converted ones.

The formulas are written out here as the papers have them, naively: every weight modulated per image, and an
upsampling convolution as zeros between the pixels, then the low-pass, then an ordinary convolution. The two code bases
differ in the order of that convolution's taps and in where the style's 1 is added.
"""

import math

import jax
import numpy as np
import pytest

from convert_weights import engine, nvidia_rules
from convert_weights.engine import Group
from convert_weights.tensors import from_array
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import TINY
from tests.convert_weights import writers

torch = pytest.importorskip("torch")
F = torch.nn.functional

SHAPES = writers.shapes_of(TINY)
GENERATOR = {path: shape for path, shape in SHAPES.items() if path.startswith("generator/")}
SIDES = [4 << r for r in range(len(TINY.generator_channels))]
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def resample(x, before: int, after: int):
    """Insert zeros after every pixel and around, then apply the low-pass with a gain of 4."""
    n, c, h, w = x.shape
    zeros = x.new_zeros(n, c, 2 * h, 2 * w)
    zeros[:, :, ::2, ::2] = x
    padded = F.pad(zeros, (before, after, before, after))
    return F.conv2d(padded, 4 * FILTER.expand(c, 1, 4, 4), groups=c)


def upsampling_conv(x, weight):
    """Convolve (correlate with `weight`) the upsampled image: (N, C, H, W) to twice that size."""
    # Upsampling alone pads (2, 1); the 3x3 convolution's own padding of 1 goes before the filter, as NVIDIA has it.
    return F.conv2d(resample(x, 3, 2), weight)


def published_upsampling_conv(x, weight):
    """Convolve as the published PyTorch code: a transposed convolution of stride 2, the low-pass padded (1, 1)."""
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return F.conv2d(F.pad(x, (1, 1, 1, 1)), 4 * FILTER.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


def test_taps_of_the_upsampling_convolution():
    """A transposed convolution has its taps flipped against the convolution of the upsampled image, and only so."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 6), torch.randn(4, 3, 3, 3)
    published = published_upsampling_conv(x, weight)
    assert torch.allclose(upsampling_conv(x, weight.flip(2, 3)), published, atol=1e-4)
    assert not torch.allclose(upsampling_conv(x, weight), published, atol=0.1)


def tf_weights(arrays: dict) -> tuple[list, list, list]:
    """Return mapping layers, convolutions and ToRGBs of the TensorFlow-era code, in one form for both code bases."""

    def styled(name: str, **more):
        # HWIO in that code; `1 +` is where it adds the style's 1.
        weight = arrays[f"{name}/weight"].permute(3, 2, 0, 1)
        style = arrays[f"{name}/mod_weight"].T, 1 + arrays[f"{name}/mod_bias"]
        return {"weight": weight, "style": style, "bias": arrays[f"{name}/bias"]} | more

    def conv(k: int, side: int):
        name = f"G_synthesis/{side}x{side}/{'Conv0_up' if k % 2 else 'Conv1' if k else 'Conv'}"
        noise = arrays[f"G_synthesis/noise{k}"][0, 0] * arrays[f"{name}/noise_strength"]
        return styled(name, noise=noise, up=k % 2 == 1)

    dense = [f"G_mapping/Dense{i}" for i in range(TINY.mapping_layers)]
    mapping = [(arrays[f"{name}/weight"].T, arrays[f"{name}/bias"]) for name in dense]
    convs = [conv(k, 4 << (k + 1) // 2) for k in range(TINY.num_layers)]
    return mapping, convs, [styled(f"G_synthesis/{side}x{side}/ToRGB") for side in SIDES]


def ada_weights(arrays: dict) -> tuple[list, list, list]:
    """Return the same of the PyTorch code, whose upsampling convolution is a true one: its `flip_weight` is false."""

    def styled(name: str, up: bool = False, **more):
        weight = arrays[f"{name}.weight"].flip(2, 3) if up else arrays[f"{name}.weight"]
        style = arrays[f"{name}.affine.weight"], arrays[f"{name}.affine.bias"]
        return {"weight": weight, "style": style, "bias": arrays[f"{name}.bias"], "up": up} | more

    def conv(k: int, side: int):
        name = f"synthesis.b{side}.conv{0 if k % 2 else 1}"
        noise = arrays[f"{name}.noise_const"] * arrays[f"{name}.noise_strength"]
        return styled(name, up=k % 2 == 1, noise=noise)

    fc = [f"mapping.fc{i}" for i in range(TINY.mapping_layers)]
    mapping = [(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in fc]
    convs = [conv(k, 4 << (k + 1) // 2) for k in range(TINY.num_layers)]
    return mapping, convs, [styled(f"synthesis.b{side}.torgb") for side in SIDES]


def activate(x):
    """Apply LeakyReLU of slope 0.2 with gain sqrt(2)."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def linear(x, layer, multiplier: float = 1.0):
    """Apply an equalised linear layer."""
    weight, bias = layer
    return x @ weight.T * (multiplier / math.sqrt(weight.shape[1])) + bias * multiplier


def modulated(x, w, layer: dict, demodulate: bool):
    """Apply the modulated convolution to one image (1, C, H, W)."""
    weight = layer["weight"] / math.sqrt(layer["weight"][0].numel()) * linear(w, layer["style"])[:, :, None, None]
    if demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
    return upsampling_conv(x, weight) if layer.get("up") else F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def image(z, constant, mapping: list, convs: list, to_rgbs: list):
    """Compute the generator's image of one latent (1, style_dim), with the fixed noise."""
    w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
    for layer in mapping:
        w = activate(linear(w, layer, 0.01))
    x, rgb = constant, torch.zeros(())
    for k, layer in enumerate(convs):
        x = activate(modulated(x, w, layer, True) + layer["noise"] + layer["bias"][:, None, None])
        if k % 2 == 0:
            to_rgb = to_rgbs[k // 2]
            added = modulated(x, w, to_rgb, False) + to_rgb["bias"][:, None, None]
            rgb = added + resample(rgb, 2, 1) if k else added
    return rgb


@pytest.mark.parametrize(
    "table, weights, constant",
    [
        (nvidia_rules.tf_generator, tf_weights, "G_synthesis/4x4/Const/const"),
        (nvidia_rules.torch_generator, ada_weights, "synthesis.b4.const"),
    ],
    ids=["tensorflow", "pytorch"],
)
def test_images_are_equal(table, weights, constant):
    """NVIDIA's formula on NVIDIA's tensors, and our generator on the converted ones, give one image."""
    arrays = writers.arrays_for(table(TINY), GENERATOR)
    for name in arrays:
        if name.split("/")[0] == "G_mapping" or name.startswith("mapping."):
            arrays[name] *= 100  # stored divided by the multiplier of 0.01
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    z = np.random.default_rng(5).standard_normal((1, TINY.style_dim)).astype(np.float32)
    expected = image(torch.from_numpy(z), tensors[constant].reshape(1, -1, 4, 4), *weights(tensors))
    actual = our_image(table, arrays, z)
    scale = float(expected.abs().max())
    np.testing.assert_allclose(actual, expected.permute(0, 2, 3, 1).numpy(), atol=1e-5 * scale)


def our_image(table, arrays: dict, z: np.ndarray) -> np.ndarray:
    """Compute our generator's image with converted tensors."""
    group = Group("net", {name: from_array(array) for name, array in arrays.items()}, table(TINY))
    converted = engine.convert([group], GENERATOR)
    variables = fgnet.init(TINY, 0)
    for values in (variables.params, variables.buffers):
        values.update({path: converted[path] for path in values if path in converted})

    @jax.jit
    def run(variables, z):
        generator = fgnet.merge(TINY, variables).generator
        return generator.image(jax.numpy.repeat(generator.map(z)[:, None], TINY.num_styles, 1))

    return np.asarray(run(variables, z))

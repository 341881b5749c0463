"""Tables of rules: StyleGAN2's generator in NVIDIA's own pickles.

Facts about the two code bases that the layouts rest on, each with a separate test:

- `Conv0_up` (TensorFlow) convolves the upsampled image, so its taps are flipped against a transposed convolution;
  `conv0` (PyTorch) is stored flipped already, in the order of our network.
- `mod_bias` (TensorFlow) is stored without the 1 that is added when it is used; `affine.bias` (PyTorch) with it.
- Weights of the mapping network are stored divided by its learning rate multiplier of 0.01, as the published ones are.
"""

import itertools
from collections.abc import Iterator

from convert_weights.layouts import (
    ADA_CONSTANT,
    CONSTANT,
    CONV,
    LINEAR,
    NOISE,
    POINTWISE,
    SAME,
    TF_FLIPPED,
    TF_POINTWISE,
    TF_STYLE_BIAS,
    FileLayout,
)
from convert_weights.rules import LOW_PASS, Extra, Rule
from fgnet_jax.models.config import ModelConfig

TF_EXTRAS: tuple[Extra, ...] = (
    Extra("dlatent_avg", "the average w, for truncation"),
    Extra("lod", "progressive growing's level of detail"),
)
"""Extras of the TensorFlow-era generator."""

TORCH_EXTRAS: tuple[Extra, ...] = (
    Extra(r"mapping\.w_avg", "the average w, for truncation"),
    Extra(r"(.*\.)?resample_filter", "the fixed low-pass filters, checked to be [1, 3, 3, 1]", LOW_PASS),
)
"""Extras of the PyTorch generator."""


def tf_generator(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of the TensorFlow-era `Gs`."""
    return tuple(itertools.chain(_tf_mapping(config), _tf_synthesis(config), _tf_to_rgbs(config)))


def torch_generator(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of `G_ema` in stylegan2-ada-pytorch, and in stylegan3's StyleGAN2 configuration."""
    return tuple(itertools.chain(_torch_mapping(config), _torch_synthesis(config), _torch_to_rgbs(config)))


def _convolutions(config: ModelConfig) -> Iterator[tuple[int, int, bool]]:
    """List index, resolution, and whether it upsamples, of every convolution of synthesis."""
    return ((k, 4 << (k + 1) // 2, k % 2 == 1) for k in range(config.num_layers))


def _tf_mapping(config: ModelConfig) -> Iterator[Rule]:
    for i in range(config.mapping_layers):
        yield Rule(f"G_mapping/Dense{i}/weight", f"generator/mapping/{i}/kernel", SAME)
        yield Rule(f"G_mapping/Dense{i}/bias", f"generator/mapping/{i}/bias", SAME)


def _tf_synthesis(config: ModelConfig) -> Iterator[Rule]:
    yield Rule("G_synthesis/4x4/Const/const", "generator/constant", CONSTANT)
    for k, side, is_up in _convolutions(config):
        name = "Conv0_up" if is_up else "Conv1" if k else "Conv"
        source, path = f"G_synthesis/{side}x{side}/{name}", f"generator/convs/{k}"
        yield from _tf_styled(source, path, TF_FLIPPED if is_up else SAME)
        yield Rule(f"{source}/noise_strength", f"{path}/noise_strength", SAME)
        yield Rule(f"G_synthesis/noise{k}", f"{path}/noise", NOISE)


def _tf_to_rgbs(config: ModelConfig) -> Iterator[Rule]:
    for r in range(len(config.generator_channels)):
        yield from _tf_styled(f"G_synthesis/{4 << r}x{4 << r}/ToRGB", f"generator/to_rgbs/{r}", TF_POINTWISE)


def _tf_styled(source: str, path: str, layout: FileLayout) -> Iterator[Rule]:
    yield Rule(f"{source}/weight", f"{path}/kernel", layout)
    yield Rule(f"{source}/bias", f"{path}/bias", SAME)
    yield Rule(f"{source}/mod_weight", f"{path}/modulation/kernel", SAME)
    yield Rule(f"{source}/mod_bias", f"{path}/modulation/bias", TF_STYLE_BIAS)


def _torch_mapping(config: ModelConfig) -> Iterator[Rule]:
    for i in range(config.mapping_layers):
        yield Rule(f"mapping.fc{i}.weight", f"generator/mapping/{i}/kernel", LINEAR)
        yield Rule(f"mapping.fc{i}.bias", f"generator/mapping/{i}/bias", SAME)


def _torch_synthesis(config: ModelConfig) -> Iterator[Rule]:
    yield Rule("synthesis.b4.const", "generator/constant", ADA_CONSTANT)
    for k, side, is_up in _convolutions(config):
        source, path = f"synthesis.b{side}.conv{0 if is_up else 1}", f"generator/convs/{k}"
        yield from _torch_styled(source, path, CONV)
        yield Rule(f"{source}.noise_strength", f"{path}/noise_strength", SAME)
        yield Rule(f"{source}.noise_const", f"{path}/noise", SAME)


def _torch_to_rgbs(config: ModelConfig) -> Iterator[Rule]:
    for r in range(len(config.generator_channels)):
        yield from _torch_styled(f"synthesis.b{4 << r}.torgb", f"generator/to_rgbs/{r}", POINTWISE)


def _torch_styled(source: str, path: str, layout: FileLayout) -> Iterator[Rule]:
    yield Rule(f"{source}.weight", f"{path}/kernel", layout)
    yield Rule(f"{source}.bias", f"{path}/bias", SAME)
    yield Rule(f"{source}.affine.weight", f"{path}/modulation/kernel", LINEAR)
    yield Rule(f"{source}.affine.bias", f"{path}/modulation/bias", SAME)

"""Tables of rules: every name in the published PyTorch files, and the variable that its tensor becomes."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator

import numpy as np

from convert_weights.layouts import (
    CONSTANT,
    CONV,
    LINEAR,
    MODULATED,
    MODULATED_POINTWISE,
    NOISE,
    ONE_NUMBER,
    POINTWISE,
    RGB_BIAS,
    SAME,
    FileLayout,
)
from fgnet_jax.models.config import ModelConfig

LOW_PASS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
"""The low-pass filter of StyleGAN2's up- and downsampling, normalised to sum 1."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """Assigns one tensor of a file to one variable of our network.

    Attributes:
      source: Its name in the file.
      path: Its path in our network.
      layout: Its layout in the file.
    """

    source: str
    path: str
    layout: FileLayout


@dataclasses.dataclass(frozen=True)
class Extra:
    """Tensors that a file may have besides those that are converted.

    Attributes:
      pattern: Regular expression that matches their full names.
      meaning: Description for the report.
      value: The value that they must have, where it is built into our code and another one would be another network.
    """

    pattern: str
    meaning: str
    value: np.ndarray | None = None

    def matches(self, name: str) -> bool:
        """Return whether a tensor of this name is one of these."""
        return re.fullmatch(self.pattern, name) is not None


COUNTERS = Extra(r"(.*\.)?num_batches_tracked", "BatchNorm's batch counters, which are not used")
BLUR = Extra(r"(.*\.)?(blur|upsample)\.kernel", "the fixed low-pass filters, checked to be [1, 3, 3, 1]", 4 * LOW_PASS)

EXTRAS: tuple[Extra, ...] = (COUNTERS, BLUR)
"""Extras of the published state dicts."""

FixedTensor = tuple[str, Callable[[], np.ndarray]]
"""Name of a tensor that only the published files have, and a function that returns its value."""


def generator(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of StyleGAN2's generator under rosinality's names: `g_ema`, and FG-Net's `g_all`."""
    return tuple(itertools.chain(_mapping(config), _synthesis(config), _to_rgbs(config)))


def encoder(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of pSp's encoder: FG-Net's `pspencoder`, and pSp's `state_dict` after `encoder.`."""
    return tuple(itertools.chain(_encoder_input(), _body(config), _laterals(), _styles(config)))


def interpreter(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of FG-Net's interpreter."""
    return tuple(_interpreter(config))


def generator_fixed(config: ModelConfig) -> tuple[FixedTensor, ...]:
    """Return the tensors that the published generator has and ours does not."""
    kernels = [f"convs.{k}.conv.blur.kernel" for k in range(0, config.num_layers - 1, 2)]
    kernels += [f"to_rgbs.{r}.upsample.kernel" for r in range(len(config.generator_channels) - 1)]
    return tuple((name, lambda: 4 * LOW_PASS) for name in kernels)


def counters(table: tuple[Rule, ...]) -> tuple[FixedTensor, ...]:
    """Return the batch counters, all zero, of a published table's BatchNorms."""
    names = [rule.source.removesuffix("running_var") for rule in table if rule.source.endswith("running_var")]
    return tuple((f"{name}num_batches_tracked", lambda: np.zeros((), np.int64)) for name in names)


def _layer(source: str, path: str, layout: FileLayout) -> Iterator[Rule]:
    yield Rule(f"{source}.weight", f"{path}/kernel", layout)
    yield Rule(f"{source}.bias", f"{path}/bias", SAME)


def _norm(source: str, path: str) -> Iterator[Rule]:
    names = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    return (Rule(f"{source}.{name}", f"{path}/{variable}", SAME) for name, variable in names.items())


def _mapping(config: ModelConfig) -> Iterator[Rule]:
    for i in range(config.mapping_layers):
        yield from _layer(f"style.{i + 1}", f"generator/mapping/{i}", LINEAR)


def _synthesis(config: ModelConfig) -> Iterator[Rule]:
    yield Rule("input.input", "generator/constant", CONSTANT)
    for k in range(config.num_layers):
        source, path = f"convs.{k - 1}" if k else "conv1", f"generator/convs/{k}"
        yield Rule(f"{source}.conv.weight", f"{path}/kernel", MODULATED)
        yield from _layer(f"{source}.conv.modulation", f"{path}/modulation", LINEAR)
        yield Rule(f"{source}.noise.weight", f"{path}/noise_strength", ONE_NUMBER)
        yield Rule(f"{source}.activate.bias", f"{path}/bias", SAME)
        yield Rule(f"noises.noise_{k}", f"{path}/noise", NOISE)


def _to_rgbs(config: ModelConfig) -> Iterator[Rule]:
    for r in range(len(config.generator_channels)):
        source, path = f"to_rgbs.{r - 1}" if r else "to_rgb1", f"generator/to_rgbs/{r}"
        yield Rule(f"{source}.conv.weight", f"{path}/kernel", MODULATED_POINTWISE)
        yield from _layer(f"{source}.conv.modulation", f"{path}/modulation", LINEAR)
        yield Rule(f"{source}.bias", f"{path}/bias", RGB_BIAS)


def _encoder_input() -> Iterator[Rule]:
    yield Rule("input_layer.0.weight", "encoder/input_conv/kernel", CONV)
    yield from _norm("input_layer.1", "encoder/input_norm")
    yield Rule("input_layer.2.weight", "encoder/input_prelu/slope", SAME)


def _body(config: ModelConfig) -> Iterator[Rule]:
    widths = [width for width, n in zip(config.encoder_channels, config.encoder_units, strict=True) for _ in range(n)]
    for i, (before, width) in enumerate(itertools.pairwise([config.encoder_channels[0], *widths])):
        source, path = f"body.{i}.res_layer", f"encoder/body/{i}"
        yield from _norm(f"{source}.0", f"{path}/norm1")
        yield Rule(f"{source}.1.weight", f"{path}/conv1/kernel", CONV)
        yield Rule(f"{source}.2.weight", f"{path}/prelu/slope", SAME)
        yield Rule(f"{source}.3.weight", f"{path}/conv2/kernel", CONV)
        yield from _norm(f"{source}.4", f"{path}/norm2")
        yield Rule(f"{source}.5.fc1.weight", f"{path}/se/reduce/kernel", POINTWISE)
        yield Rule(f"{source}.5.fc2.weight", f"{path}/se/expand/kernel", POINTWISE)
        if before != width:
            yield Rule(f"body.{i}.shortcut_layer.0.weight", f"{path}/shortcut_conv/kernel", CONV)
            yield from _norm(f"body.{i}.shortcut_layer.1", f"{path}/shortcut_norm")


def _laterals() -> Iterator[Rule]:
    for i in (1, 2):
        yield from _layer(f"latlayer{i}", f"encoder/lateral{i}", CONV)


def _styles(config: ModelConfig) -> Iterator[Rule]:
    for i in range(config.num_styles):
        for j in range(config.style_side(i).bit_length() - 1):  # every second layer in the file is an activation
            yield from _layer(f"styles.{i}.convs.{2 * j}", f"encoder/styles/{i}/convs/{j}", CONV)
        yield from _layer(f"styles.{i}.linear", f"encoder/styles/{i}/linear", LINEAR)


def _interpreter(config: ModelConfig) -> Iterator[Rule]:
    last = len(config.generator_channels) - 1
    for i in range(last + 1):
        shift = int(i < last and 8 << i <= config.heatmap_size)  # index 0 is the upsampling where the stage has one
        yield from _layer(f"layer{i}.{shift}", f"interpreter/stages/{i}/conv", CONV)
        yield from _norm(f"layer{i}.{shift + 3}", f"interpreter/stages/{i}/norm")
    yield from _layer(f"layer{last}.4", "interpreter/output", CONV)

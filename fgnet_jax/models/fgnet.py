"""FG-Net: encoder, generator and interpreter joined; and pure functions of any network's variables.

Inside, the networks are flax.nnx modules. Outside, a model is a `NetworkConfig` and `Variables`, flat dictionaries
("encoder/body/0/conv1/kernel": array) that `jax.jit`, optax and Orbax accept as they are.
"""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fgnet_jax.models.config import ModelConfig, NetworkConfig, StudentConfig
from fgnet_jax.models.initializers import initial
from fgnet_jax.models.interpreter import Interpreter, PixelInterpreter
from fgnet_jax.models.layers import Buffer
from fgnet_jax.models.psp import Encoder
from fgnet_jax.models.student import Student
from fgnet_jax.models.stylegan2 import Generator

Arrays = dict[str, Any]
"""Arrays (NumPy, JAX or `jax.ShapeDtypeStruct`) by their path in the network."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variables:
    """All arrays of a network, which its configuration goes with.

    Attributes:
      params: Arrays that training may change.
      batch_stats: Running means and variances of BatchNorm.
      buffers: Arrays that never change: the generator's noise maps and the encoder's average latent.
    """

    params: Arrays
    batch_stats: Arrays
    buffers: Arrays


_KINDS = (nnx.Param, nnx.BatchStat, Buffer)  # in the order of Variables' fields


class FGNet(nnx.Module):
    """The whole network: aligned faces to AU heatmaps (paper, figure 2). `merge` gives it its values."""

    def __init__(self, config: ModelConfig):
        self.encoder = Encoder(config)
        self.generator = Generator(config)
        self.interpreter = Interpreter(config) if config.interpreter == "pyramid" else PixelInterpreter(config)
        self.map_codes = config.map_codes
        self.heatmap_size = config.heatmap_size

    def __call__(
        self, images: jax.Array | np.ndarray, train: Collection[str] = (), dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Predict heatmaps (N, heatmap_size, heatmap_size, num_heatmaps), not clipped, of images (N, S, S, 3).

        Args:
          images: Aligned faces in [-1, 1].
          train: Parts ("encoder", "interpreter") whose BatchNorm uses the batch's statistics, and updates the running
            ones.
          dropout_key: A key for the interpreter's dropout, or None for none.
        """
        # Only the last ToRGB reads the last style, so its style block and its mapping are not computed.
        w = self.latents(images, "encoder" in train, len(self.generator.convs))
        features = self.generator.features(w, self.heatmap_size)
        return self.interpreter(features, "interpreter" in train, dropout_key)

    def latents(self, images: jax.Array | np.ndarray, train: bool = False, count: int | None = None) -> jax.Array:
        """Compute w (N, count, style_dim) of images (N, S, S, 3) in [-1, 1]: the first `count`, or all num_styles.

        FG-Net's quirk: it sends pSp's codes, which already are w, through the mapping network (`map_codes`).
        """
        codes = self.encoder(images, train, count)
        return self.generator.map(codes) if self.map_codes else codes


def init(config: NetworkConfig, seed: int = 0) -> Variables:
    """Initialise a network of NumPy arrays; the same seed gives the same bytes on every machine."""
    shapes = abstract(config)
    groups = (shapes.params, shapes.batch_stats, shapes.buffers)
    return Variables(*({path: initial(path, s.shape, s.dtype, seed) for path, s in group.items()} for group in groups))


def abstract(config: NetworkConfig) -> Variables:
    """Return shapes and dtypes of a network's variables, without allocating them."""
    _, states = _abstract_model(config)
    return Variables(*({_name(path): _struct(variable) for path, variable in state} for state in states))


@overload
def merge(config: ModelConfig, variables: Variables) -> FGNet: ...
@overload
def merge(config: StudentConfig, variables: Variables) -> Student: ...
@overload
def merge(config: NetworkConfig, variables: Variables) -> FGNet | Student: ...
def merge(config: NetworkConfig, variables: Variables) -> FGNet | Student:
    """Build the module from these variables: call it, or one of its parts, inside `jax.jit`.

    Raises:
      KeyError: if a variable of the configured network is missing.
    """
    graph, abstract_states = _abstract_model(config)
    states = []
    for group, state in zip((variables.params, variables.batch_stats, variables.buffers), abstract_states, strict=True):
        states.append(nnx.from_flat_state([(path, v.replace(group[_name(path)])) for path, v in state]))
    return nnx.merge(graph, *states)


def apply(config: NetworkConfig, variables: Variables, images: jax.Array | np.ndarray) -> jax.Array:
    """Predict heatmaps (N, heatmap_size, heatmap_size, num_heatmaps) float32, not clipped, of images in [-1, 1].

    It computes in the precision of `config`.
    """
    # By default GPUs and TPUs compute float32 convolutions in fewer bits: borderline labels would differ by machine.
    with jax.default_matmul_precision(config.matmul_precision):
        return merge(config, variables)(images)


def au_heatmaps(config: NetworkConfig, variables: Variables, images: jax.Array | np.ndarray, count: int) -> jax.Array:
    """Predict heatmaps (N, heatmap_size, heatmap_size, count) float32, not clipped: the first `count` channels.

    Args:
      config: The network's sizes.
      variables: Its weights.
      images: Aligned faces (N, S, S, 3), 0 to 255.
      count: Channels that belong to AUs; `scores` reduces each to one number.
    """
    return apply(config, variables, normalise(images))[..., :count]


def apply_train(
    config: NetworkConfig,
    variables: Variables,
    images: jax.Array | np.ndarray,
    dropout_key: jax.Array | None,
    train: Collection[str] = ("encoder", "generator", "interpreter"),
) -> tuple[jax.Array, Arrays]:
    """Predict heatmaps in training mode, and return them with the updated `batch_stats`.

    As `apply`, but with dropout, and BatchNorm uses the batch's statistics in the parts named in `train`.
    """
    model = merge(config, variables)
    heatmaps = model(images, train, dropout_key)
    return heatmaps, split(model).batch_stats


def normalise(images: jax.Array | np.ndarray) -> jax.Array:
    """Scale pixels in 0..255, of any shape, to float32 in [-1, 1]."""
    return jnp.asarray(images).astype(jnp.float32) / 127.5 - 1


def scores(heatmaps: jax.Array | np.ndarray) -> jax.Array:
    """Average heatmaps (N, H, W, C) to a score per channel, (N, C) in [-1, 1]; an AU is present where it is above 0."""
    return jnp.clip(heatmaps, -1, 1).mean((1, 2))


@functools.cache
def _abstract_model(
    config: NetworkConfig,
) -> tuple[nnx.GraphDef, tuple[tuple[tuple[tuple, nnx.Variable], ...], ...]]:
    """Return the module's structure, and paths with variables of each kind."""
    model = nnx.eval_shape(lambda: Student(config) if isinstance(config, StudentConfig) else FGNet(config))
    graph, *states = nnx.split(model, *_KINDS)
    return graph, tuple(tuple(nnx.to_flat_state(state)) for state in states)


def split(model: FGNet | Student) -> Variables:
    """Return the variables of a module: the inverse of `merge`."""
    states = nnx.split(model, *_KINDS)[1:]
    return Variables(*({_name(path): variable[...] for path, variable in nnx.to_flat_state(state)} for state in states))


def _name(path: tuple) -> str:
    return "/".join(map(str, path))


def _struct(variable: nnx.Variable) -> jax.ShapeDtypeStruct:
    value = variable.get_value()
    return jax.ShapeDtypeStruct(value.shape, np.dtype(value.dtype))

"""The network on its devices: batches of aligned faces in, scores and heatmaps out; and the same as a pure function."""

import dataclasses
import functools
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import sharding

BATCH_SIZE_CPU = 1
"""Faces in a batch on a CPU, where the network is bound by arithmetic and a larger batch gains nothing."""

BATCH_SIZE_ACCELERATOR = 8
"""Faces in a batch on a GPU or TPU: about half a gigabyte each at the published size."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Params:
    """All that `apply` needs beside images: a pytree whose leaves are the network's arrays.

    Attributes:
      variables: The weights.
      config: The network's sizes and number formats; static under `jax.jit`.
      aus: The AUs that the weights know, in the order of the heatmaps; static.
    """

    variables: fgnet.Variables
    config: ModelConfig = dataclasses.field(metadata={"static": True})
    aus: tuple[int, ...] = dataclasses.field(metadata={"static": True})


def apply(params: Params, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The network as a pure function, for programs that jit it into their own.

    Args:
      params: `Detector.params`.
      images: (N, S, S, 3) RGB, 0 to 255, of any number format; faces aligned by FFHQ's recipe, S the image size.

    Returns:
      Scores float32 (N, K) and heatmaps float32 (N, size, size, K), both in [-1, 1], for the K AUs of `params.aus`.
    """
    return forward(params.config, len(params.aus), params.variables, jnp.asarray(images))


@functools.partial(jax.jit, static_argnums=(0, 1))
def forward(
    config: ModelConfig, known: int, variables: fgnet.Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images to scores (N, known) and clipped heatmaps (N, size, size, known)."""
    heatmaps = fgnet.au_heatmaps(config, variables, images, known)
    return fgnet.scores(heatmaps), jnp.clip(heatmaps, -1, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class BatchResult:
    """What the network says of the faces of a batch.

    Attributes:
      scores: float32 (n, K) in [-1, 1].
      heatmaps: float32 (n, size, size, K) in [-1, 1], or None where they were not asked for.
    """

    scores: np.ndarray
    heatmaps: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class PendingBatch:
    """A batch that the device works on; `result` waits for it."""

    count: int
    _scores: jax.Array
    _heatmaps: jax.Array

    def wait(self) -> None:
        """Waits until the device is done with it."""
        jax.block_until_ready((self._scores, self._heatmaps))

    def result(self, heatmaps: bool = True) -> BatchResult:
        """Waits, and brings the results over, the heatmaps only if they are asked for."""
        scores = np.asarray(self._scores)[: self.count]
        return BatchResult(scores, np.asarray(self._heatmaps)[: self.count] if heatmaps else None)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """An FG-Net with its weights, on the devices, compiled for batches of one shape.

    Attributes:
      config: The network's sizes and number formats.
      meta: What the weights directory says of itself: corpus, AUs, sources.
      variables: The weights, on every device.
      batch_size: Faces in every batch that the devices see; they split it.
      layout: The devices.
    """

    config: ModelConfig
    meta: WeightsMeta
    variables: fgnet.Variables
    batch_size: int
    layout: sharding.Sharding

    def with_batch_size(self, size: int) -> Self:
        """The same with batches of at least so many faces: a multiple of the number of devices."""
        devices = self.layout.mesh.size
        return dataclasses.replace(self, batch_size=-(-size // devices) * devices)

    @property
    def params(self) -> Params:
        """What the pure function `apply` takes."""
        return Params(self.variables, self.config, self.aus)

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 of the weights' values."""
        return weights.checksum(self.variables)

    @property
    def aus(self) -> tuple[int, ...]:
        """The AUs that the weights know, in the order of the heatmaps."""
        return self.meta.aus

    def compile(self) -> None:
        """Compiles the network now instead of at the first batch."""
        _ = self._compiled

    def start(self, images: np.ndarray) -> PendingBatch:
        """Hands one batch to the device and returns at once: read the next images meanwhile.

        Args:
          images: uint8 (n, S, S, 3) RGB, 0 < n <= batch_size, S the network's image size.

        Raises:
          ValueError: The array has another shape or type.
        """
        check_images(images, self.config.image_size)
        count = len(images)
        if not 0 < count <= self.batch_size:
            raise ValueError(f"a batch has 1 to {self.batch_size} faces, got {count}")
        padded = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        padded[:count] = images
        scores, heatmaps = self._compiled(self.variables, jax.device_put(padded, self.layout.batch))
        return PendingBatch(count, scores, heatmaps)

    @functools.cached_property
    def _compiled(self) -> jax.stages.Compiled:
        side = self.config.image_size
        images = jax.ShapeDtypeStruct((self.batch_size, side, side, 3), np.uint8, sharding=self.layout.batch)
        return forward.lower(self.config, len(self.aus), self.variables, images).compile(compiler_options.inference())


def to_devices(variables: fgnet.Variables, layout: sharding.Sharding) -> fgnet.Variables:
    """Moves arrays to the devices one by one, giving up each host copy before the next is made."""
    groups = weights.groups(variables).items()
    return fgnet.Variables(
        **{name: {path: jax.device_put(group.pop(path), layout.whole) for path in [*group]} for name, group in groups}
    )


def default_batch_size() -> int:
    return BATCH_SIZE_CPU if jax.default_backend() == "cpu" else BATCH_SIZE_ACCELERATOR


def check_images(images: np.ndarray, side: int) -> None:
    """Refuses anything but uint8 (N, side, side, 3)."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        wanted = f"aligned images must be a NumPy array of uint8 (N, {side}, {side}, 3), got {dtype} {shape}"
        raise ValueError(f"{wanted}; whole images come in a list")

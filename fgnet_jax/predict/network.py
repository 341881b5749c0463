"""The network on its devices: batches of aligned faces in, scores and heatmaps out; and `apply`, the pure function.

`Network` holds the weights and compiles the program, once, for batches of one shape: smaller batches are padded.
`fgnet_jax.predict.detector.Detector` adds to it reading weights from disk and finding faces in images and videos.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import NetworkConfig
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.predict import partial_evaluation
from fgnet_jax.runtime import compilation_cache, sharding

BATCH_SIZE_CPU = 1
"""Faces per batch on a CPU, where arithmetic bounds the speed of the network and a larger batch gains nothing."""

BATCH_SIZE_STUDENT = 4
"""The same of a student that predicts video files: four take as long as three one by one. A camera cannot wait."""

BATCH_SIZE_ACCELERATOR = 8
"""Faces per batch on each GPU or TPU: about half a gigabyte each at the published size."""

Prepared = list[jax.Array]
"""Weights as a program for GPUs or TPUs takes them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Params:
    """What `apply` needs besides images: a pytree whose leaves are the network's arrays.

    Attributes:
      variables: The weights.
      config: The network's sizes and number formats; static under `jax.jit`.
      aus: AU numbers that the weights were trained on, in the order of the heatmaps; static.
    """

    variables: fgnet.Variables
    config: NetworkConfig = dataclasses.field(metadata={"static": True})
    aus: tuple[int, ...] = dataclasses.field(metadata={"static": True})


def apply(params: Params, images: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Compute scores and heatmaps by a pure function, which other programs can jit and differentiate.

    Args:
      params: `Detector.params`.
      images: (N, S, S, 3) RGB, 0 to 255, of any number format; faces aligned as in FFHQ, S the network's image size.

    Returns:
      Scores float32 (N, K) and heatmaps float32 (N, size, size, K), both in [-1, 1], for the K AUs of `params.aus`.
    """
    return forward(params.config, len(params.aus), platforms.current(), params.variables, jnp.asarray(images))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def forward(
    config: NetworkConfig, count: int, platform: str, variables: fgnet.Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Compute scores (N, count) and clipped heatmaps (N, size, size, count) of images (N, S, S, 3), 0 to 255."""
    with platforms.tracing_for(platform):
        heatmaps = fgnet.au_heatmaps(config, variables, images, count)
    return fgnet.scores(heatmaps), jnp.clip(heatmaps, -1, 1)


def split_forward(
    config: NetworkConfig, count: int, platform: str, images: jax.ShapeDtypeStruct
) -> tuple[Callable[[fgnet.Variables], Prepared], Callable[[Prepared, jax.Array], tuple[jax.Array, jax.Array]]]:
    """Split `forward` into what is done once, with the weights, and what is done with each batch; neither is compiled.

    GPUs and TPUs read all weights with every batch: they have them in the number format that layers compute in, laid
    out, stacked and folded beforehand. On CPUs, where arithmetic takes the time, `forward` is compiled as it is.

    Args:
      config: The network's sizes and number formats.
      count: Channels that belong to AUs.
      platform: The platform that both are for.
      images: Shape and dtype of a batch (N, S, S, 3), and its placement where several devices share it.

    Returns:
      A function of the weights; and one of its result and images, which computes what `forward` does.
    """
    plain = functools.partial(inspect.unwrap(forward), config, count, platform)
    placement = images.sharding
    shared = placement if isinstance(placement, NamedSharding) and placement.mesh.size > 1 else None
    return partial_evaluation.split(gathering.traced_as(None, shared, plain), fgnet.abstract(config), images)


@dataclasses.dataclass(frozen=True, eq=False)
class BatchResult:
    """The network's output for the n faces of a batch.

    Attributes:
      scores: float32 (n, K) in [-1, 1].
      heatmaps: float32 (n, size, size, K) in [-1, 1]; None if not requested.
    """

    scores: np.ndarray
    heatmaps: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class PendingBatch:
    """A batch that the device is computing; `result` waits for it."""

    count: int
    _scores: jax.Array
    _heatmaps: jax.Array

    def wait(self) -> None:
        """Wait until the device has finished the batch."""
        jax.block_until_ready((self._scores, self._heatmaps))

    def result(self, heatmaps: bool = True) -> BatchResult:
        """Wait for the batch and copy its results to the host, the heatmaps only if requested."""
        scores = np.asarray(self._scores)[: self.count]
        return BatchResult(scores, np.asarray(self._heatmaps)[: self.count] if heatmaps else None)


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """An FG-Net with its weights on the devices, compiled for batches of one shape.

    Attributes:
      config: The network's sizes and number formats.
      meta: Metadata of the weights directory: corpus, AUs, sources.
      variables: The weights, on every device.
      batch_size: Faces per compiled batch; the devices split it.
      layout: Placement of arrays on the devices.
    """

    config: NetworkConfig
    meta: WeightsMeta
    variables: fgnet.Variables
    batch_size: int
    layout: sharding.Sharding

    def with_batch_size(self, size: int) -> Self:
        """Return a copy with batches of at least `size` faces: rounded up to a multiple of the number of devices."""
        devices = self.layout.mesh.size
        return dataclasses.replace(self, batch_size=-(-size // devices) * devices)

    def for_video_files(self) -> Self:
        """Return the same network with the default batch size for video files."""
        is_student_on_cpu = self.config.is_small and self.layout.platform == "cpu"
        return self.with_batch_size(BATCH_SIZE_STUDENT) if is_student_on_cpu else self

    @property
    def params(self) -> Params:
        """The argument of the pure function `apply`."""
        return Params(self.variables, self.config, self.aus)

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 of the weights' values."""
        return weights.checksum(self.variables)

    @property
    def aus(self) -> tuple[int, ...]:
        """AU numbers that the weights were trained on, in the order of the heatmaps."""
        return self.meta.aus

    def compile(self) -> None:
        """Compile the network now instead of at the first batch."""
        _ = self._compiled

    def start(self, images: np.ndarray) -> PendingBatch:
        """Start computing one batch on the device, without waiting for it.

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
        prepared, program = self._compiled
        scores, heatmaps = program(prepared, jax.device_put(padded, self.layout.batch))
        return PendingBatch(count, scores, heatmaps)

    @functools.cached_property
    def _compiled(self) -> tuple[fgnet.Variables | Prepared, jax.stages.Compiled]:
        """The weights as the compiled program takes them, and this program."""
        side, count, platform = self.config.image_size, len(self.aus), self.layout.platform
        images = jax.ShapeDtypeStruct((self.batch_size, side, side, 3), np.uint8, sharding=self.layout.batch)
        if platform == "cpu":
            prepared, lowered = self.variables, forward.lower(self.config, count, platform, self.variables, images)
        else:
            prepare, finish = split_forward(self.config, count, platform, images)
            prepared = jax.jit(prepare, out_shardings=self.layout.replicated)(self.variables)
            lowered = jax.jit(finish).lower(prepared, images)
        compiled = lowered.compile(compiler_options.inference(platform, is_small=self.config.is_small))
        compilation_cache.seal()  # at once: not every process ends in order
        return prepared, compiled


def to_devices(variables: fgnet.Variables, layout: sharding.Sharding) -> fgnet.Variables:
    """Copy arrays to the devices one by one, releasing each host copy before the next array is copied."""
    groups = weights.groups(variables).items()
    return fgnet.Variables(
        **{
            name: {path: jax.device_put(group.pop(path), layout.replicated) for path in [*group]}
            for name, group in groups
        }
    )


def default_batch_size() -> int:
    """Return the default number of faces per batch and device, for the kind of device that JAX uses."""
    return BATCH_SIZE_CPU if platforms.current() == "cpu" else BATCH_SIZE_ACCELERATOR


def check_images(images: object, side: int) -> None:
    """Check that images are a NumPy array uint8 (N, side, side, 3).

    Raises:
      ValueError: They are anything else.
    """
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        expected = f"aligned images must be a NumPy array of uint8 (N, {side}, {side}, 3)"
        raise ValueError(f"{expected}, got {dtype} {shape}; whole images come in a list")

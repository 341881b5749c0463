"""From aligned faces to action units in one call: weights on disk, NumPy in, NumPy out.

    detector = fgnet_jax.Detector.load("weights/fgnet_disfa")
    predictions = detector.predict(faces)  # uint8 (N, 256, 256, 3), RGB, aligned by FFHQ's recipe
    predictions.present[:, list(predictions.aus).index(12)]  # who smiles

Batches are padded to one shape, so the network is compiled once for a detector, at its first batch or by `compile`.
"""

import collections
import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax import checkpoint, weights
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import ModelConfig

DTYPES = ("float32", "bfloat16")
"""What can be computed in. float32 means that on every device: no TF32 on GPUs, no single bfloat16 pass on TPUs."""

BATCH_SIZE_CPU = 1
"""Faces in a batch on a CPU, where the network is bound by arithmetic and a larger batch gains nothing."""

BATCH_SIZE_ACCELERATOR = 8
"""Faces in a batch on a GPU or TPU: about half a gigabyte each at the published size."""


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What was seen on N faces, for the K action units that the weights know.

    Attributes:
      aus: int32 (K,), the AU numbers, in the order of the last axis of the others.
      scores: float32 (N, K) in [-1, 1]: the mean of the clipped heatmap over space.
      present: bool (N, K): whether the score is above 0.
      heatmaps: float32 (N, size, size, K) clipped to [-1, 1], or None where they were not asked for.
    """

    aus: np.ndarray
    scores: np.ndarray
    present: np.ndarray
    heatmaps: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Pending:
    """A batch that the device works on; `result` waits for it."""

    aus: np.ndarray
    count: int
    _scores: jax.Array
    _heatmaps: jax.Array

    def result(self, heatmaps: bool = True) -> Predictions:
        """Waits, and brings the results over, the heatmaps only if they are asked for."""
        scores = np.asarray(self._scores)[: self.count]
        maps = np.asarray(self._heatmaps)[: self.count] if heatmaps else None
        return Predictions(self.aus, scores, scores > 0, maps)


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """An FG-Net with its weights, on the default device.

    Attributes:
      config: The network's sizes and number formats.
      meta: What the weights directory says of itself: corpus, AUs, sources.
      variables: The weights, on the device.
      batch_size: Faces in every batch that the device sees.
    """

    config: ModelConfig
    meta: checkpoint.WeightsMeta
    variables: fgnet.Variables
    batch_size: int

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], *, batch_size: int | None = None, dtype: str | None = None
    ) -> "Detector":
        """Loads a weights directory that `convert_weights` or training wrote.

        Args:
          directory: The weights directory.
          batch_size: Faces in a batch; None for `BATCH_SIZE_CPU` or `BATCH_SIZE_ACCELERATOR`.
          dtype: One of `DTYPES`, to compute in another format than the weights' own configuration says.

        Raises:
          WeightsError: There is no such directory, it is damaged, or it does not know any AU (pretrained weights, whose
            interpreter has learned nothing yet).
          ValueError: An argument is out of its range.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if dtype not in (None, *DTYPES):
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        config, variables, meta = weights.load(os.fspath(directory))
        _check_aus(directory, config, meta)
        config = dataclasses.replace(config, dtype=dtype or config.dtype)
        return cls(config, meta, _to_device(variables), batch_size or _default_batch_size())

    @property
    def aus(self) -> tuple[int, ...]:
        """The AUs that the weights know, in the order of the heatmaps."""
        return self.meta.aus

    def compile(self) -> None:
        """Compiles the network now instead of at the first batch."""
        _ = self._compiled

    def start(self, images: np.ndarray) -> Pending:
        """Hands one batch to the device and returns at once: read the next pictures meanwhile.

        Args:
          images: uint8 (n, S, S, 3) RGB, 0 < n <= batch_size, S the network's image size.

        Raises:
          ValueError: The array has another shape or type.
        """
        _check_images(images, self.config.image_size)
        count = len(images)
        if not 0 < count <= self.batch_size:
            raise ValueError(f"a batch has 1 to {self.batch_size} faces, got {count}")
        padded = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        padded[:count] = images
        scores, heatmaps = self._compiled(self.variables, padded)
        return Pending(np.array(self.aus, np.int32), count, scores, heatmaps)

    def predict(self, images: np.ndarray, *, heatmaps: bool = True) -> Predictions:
        """Detects the AUs of aligned faces.

        Args:
          images: uint8 (N, S, S, 3) RGB faces, aligned by FFHQ's recipe; S is the network's image size (256).
          heatmaps: Whether to return heatmaps too: half a megabyte a face for eight AUs at the published size. Without
            them memory stays constant beside the images.

        Raises:
          ValueError: The array has another shape or type.
        """
        _check_images(images, self.config.image_size)
        size, known = self.config.heatmap_size, len(self.aus)
        scores = np.empty((len(images), known), np.float32)
        maps = np.empty((len(images), size, size, known), np.float32) if heatmaps else None
        running: collections.deque[tuple[slice, Pending]] = collections.deque()
        for first in range(0, len(images), self.batch_size):
            batch = slice(first, first + self.batch_size)
            running.append((batch, self.start(images[batch])))
            if len(running) > 1:  # the device always has one batch more than we wait for
                _store(*running.popleft(), scores, maps)
        for batch, pending in running:
            _store(batch, pending, scores, maps)
        return Predictions(np.array(self.aus, np.int32), scores, scores > 0, maps)

    @functools.cached_property
    def _compiled(self) -> jax.stages.Compiled:
        side = self.config.image_size
        images = jax.ShapeDtypeStruct((self.batch_size, side, side, 3), np.uint8)
        return _forward.lower(self.config, len(self.aus), self.variables, images).compile()


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(
    config: ModelConfig, known: int, variables: fgnet.Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """uint8 images to scores (N, known) and clipped heatmaps (N, size, size, known)."""
    # GPUs and TPUs would run float32 convolutions in fewer bits, and borderline labels would differ between machines.
    with jax.default_matmul_precision("highest" if config.dtype == "float32" else "default"):
        heatmaps = fgnet.apply(config, variables, fgnet.normalise(images))[..., :known]
    return fgnet.scores(heatmaps), jnp.clip(heatmaps, -1, 1)


def _check_aus(directory: str | os.PathLike[str], config: ModelConfig, meta: checkpoint.WeightsMeta) -> None:
    """Refuses weights that are not for detection."""
    if not meta.aus:
        raise checkpoint.WeightsError(
            f"{directory}: these weights know no AU: they are a start for training, not for detection"
        )
    if len(meta.aus) > config.num_heatmaps:
        raise checkpoint.WeightsError(f"{directory}: {len(meta.aus)} AUs, but {config.num_heatmaps} heatmaps")


def _store(batch: slice, pending: Pending, scores: np.ndarray, heatmaps: np.ndarray | None) -> None:
    """Waits for a batch and puts its results where they belong."""
    result = pending.result(heatmaps is not None)
    scores[batch] = result.scores
    if heatmaps is not None:
        heatmaps[batch] = result.heatmaps


def _to_device(variables: fgnet.Variables) -> fgnet.Variables:
    """Moves arrays to the device one by one, giving up each host copy before the next is made."""
    groups = weights.groups(variables).items()
    return fgnet.Variables(
        **{name: {path: jax.device_put(group.pop(path)) for path in [*group]} for name, group in groups}
    )


def _default_batch_size() -> int:
    return BATCH_SIZE_CPU if jax.default_backend() == "cpu" else BATCH_SIZE_ACCELERATOR


def _check_images(images: np.ndarray, side: int) -> None:
    """Refuses anything but uint8 (N, side, side, 3)."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        raise ValueError(f"images must be a NumPy array of uint8 (N, {side}, {side}, 3), got {dtype} {shape}")

"""From pictures and videos to action units in one call: weights on disk, paths or NumPy in, NumPy out.

    detector = fgnet_jax.Detector.load("weights/fgnet_disfa")
    predictions = detector.predict(["holiday.jpg", "clip.mp4"])  # every face that is found
    predictions = detector.predict(faces)  # uint8 (N, 256, 256, 3), RGB, aligned by FFHQ's recipe
    predictions.present[:, list(predictions.aus).index(12)]  # who smiles

Batches are padded to one shape, so the network is compiled once for a detector, at its first batch or by `compile`.
"""

import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.train import checkpoints as checkpoint
from fgnet_jax.predict import pipeline as prediction, predictions
from fgnet_jax.runtime import sharding, xla
from fgnet_jax.models import weights
from fgnet_jax.media import sources
from fgnet_jax.models import fgnet
from fgnet_jax.models.config import DTYPES, ModelConfig
from fgnet_jax.predict.predictions import Predictions

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
    return _forward(params.config, len(params.aus), params.variables, jnp.asarray(images))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(
    config: ModelConfig, known: int, variables: fgnet.Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images to scores (N, known) and clipped heatmaps (N, size, size, known)."""
    heatmaps = fgnet.apply(config, variables, fgnet.normalise(images))[..., :known]
    return fgnet.scores(heatmaps), jnp.clip(heatmaps, -1, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of the faces of a batch.

    Attributes:
      scores: float32 (n, K) in [-1, 1].
      heatmaps: float32 (n, size, size, K) in [-1, 1], or None where they were not asked for.
    """

    scores: np.ndarray
    heatmaps: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Pending:
    """A batch that the device works on; `result` waits for it."""

    count: int
    _scores: jax.Array
    _heatmaps: jax.Array

    def wait(self) -> None:
        """Waits until the device is done with it."""
        jax.block_until_ready((self._scores, self._heatmaps))

    def result(self, heatmaps: bool = True) -> Answer:
        """Waits, and brings the results over, the heatmaps only if they are asked for."""
        scores = np.asarray(self._scores)[: self.count]
        return Answer(scores, np.asarray(self._heatmaps)[: self.count] if heatmaps else None)


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """An FG-Net with its weights, on the devices.

    Attributes:
      config: The network's sizes and number formats.
      meta: What the weights directory says of itself: corpus, AUs, sources.
      variables: The weights, on every device.
      batch_size: Faces in every batch that the devices see; they split it.
      layout: The devices.
    """

    config: ModelConfig
    meta: checkpoint.WeightsMeta
    variables: fgnet.Variables
    batch_size: int
    layout: sharding.Sharding

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], *, batch_size: int | None = None, dtype: str | None = None
    ) -> "Detector":
        """Loads a weights directory that `convert_weights` or training wrote.

        Args:
          directory: The weights directory.
          batch_size: Faces in a batch; None for `BATCH_SIZE_CPU` or `BATCH_SIZE_ACCELERATOR` a device. All devices of
            this process share it where their number divides it; where it does not, the first device has it alone.
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
        devices = jax.local_devices()
        size = batch_size or _default_batch_size() * len(devices)
        layout = sharding.create(devices=devices if size % len(devices) == 0 else devices[:1])
        return cls(config, meta, _to_devices(variables, layout), size, layout)

    def with_batch_size(self, size: int) -> "Detector":
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
        scores, heatmaps = self._compiled(self.variables, jax.device_put(padded, self.layout.batch))
        return Pending(count, scores, heatmaps)

    def predict(self, inputs: Any, *, heatmaps: bool = True, **options: Any) -> Predictions:
        """Detects the AUs of every face in pictures and videos, or of faces that are aligned already.

        Args:
          inputs: An array uint8 (N, S, S, 3) of RGB faces aligned by FFHQ's recipe, S the network's image size (256);
            or paths of pictures, videos and folders (see `fgnet_jax.media.sources`), arrays uint8 (height, width, 3) of
            whole pictures, or an iterable of these.
          heatmaps: Whether to keep heatmaps and aligned faces too: half a megabyte a face for eight AUs at the
            published size. Without them memory hardly grows with the input.
          **options: Fields of `fgnet_jax.predict.pipeline.Options`: `largest`, `every`, `detect_every`, `predictor`,
            `aligned`, `thresholds`, `smooth`.

        Raises:
          ValueError: The array has another shape or type, or an option is out of its range. What is wrong with a file
            is no error: its row has no result and says why (`Predictions.problems`).
          DetectorError: Faces are to be found, and dlib or its data are not there.
        """
        how = prediction.Options(**options)
        if isinstance(inputs, np.ndarray) or _is_nested(inputs):
            _check_images(inputs, self.config.image_size)
            return predictions.collect(self, prediction.aligned_faces(inputs), how, heatmaps)
        return predictions.collect(self, prediction.found(sources.given(inputs), self, how), how, heatmaps)

    @functools.cached_property
    def _compiled(self) -> jax.stages.Compiled:
        side = self.config.image_size
        images = jax.ShapeDtypeStruct((self.batch_size, side, side, 3), np.uint8, sharding=self.layout.batch)
        return _forward.lower(self.config, len(self.aus), self.variables, images).compile(xla.inference())


def _check_aus(directory: str | os.PathLike[str], config: ModelConfig, meta: checkpoint.WeightsMeta) -> None:
    """Refuses weights that are not for detection."""
    if not meta.aus:
        raise checkpoint.WeightsError(
            f"{directory}: these weights know no AU: they are a start for training, not for detection"
        )
    if len(meta.aus) > config.num_heatmaps:
        raise checkpoint.WeightsError(f"{directory}: {len(meta.aus)} AUs, but {config.num_heatmaps} heatmaps")


def _to_devices(variables: fgnet.Variables, layout: sharding.Sharding) -> fgnet.Variables:
    """Moves arrays to the devices one by one, giving up each host copy before the next is made."""
    groups = weights.groups(variables).items()
    return fgnet.Variables(
        **{name: {path: jax.device_put(group.pop(path), layout.whole) for path in [*group]} for name, group in groups}
    )


def _default_batch_size() -> int:
    return BATCH_SIZE_CPU if jax.default_backend() == "cpu" else BATCH_SIZE_ACCELERATOR


def _is_nested(inputs: Any) -> bool:
    """Whether this is a list of numbers or of lists, which somebody takes for an array."""
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], list | tuple | int | float)


def _check_images(images: np.ndarray, side: int) -> None:
    """Refuses anything but uint8 (N, side, side, 3)."""
    shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images).__name__)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        wanted = f"aligned images must be a NumPy array of uint8 (N, {side}, {side}, 3), got {dtype} {shape}"
        raise ValueError(f"{wanted}; whole pictures come in a list")

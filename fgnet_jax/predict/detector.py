"""From images and videos to action units in one call: weights on disk, paths or NumPy in, NumPy out.

    detector = fgnet_jax.Detector.load("weights/fgnet_disfa")
    predictions = detector.predict(["holiday.jpg", "clip.mp4"])  # every face that is found
    predictions = detector.predict(faces)  # uint8 (N, 256, 256, 3), RGB, aligned by FFHQ's recipe
    predictions.present[:, list(predictions.aus).index(12)]  # who smiles

Batches are padded to one shape, so the network is compiled once for a detector, at its first batch or by `compile`.
"""

import dataclasses
import os
from typing import Any

import jax
import numpy as np

from fgnet_jax.media import sources
from fgnet_jax.models import weights
from fgnet_jax.models.config import DTYPES, ModelConfig
from fgnet_jax.predict import pipeline, predictions
from fgnet_jax.predict.network import Network, check_images, default_batch_size, to_devices
from fgnet_jax.predict.predictions import Predictions
from fgnet_jax.runtime import sharding


@dataclasses.dataclass(frozen=True, eq=False)
class Detector(Network):
    """A network that takes images and videos: finds the faces in them, aligns them, and detects their AUs."""

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
        size = batch_size or default_batch_size() * len(devices)
        layout = sharding.create(devices=devices if size % len(devices) == 0 else devices[:1])
        return cls(config, meta, to_devices(variables, layout), size, layout)

    def predict(self, inputs: Any, *, heatmaps: bool = True, **options: Any) -> Predictions:
        """Detects the AUs of every face in images and videos, or of faces that are aligned already.

        Args:
          inputs: An array uint8 (N, S, S, 3) of RGB faces aligned by FFHQ's recipe, S the network's image size (256);
            or paths of images, videos and folders (see `fgnet_jax.media.sources`), arrays uint8 (height, width, 3) of
            whole images, or an iterable of these.
          heatmaps: Whether to keep heatmaps and aligned faces too: half a megabyte a face for eight AUs at the
            published size. Without them memory hardly grows with the input.
          **options: Fields of `fgnet_jax.predict.pipeline.PredictOptions`: `largest`, `every`, `detect_every`, `predictor`,
            `aligned`, `thresholds`, `smooth`.

        Raises:
          ValueError: The array has another shape or type, or an option is out of its range. What is wrong with a file
            is no error: its row has no result and says why (`Predictions.problems`).
          DetectorError: Faces are to be found, and dlib or its data are not there.
        """
        how = pipeline.PredictOptions(**options)
        if isinstance(inputs, np.ndarray) or _is_nested(inputs):
            check_images(inputs, self.config.image_size)
            return predictions.collect(self, pipeline.aligned_faces(inputs), how, heatmaps)
        return predictions.collect(self, pipeline.detect_faces(sources.given(inputs), self, how), how, heatmaps)


def _check_aus(directory: str | os.PathLike[str], config: ModelConfig, meta: weights.WeightsMeta) -> None:
    """Refuses weights that are not for detection."""
    if not meta.aus:
        raise weights.WeightsError(
            f"{directory}: these weights know no AU: they are a start for training, not for detection"
        )
    if len(meta.aus) > config.num_heatmaps:
        raise weights.WeightsError(f"{directory}: {len(meta.aus)} AUs, but {config.num_heatmaps} heatmaps")


def _is_nested(inputs: Any) -> bool:
    """Whether this is a list of numbers or of lists, which somebody takes for an array."""
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], list | tuple | int | float)

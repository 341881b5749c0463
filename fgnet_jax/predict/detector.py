"""AUs of images and videos in one call from Python: weights from disk, paths or NumPy arrays in, NumPy arrays out.

    detector = fgnet_jax.Detector.load("weights/fgnet_disfa")
    predictions = detector.predict(["holiday.jpg", "clip.mp4"])  # every face in them
    predictions = detector.predict(faces)  # uint8 (N, 256, 256, 3), RGB, aligned as in FFHQ
    predictions.present[:, list(predictions.aus).index(12)]  # which faces smile

Batches are padded to one shape, so the network is compiled once per detector, at its first batch or by `compile`.
"""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
from numpy.typing import ArrayLike
from PIL import Image

from fgnet_jax.media import sources
from fgnet_jax.media.sources import Source
from fgnet_jax.metrics import calibration as calibration_lib
from fgnet_jax.metrics.calibration import Calibration
from fgnet_jax.models import weights
from fgnet_jax.models.config import DTYPES, NetworkConfig
from fgnet_jax.predict import pipeline, predictions
from fgnet_jax.predict.network import Network, check_images, default_batch_size, to_devices
from fgnet_jax.predict.predictions import Predictions
from fgnet_jax.runtime import files, sharding, sums

Input = str | os.PathLike[str] | ArrayLike | Image.Image | Source
"""One input: a path, an array of NumPy, PyTorch or JAX, a Pillow image, or a `Source`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Detector(Network):
    """An FG-Net for images and videos: it finds the faces in them, aligns them, and detects their AUs."""

    @classmethod
    def load(
        cls, directory: str | os.PathLike[str], *, batch_size: int | None = None, dtype: str | None = None
    ) -> "Detector":
        """Load a weights directory written by `convert_weights` or by training.

        Args:
          directory: The weights directory, or the workdir of a run, of which the best epoch is taken.
          batch_size: Faces per batch; None for `BATCH_SIZE_CPU` or `BATCH_SIZE_ACCELERATOR` per device. All devices of
            this process split a batch if their number divides it; otherwise the first device computes it alone.
          dtype: One of `DTYPES`, to compute in another number format than the weights' own configuration names.

        Raises:
          WeightsError: There is no such directory, it is damaged, or its weights detect no AUs (pretrained weights,
            whose interpreter is untrained).
          ValueError: An argument is out of its range.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        described = describe(directory, dtype=dtype)
        config, meta = described.config, described.meta
        _, variables, _ = weights.load(described.directory)
        devices = jax.local_devices()
        size = batch_size or default_batch_size() * len(devices)
        layout = sharding.create(devices=devices if size % len(devices) == 0 else devices[:1])
        return cls(config=config, meta=meta, variables=to_devices(variables, layout), batch_size=size, layout=layout)

    @property
    def calibration(self) -> Calibration | None:
        """The function from scores to intensities, 0 to 5; None where the weights know presence alone."""
        return calibration_lib.of_weights(self.meta.extra, self.aus)

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        heatmaps: bool = True,
        **options: Any,  # noqa: ANN401 - the fields of PredictOptions, which checks them
    ) -> Predictions:
        """Detect the AUs of every face in images and videos, or of faces that are already aligned.

        Args:
          inputs: An array uint8 (N, S, S, 3) of RGB faces aligned as in FFHQ, S the network's image size (256); or
            paths of images, videos and folders (see `fgnet_jax.media.sources`), arrays uint8 (height, width, 3) of
            whole images, Pillow images, or an iterable of these. Tensors of PyTorch are arrays too, also with the
            channels first, (N, 3, S, S) or (3, height, width).
          heatmaps: Whether to keep heatmaps and aligned faces in the result: half a megabyte per face for eight AUs at
            the published size. Without them memory hardly grows with the input.
          **options: Fields of `fgnet_jax.predict.pipeline.PredictOptions`: `largest`, `every`, `detect_every`,
            `detector`, `min_confidence`, `predictor`, `aligned`, `identities`, `thresholds`, `smooth`.

        Raises:
          ValueError: The array has another shape or type, or an option is out of its range. A file that cannot be read
            raises nothing: its row has no result, and `Predictions.problems` names the reason.
          TypeError: An input is none of these.
          DetectorError: Faces must be found, and dlib or its data file is missing.
        """
        chosen = pipeline.PredictOptions(**options)
        array = sources.as_array(inputs)
        if array is not None or _is_nested(inputs):
            if chosen.identities:
                raise ValueError("identities need whole images, not an array of aligned faces")
            check_images(inputs if array is None else array, self.config.image_size)
            assert array is not None
            frames = pipeline.aligned_faces(array)
        else:
            frames = pipeline.detect_faces(sources.given(inputs), self, chosen)
        return predictions.collect(self, frames, chosen, heatmaps=heatmaps)


@dataclasses.dataclass(frozen=True)
class WeightsDescription:
    """Weights without their arrays.

    Attributes:
      directory: The folder that they are in.
      config: The network, with the number format that was requested.
      meta: Their metadata.
    """

    directory: str
    config: NetworkConfig
    meta: weights.WeightsMeta

    @property
    def calibration(self) -> Calibration | None:
        """The function from scores to intensities; None where the weights know presence alone.

        Raises:
          WeightsError: It is damaged.
        """
        try:
            return calibration_lib.of_weights(self.meta.extra, self.meta.aus)
        except calibration_lib.CalibrationError as error:
            raise weights.WeightsError(f"{self.directory}: {error}") from error

    @property
    def calibrated(self) -> tuple[int, ...]:
        """The AUs whose intensities are known."""
        return () if self.calibration is None else self.calibration.aus

    @property
    def sums(self) -> str | None:
        """SHA-256 of the file with the sums of all others; None for weights of before there was one."""
        path = Path(self.directory) / sums.SUMS_FILE
        return files.sha256(path) if path.exists() else None


def describe(directory: str | os.PathLike[str], *, dtype: str | None = None) -> WeightsDescription:
    """Read what a weights directory says of itself, without its arrays.

    Args:
      directory: As for `Detector.load`.
      dtype: As for `Detector.load`.

    Raises:
      WeightsError: As `Detector.load`, but for damaged arrays.
      ValueError: There is no such dtype.
    """
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    directory = os.fspath(directory)
    best = os.path.join(directory, "best")
    directory = best if os.path.isdir(best) else directory
    meta = weights.load_meta(directory)
    config = weights.load_config(directory, meta)
    _check_aus(directory, config, meta)
    described = WeightsDescription(directory, dataclasses.replace(config, dtype=dtype or config.dtype), meta)
    _ = described.calibration  # a damaged one is refused here, not at the first face
    return described


def _check_aus(directory: str | os.PathLike[str], config: NetworkConfig, meta: weights.WeightsMeta) -> None:
    """Check that weights are for detection: that they have AUs, and a heatmap for each."""
    if not meta.aus:
        raise weights.WeightsError(f"{directory}: these weights detect no AUs: they are for training to start from")
    if len(meta.aus) > config.num_heatmaps:
        raise weights.WeightsError(f"{directory}: {len(meta.aus)} AUs, but {config.num_heatmaps} heatmaps")


def _is_nested(inputs: object) -> bool:
    """Return whether this is a list of numbers or of lists, mistaken for an array."""
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], list | tuple | int | float)

"""The choice of a face detector, by name: `yunet`, or `dlib` as FG-Net's authors used it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.faces import cnn_detector, dlib_detector, yunet
from fgnet_jax.faces.detection import MIN_CONFIDENCE, Box, Face, FaceDetector, LargestDetector, NearbyDetector


def load(name: str, predictor: Path, min_confidence: float | None = None) -> tuple[FaceDetector, NearbyDetector]:
    """Load a detector of whole images, and the one that finds a face again; for use in any thread.

    Args:
      name: One of `detection.DETECTORS`.
      predictor: dlib's data file, see `dlib_detector.find_predictor`.
      min_confidence: Faces of less confidence are left out; None for the default of `MIN_CONFIDENCE`.

    Raises:
      DetectorError: What the detector needs is not installed.
    """
    module = dlib_detector if name == "dlib" else cnn_detector
    least = MIN_CONFIDENCE[name] if min_confidence is None else min_confidence
    detect, nearby = module.load(predictor), module.load_nearby(predictor)

    def detect_certain(image: np.ndarray) -> list[Face]:
        return [face for face in detect(image) if face.confidence >= least]

    def nearby_certain(image: np.ndarray, box: Box) -> Face | None:
        face = nearby(image, box)
        return face if face is not None and face.confidence >= least else None

    return detect_certain, nearby_certain


def load_largest(name: str, predictor: Path, min_confidence: float | None = None) -> LargestDetector:
    """Load a detector of the largest face alone, which searches no more than it must; arguments as in `load`."""
    module = dlib_detector if name == "dlib" else cnn_detector
    return module.load_largest(predictor, MIN_CONFIDENCE[name] if min_confidence is None else min_confidence)


def describe(name: str, min_confidence: float | None = None) -> dict[str, Any]:
    """Return what a detector is, and what its confidence means, for the JSON beside a table."""
    least = MIN_CONFIDENCE[name] if min_confidence is None else min_confidence
    return {**(_dlib() if name == "dlib" else _yunet()), "min_confidence": least}


def describe_tracking(name: str) -> dict[str, Any]:
    """Return what `tracking.describe` says otherwise of a detector."""
    return {} if name == "dlib" else dict(_TRACKED)


# measured by `benchmarks media` at `tracking.DETECT_EVERY`, as in `tracking`
_TRACKED: Mapping[str, Any] = {
    "method": "the detector around each face, where its landmarks moved it, turned upright",
    "added_error": {"photograph": 0.000, "drawn faces": 0.000},
    "from_detected": {"photograph": 0.008, "drawn faces": 0.030},
}


def _dlib() -> dict[str, Any]:
    return {
        "detector": "dlib's frontal face detector",
        "confidence": _logistic(dlib_detector.MIDDLE, dlib_detector.WIDTH),
        "enlarged": "twice; pictures above 2 megapixels less, those above 8 are shrunk to them",
    }


def _yunet() -> dict[str, Any]:
    return {
        "detector": f"YuNet ({yunet.FILE.name}), each face looked at again, upright",
        "detector_sha256": yunet.SHA256,
        "detector_run_by": yunet.RUN_BY,
        "detector_licence": yunet.LICENCE,
        "confidence": _logistic(cnn_detector.MIDDLE, cnn_detector.WIDTH),
        "enlarged": "twice, half of that in the other three orientations; images above 2 megapixels less",
    }


def _logistic(middle: float, width: float) -> str:
    return f"probability of a face: 1 / (1 + exp(({middle} - score) / {width})), the detector's score"

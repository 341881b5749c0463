"""Faces in an image, as any detector returns them, and the distance between two sets of landmarks."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

NUM_LANDMARKS = 68
"""Landmarks of a face, in dlib's numbering: those of the iBUG 300-W annotation."""

_INNER_EYE_CORNERS = (39, 42)

DETECTORS = ("yunet", "dlib")
"""Names of the detectors, the default one first."""

MIN_CONFIDENCE: Mapping[str, float] = {"yunet": 0.9, "dlib": 0.5}
"""Least probability that a detection is a face, by detector, where no other is given: see the table in docs/predict.md,
`python -m benchmarks detection`."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
      landmarks: (68, 2) float32, x then y in pixels of the image (pixel centres at whole numbers).
      box: Its bounding box.
      confidence: The probability that it is a face, from 0 to 1, as the detector's calibration has it.
    """

    landmarks: np.ndarray
    box: Box
    confidence: float


FaceDetector = Callable[[np.ndarray], list[Face]]
"""Takes an image, (height, width, 3) uint8 RGB, and returns its faces."""

LargestDetector = Callable[[np.ndarray], Face | None]
"""Takes an image, (height, width, 3) uint8 RGB, and returns its largest face; None where there is none."""

NearbyDetector = Callable[[np.ndarray, Box], Face | None]
"""Takes an image and the box where a face is expected, and returns that face; None if it is not there."""


class DetectorError(ValueError):
    """A detector that is not available; the message says what is missing and how to install it."""


def largest(faces: Sequence[Face]) -> Face | None:
    """Return the face with the largest box; None if there is no face."""
    return max(faces, key=lambda face: face.box[2] * face.box[3], default=None)


def from_landmarks(landmarks: np.ndarray) -> Face | None:
    """Build a face from its landmarks (68, 2) alone, with their bounding box; None where they are missing (NaN)."""
    points = np.asarray(landmarks, np.float32)
    if not np.isfinite(points).all():
        return None
    low, high = points.min(0), points.max(0)
    return Face(points, (float(low[0]), float(low[1]), *(high - low).tolist()), 1.0)


def overlap(a: Box, b: Box) -> float:
    """Compute the intersection over union of two boxes."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    intersection = max(across, 0.0) * max(down, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - intersection
    return intersection / union if union > 0 else 0.0


def distance(landmarks: np.ndarray, exact: np.ndarray) -> float:
    """Compute the mean distance of landmarks (68, 2) from exact ones, in inter-ocular distances of the exact ones.

    FG-Net's inter-ocular distance is between the inner corners of the eyes (landmarks 39 and 42), about two fifths of
    the distance between the outer corners that other work divides by.
    """
    left, right = (np.asarray(exact, np.float64)[corner] for corner in _INNER_EYE_CORNERS)
    distances = np.linalg.norm(np.asarray(landmarks, np.float64) - exact, axis=-1)
    return float(distances.mean() / np.linalg.norm(right - left))

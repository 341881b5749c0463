"""Faces in an image: what a detector gives, whichever it is, and how far two detectors' points lie apart."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

NUM_LANDMARKS = 68
"""Points of a face, in dlib's numbering: those of the iBUG 300-W annotation."""

_INNER_EYE_CORNERS = (39, 42)


Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
      landmarks: (68, 2) float32, x then y in pixels of the image (pixel centres at whole numbers).
      box: Where it is.
      confidence: The detector's score; larger is surer, the scale is the detector's own.
    """

    landmarks: np.ndarray
    box: Box
    confidence: float


FaceDetector = Callable[[np.ndarray], list[Face]]
"""From an image, (height, width, 3) uint8 RGB, to its faces."""

NearbyDetector = Callable[[np.ndarray, Box], Face | None]
"""From an image and the box where a face should be to that face; None where it is not there."""


class DetectorError(ValueError):
    """A detector that cannot be had; the message says what is missing and how to get it."""


def largest(faces: Sequence[Face]) -> Face | None:
    """The face with the largest box; None where there is no face."""
    return max(faces, key=lambda face: face.box[2] * face.box[3], default=None)


def from_landmarks(landmarks: np.ndarray) -> Face | None:
    """A face known by its landmarks (68, 2) alone; None where they are missing (NaN)."""
    points = np.asarray(landmarks, np.float32)
    if not np.isfinite(points).all():
        return None
    low, high = points.min(0), points.max(0)
    return Face(points, (float(low[0]), float(low[1]), *(high - low).tolist()), 1.0)


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share, as a share of the area that they cover."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    covered = one[2] * one[3] + other[2] * other[3] - shared
    return shared / covered if covered > 0 else 0.0


def distance(landmarks: np.ndarray, exact: np.ndarray) -> float:
    """Mean distance of landmarks (68, 2) from others, as a fraction of the others' inter-ocular distance.

    That is FG-Net's, between the inner corners of the eyes (landmarks 39 and 42), which is about two fifths of the
    distance of the outer corners that other work divides by.
    """
    left, right = (np.asarray(exact, np.float64)[corner] for corner in _INNER_EYE_CORNERS)
    apart = np.linalg.norm(np.asarray(landmarks, np.float64) - exact, axis=-1)
    return float(apart.mean() / np.linalg.norm(right - left))

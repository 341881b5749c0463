"""YuNet: a small convolutional network that proposes faces, each with a box and five points; run by OpenCV.

Its file (0.2 MB, MIT licence) lies beside this one; where it is from is in the text file beside it. It was trained on
WIDER FACE.
"""

import contextlib
import dataclasses
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.faces.detection import DetectorError

FILE = Path(__file__).parent / "face_detection_yunet_2023mar.onnx"
"""The network's file."""

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""Of the network's file."""

LICENCE = f"{FILE.name} is under the MIT licence; it was trained on WIDER FACE"
"""Licence note, to be shown wherever the network is used."""

LEAST_SCORE = 0.3
"""Faces with lower scores are not proposed."""

_SUPPRESSED = 0.3  # intersection over union from which on the weaker of two proposals is dropped
_MOST = 1000  # proposals before suppression

_IDLE: dict[bool, list[Any]] = {False: [], True: []}  # networks that no thread uses; for crops, and for whole images
_CREATING = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class Proposals:
    """N faces that the network proposes, in pixels whose centres are at whole numbers.

    Attributes:
      boxes: (N, 4) float64: left, top, width and height.
      points: (N, 5, 2) float64, x then y: the eyes, the tip of the nose, the corners of the mouth; of an upright face,
        the left one in the image first.
      scores: (N,) float64, from 0 to 1.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, which: np.ndarray | list[int]) -> "Proposals":
        """Return some of the faces, by index."""
        return Proposals(self.boxes[which], self.points[which], self.scores[which])

    def enlarged(self, factor: float) -> "Proposals":
        """Return the faces in the pixels of an image that is larger by a factor."""
        corners, points = ((xy + 0.5) * factor - 0.5 for xy in (self.boxes[:, :2], self.points))
        return Proposals(np.concatenate([corners, self.boxes[:, 2:] * factor], 1), points, self.scores)

    def turned_back(self, quarters: int, width: int, height: int) -> "Proposals":
        """Return the faces in an image of this size that was turned by `numpy.rot90` before they were proposed."""
        points = _turned_back(self.points, quarters, width, height)
        corners = np.stack([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], 1)
        corners = _turned_back(corners, quarters, width, height)
        low, high = corners.min(1), corners.max(1)
        return Proposals(np.concatenate([low, high - low], 1), points, self.scores)


def together(proposals: list[Proposals]) -> Proposals:
    """Join the proposals of several searches of one image, the weaker of two that overlap dropped."""
    import cv2

    boxes = np.concatenate([each.boxes for each in proposals])
    points = np.concatenate([each.points for each in proposals])
    every = Proposals(boxes, points, np.concatenate([each.scores for each in proposals]))
    best = cv2.dnn.NMSBoxes(boxes.tolist(), every.scores.tolist(), LEAST_SCORE, _SUPPRESSED)
    return every.chosen([int(k) for k in np.ravel(best)])


def propose(image: np.ndarray, *, is_crop: bool = False) -> Proposals:
    """Propose faces; in any thread.

    Args:
      image: (height, width, 3) uint8 RGB.
      is_crop: Whether it is one of many small images of one size, for which a network is set apart.

    Raises:
      DetectorError: OpenCV is not installed or cannot read the file.
    """
    cv2 = _library()
    try:
        network = _IDLE[is_crop].pop()
    except IndexError:
        network = _create()
    network.setInputSize(image.shape[1::-1])
    found = network.detect(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR))[1]
    _IDLE[is_crop].append(network)
    values = np.zeros((0, 15)) if found is None else np.asarray(found, np.float64)
    values = values[np.isfinite(values).all(1)]  # OpenCV 4 gives others, in images of a few pixels
    # the network's coordinates are those of pixels' edges
    corners, points = values[:, :2] - 0.5, values[:, 4:14].reshape(-1, 5, 2) - 0.5
    return Proposals(np.concatenate([corners, values[:, 2:4]], 1), points, values[:, 14])


def _turned_back(xy: np.ndarray, quarters: int, width: int, height: int) -> np.ndarray:
    """Return places (..., 2) in an image of this size, of places in the image turned by `numpy.rot90`."""
    x, y = xy[..., 0], xy[..., 1]
    places = ((x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x))
    return np.stack(places[quarters % 4], -1)


def check() -> None:
    """Check that the network can be run.

    Raises:
      DetectorError: OpenCV is not installed, or the file is missing.
    """
    _library()
    if not FILE.is_file():
        raise DetectorError(f"no {FILE}: the installation of fgnet_jax is not complete")


@functools.cache
def _library() -> Any:  # noqa: ANN401 - a module, whose types are incomplete
    """Import OpenCV."""
    try:
        import cv2
    except ImportError as error:
        message = "faces are detected with OpenCV, which is not installed: pip install 'fgnet_jax[faces]'"
        raise DetectorError(message) from error
    return cv2


def _create() -> Any:  # noqa: ANN401 - OpenCV's detector
    """Load the network, without the warning of OpenCV 5 that it sets no target."""
    cv2 = _library()
    check()
    with _CREATING, _errors_only(cv2):
        try:
            return cv2.FaceDetectorYN.create(str(FILE), "", (320, 320), LEAST_SCORE, _SUPPRESSED, _MOST)
        except cv2.error as error:
            raise DetectorError(f"OpenCV {cv2.__version__} cannot read {FILE}: {error}") from error


@contextlib.contextmanager
def _errors_only(cv2: Any) -> Iterator[None]:  # noqa: ANN401 - a module
    """Let OpenCV print errors alone; OpenCV 4 has no such switch, nor the warning."""
    logging = getattr(cv2.utils, "logging", None)
    level = logging.setLogLevel(logging.LOG_LEVEL_ERROR) if logging else None
    try:
        yield
    finally:
        if logging:
            logging.setLogLevel(level)

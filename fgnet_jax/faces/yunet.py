"""YuNet: a small convolutional network that proposes faces, each with a box and five points; run by ONNX Runtime.

Its file (0.2 MB, MIT licence) lies beside this one; where it is from is in the text file beside it. It was trained on
WIDER FACE. How its outputs become faces is the same as in OpenCV's `FaceDetectorYN`, whose results these are, but for
rounding; ONNX Runtime needs about half of the time.
"""

import dataclasses
import functools
import threading
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

RUN_BY = "ONNX Runtime"
"""What runs the network. Another library rounds differently, and dlib's predictor takes boxes in whole pixels: faces of
one picture stay the same, but those that are tracked through a video drift apart by a share of a pixel."""

LEAST_SCORE = 0.3
"""Faces with lower scores are not proposed."""

_SUPPRESSED = 0.3  # intersection over union from which on the weaker of two proposals is dropped
_MOST = 1000  # proposals before suppression
_STRIDES = (8, 16, 32)  # pixels from one place where faces are proposed to the next
_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)

# The published file is for images of 640x640 (here, its last two sizes as ONNX has them: each a number), though nothing
# in the network is. With names in the place of these numbers, it takes images of any size.
_SIZE, _ANY_SIZE = b"\x0a\x03\x08\x80\x05" * 2, b"\x0a\x03\x12\x01h\x0a\x03\x12\x01w"

_MISSING = "which is not installed: pip install 'fgnet_jax[faces]'"
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
    boxes = np.concatenate([each.boxes for each in proposals])
    points = np.concatenate([each.points for each in proposals])
    every = Proposals(boxes, points, np.concatenate([each.scores for each in proposals]))
    return every.chosen(_strongest(boxes, every.scores))


def propose(image: np.ndarray) -> Proposals:
    """Propose faces; in any thread.

    Args:
      image: (height, width, 3) uint8 RGB.

    Raises:
      DetectorError: ONNX Runtime or OpenCV is not installed, or the file cannot be read.
    """
    height, width = (-(-side // _STRIDES[-1]) * _STRIDES[-1] for side in image.shape[:2])
    padded = np.zeros((1, 3, height, width), np.float32)
    padded[0, :, : image.shape[0], : image.shape[1]] = image[:, :, ::-1].transpose(2, 0, 1)  # the network takes BGR
    outputs = _network().run(_OUTPUTS, {"input": padded})
    count = len(_STRIDES)
    face, fit, box, points = (np.concatenate(outputs[k : k + count], 1)[0] for k in range(0, len(outputs), count))
    boxes, points, scores = _decode(face, fit, box, points, *_places(height, width))
    best = _strongest(boxes.astype(int), scores, _MOST)  # in whole pixels, as OpenCV does
    # the network's coordinates are those of pixels' edges
    corners = boxes[best, :2] - 0.5
    return Proposals(np.concatenate([corners, boxes[best, 2:]], 1), points[best] - 0.5, scores[best])


@functools.lru_cache(maxsize=16)
def _places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the P places where faces are proposed, row by row: (P, 2) in strides, and (P, 1) their stride."""
    grids = [np.indices((height // stride, width // stride))[::-1].reshape(2, -1).T for stride in _STRIDES]
    return np.concatenate(grids), np.repeat(_STRIDES, [len(grid) for grid in grids])[:, None]


def _decode(
    face: np.ndarray, fit: np.ndarray, box: np.ndarray, points: np.ndarray, places: np.ndarray, strides: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes, points and scores, as `Proposals` has them, that the network's outputs propose.

    Args:
      face: (P, 1), the probability of a face at each place.
      fit: (P, 1), by how much its box will overlap it.
      box: (P, 4): the box's middle from the place, in strides, and the logarithm of its size in strides.
      points: (P, 10), from the place, in strides.
      places: See `_places`.
      strides: The same.
    """
    scores = np.sqrt(face.clip(0, 1) * fit.clip(0, 1))[:, 0]
    (chosen,) = np.nonzero(scores >= LEAST_SCORE)
    box, points, place, stride = (each[chosen].astype(np.float64) for each in (box, points, places, strides))
    size = np.exp(box[:, 2:]) * stride
    corners = (place + box[:, :2]) * stride - size / 2
    found = (place[:, None] + points.reshape(-1, 5, 2)) * stride[:, None]
    return np.concatenate([corners, size], 1), found, scores[chosen].astype(np.float64)


def _strongest(boxes: np.ndarray, scores: np.ndarray, most: int = 0) -> list[int]:
    """Return which of N proposals are kept, the most certain first: of two that overlap, the weaker one is dropped.

    Args:
      boxes: (N, 4), as `Proposals` has them.
      scores: (N,).
      most: How many of the most certain ones are looked at; 0 for all.
    """
    cv2 = _opencv()
    best = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), LEAST_SCORE, _SUPPRESSED, top_k=most)
    return [int(k) for k in np.ravel(best)]


def _turned_back(xy: np.ndarray, quarters: int, width: int, height: int) -> np.ndarray:
    """Return places (..., 2) in an image of this size, of places in the image turned by `numpy.rot90`."""
    x, y = xy[..., 0], xy[..., 1]
    places = ((x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x))
    return np.stack(places[quarters % 4], -1)


def check() -> None:
    """Check that the network can be run.

    Raises:
      DetectorError: ONNX Runtime or OpenCV is not installed, or the file is missing.
    """
    _opencv()
    _library()
    if not FILE.is_file():
        raise DetectorError(f"no {FILE}: the installation of fgnet_jax is not complete")


def _opencv() -> Any:  # noqa: ANN401 - a module, whose types are incomplete
    """Import OpenCV."""
    try:
        import cv2
    except ImportError as error:
        raise DetectorError(f"faces are aligned with OpenCV, {_MISSING}") from error
    return cv2


def _library() -> Any:  # noqa: ANN401 - a module without types
    """Import ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DetectorError(f"faces are detected with ONNX Runtime, {_MISSING}") from error
    return onnxruntime


def _network() -> Any:  # noqa: ANN401 - ONNX Runtime's session
    """Return the network, which threads may share."""
    with _CREATING:
        return _loaded(FILE)


@functools.cache
def _loaded(file: Path) -> Any:  # noqa: ANN401 - ONNX Runtime's session
    """Load the network, to be run on the thread that asks: others are busy with other faces."""
    runtime = _library()
    check()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # which would remember every size of image
    options.add_session_config_entry("session.use_env_allocators", "1")  # the memory below
    options.log_severity_level = 3  # errors: the sizes of the outputs, too, are named for 640x640
    where = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    # Memory grows by what is asked for. By default it doubles: where two threads meet late in a long video, too.
    runtime.create_and_register_allocator(where, runtime.OrtArenaCfg({"arena_extend_strategy": 1}))
    content = file.read_bytes().replace(_SIZE, _ANY_SIZE)
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of the runtime's own, which have no common class
        raise DetectorError(f"ONNX Runtime {runtime.__version__} cannot read {file}: {error}") from error

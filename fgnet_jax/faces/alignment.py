"""FFHQ alignment: the square around a face, cut out of an image, and the map between the two, both ways.

The recipe of FFHQ (Karras et al., CVPR 2019, appendix C) as pSp and FG-Net use it: 256 through a 1024 transform. Points
count pixel centres as whole numbers everywhere, in images and in aligned faces.
"""

import dataclasses

import numpy as np
from PIL import Image

SIZE = 256
"""Side of an aligned face in pixels, as FG-Net takes it."""

OVERSAMPLING = 4
"""The square is resampled to so many times its size, 1024, and then shrunk to it."""

ALIGNED_WITHIN = 0.03
"""A square image whose face's corners are all within this share of its side from its own is aligned already.

Landmarks that are detected again on an aligned face move the corners by about a hundredth.
"""

_LEFT_EYE, _RIGHT_EYE, _MOUTH_CORNERS = slice(36, 42), slice(42, 48), (48, 54)
_MARGIN, _LEAST_MARGIN, _PAD, _BLUR = 0.1, 3, 0.3, 0.02  # shares of the side; pixels


class AlignmentError(ValueError):
    """Landmarks that no face can have: not (68, 2) finite numbers, or all in one place."""


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Where an aligned face lies in its image.

    Attributes:
      matrix: (2, 3) float64, from pixels of the aligned face to pixels of the image.
      size: Side of the aligned face.
    """

    matrix: np.ndarray
    size: int = SIZE

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the aligned face, x then y, in the image; float64."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_aligned(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the image on the aligned face; float64."""
        return np.linalg.solve(self.matrix[:, :2], (np.asarray(points, np.float64) - self.matrix[:, 2])[..., None])[
            ..., 0
        ]

    def corners(self) -> np.ndarray:
        """(4, 2): the square's corners in the image: top left, bottom left, bottom right, top right."""
        low, high = -0.5, self.size - 0.5
        return self.to_image(np.array([(low, low), (low, high), (high, high), (high, low)]))


def ffhq(landmarks: np.ndarray, size: int = SIZE) -> Alignment:
    """The square that FFHQ's recipe puts around a face.

    Args:
      landmarks: (68, 2), x then y, in pixels of the image.
      size: Side of the aligned face.

    Raises:
      AlignmentError: for landmarks that are no face's.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise AlignmentError(f"landmarks must be 68 finite points (68, 2), got shape {points.shape}")
    left, right = points[_LEFT_EYE].mean(0), points[_RIGHT_EYE].mean(0)
    across, eyes = right - left, (left + right) / 2
    down = points[list(_MOUTH_CORNERS)].mean(0) - eyes
    x = across - _turned(down)
    if not np.hypot(*x) > 0:
        raise AlignmentError("landmarks have no extent: eyes and mouth lie in one place")
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    return _square(eyes + 0.1 * down, x, size)


def _square(centre: np.ndarray, x: np.ndarray, size: int) -> Alignment:
    """The square of half side `x` (a vector, to the right) around a centre."""
    y = _turned(x)
    linear = np.stack([x, y], 1) * (2 / size)  # a step of one aligned pixel to the right, and one down
    offset = centre - linear @ np.full(2, (size - 1) / 2)
    return Alignment(np.concatenate([linear, offset[:, None]], 1), size)


def whole(side: int, size: int = SIZE) -> Alignment:
    """The alignment of a square image that is an aligned face already: nothing but scale."""
    return _square(np.full(2, (side - 1) / 2), np.array([side / 2, 0.0]), size)


def _turned(v: np.ndarray) -> np.ndarray:
    return np.array((-v[1], v[0]))


def align(image: np.ndarray, landmarks: np.ndarray, size: int = SIZE) -> tuple[np.ndarray, Alignment]:
    """Cuts a face out of an image.

    Args:
      image: (height, width, 3) uint8.
      landmarks: (68, 2), x then y, in its pixels.
      size: Side of the aligned face.

    Returns:
      (size, size, 3) uint8, and where it lies. An image that is an aligned face already comes out as itself, resized
      where it is of another size.

    Raises:
      AlignmentError: for landmarks that are no face's, or a face that lies outside of the image.
    """
    alignment = ffhq(landmarks, size)
    if is_aligned(image, alignment):
        return as_it_is(image, size)
    return cut_out(image, alignment), alignment


def as_it_is(image: np.ndarray, size: int = SIZE) -> tuple[np.ndarray, Alignment]:
    """What `align` makes of an image that is known to be an aligned face, whatever its landmarks.

    Raises:
      AlignmentError: for one that is not square.
    """
    height, width = image.shape[:2]
    if height != width:
        raise AlignmentError(f"an aligned face is square, this image is {width}x{height}")
    return _resized(image, size), whole(width, size)


def is_aligned(image: np.ndarray, alignment: Alignment) -> bool:
    """Whether an image is, within `ALIGNED_WITHIN`, the very square that alignment would cut out of it."""
    height, width = image.shape[:2]
    apart = np.abs(alignment.corners() - whole(width).corners()).max()
    return height == width and bool(apart <= ALIGNED_WITHIN * width)


def cut_out(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resamples the square to (size, size, 3) uint8; where it leaves the image, filled as FFHQ's recipe fills it.

    Raises:
      AlignmentError: where the square's middle lies outside of the image.
    """
    height, width = image.shape[:2]
    x, y = alignment.to_image(np.full(2, (alignment.size - 1) / 2))
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise AlignmentError(f"the face's middle ({x:.0f}, {y:.0f}) lies outside of the image ({width}x{height})")
    return _resampled(*_padded(*_cropped(*_shrunk(image, alignment))))


def _shrunk(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """An image with a far larger face than wanted, shrunk by a whole factor first."""
    factor = int(_side(alignment) / alignment.size * 0.5)
    if factor <= 1:
        return image, alignment
    height, width = image.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    smaller = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    scale = np.array(size) / (width, height)  # not quite 1 / factor, since sizes are whole
    return smaller, _moved(alignment, scale, 0.5 * scale - 0.5)


def _cropped(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """The part of the image around the square, with a margin."""
    corners, margin = alignment.corners(), _margin(alignment)
    first = np.maximum(np.floor(corners.min(0)).astype(int) - margin, 0)
    last = np.minimum(np.ceil(corners.max(0)).astype(int) + margin, image.shape[1::-1])
    return image[first[1] : last[1], first[0] : last[0]], _moved(alignment, np.ones(2), -first)


def _padded(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """Reflects the image where the square leaves it, blurred and faded to its median colour towards the rim."""
    corners, margin = alignment.corners(), _margin(alignment)
    height, width = image.shape[:2]
    before = np.maximum(margin - np.floor(corners.min(0)).astype(int), 0)
    after = np.maximum(np.ceil(corners.max(0)).astype(int) + margin - (width, height), 0)
    if max(*before, *after) <= margin - 4:
        return image, alignment
    least = round(_side(alignment) * _PAD)
    before, after = np.maximum(before, least), np.maximum(after, least)
    wide = np.pad(image, ((before[1], after[1]), (before[0], after[0]), (0, 0)), "reflect")
    return _faded(wide, before, after, _side(alignment) * _BLUR), _moved(alignment, np.ones(2), before)


def _faded(image: np.ndarray, before: np.ndarray, after: np.ndarray, blur: float) -> np.ndarray:
    import cv2

    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    inside_x = np.minimum(columns / np.float32(before[0]), (width - 1 - columns) / np.float32(after[0]))
    inside_y = np.minimum(rows / np.float32(before[1]), (height - 1 - rows) / np.float32(after[1]))
    mask = (1 - np.minimum(inside_x, inside_y))[..., None]
    light = image.astype(np.float32)
    reach = 2 * int(4 * blur + 0.5) + 1
    soft = cv2.GaussianBlur(light, (reach, reach), blur, borderType=cv2.BORDER_REFLECT)
    light += (soft - light) * np.clip(mask * 3 + 1, 0, 1)
    light += (np.median(light, axis=(0, 1)) - light) * np.clip(mask, 0, 1)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def _resampled(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """The square, bilinearly at `OVERSAMPLING` times the size wanted, then shrunk."""
    import cv2

    large = alignment.size * OVERSAMPLING
    matrix = alignment.matrix.copy()
    matrix[:, :2] /= OVERSAMPLING
    matrix[:, 2] += alignment.matrix[:, :2] @ np.full(2, 0.5 / OVERSAMPLING - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (large, large), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return _resized(warped, alignment.size)


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[0] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _side(alignment: Alignment) -> float:
    """Side of the square in pixels of the image."""
    return float(np.hypot(*alignment.matrix[:, 0])) * alignment.size


def _margin(alignment: Alignment) -> int:
    return max(round(_side(alignment) * _MARGIN), _LEAST_MARGIN)


def _moved(alignment: Alignment, scale: np.ndarray, shift: np.ndarray) -> Alignment:
    """The same square in an image that was scaled and then shifted."""
    matrix = alignment.matrix * scale[:, None]
    matrix[:, 2] += shift
    return Alignment(matrix, alignment.size)

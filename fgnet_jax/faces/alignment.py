"""FFHQ alignment: crops the square around a face out of an image, and maps points between the two, both ways.

The recipe of FFHQ (Karras et al., CVPR 2019, appendix C) as pSp and FG-Net use it: 256 pixels by way of a transform to
1024. In all coordinates, of images and of aligned faces, pixel centres are at whole numbers.
"""

import dataclasses

import numpy as np
from PIL import Image

SIZE = 256
"""Side of an aligned face in pixels, as FG-Net takes it."""

OVERSAMPLING = 4
"""The square is resampled to this many times the size of the aligned face, 1024 pixels, and then shrunk."""

ALIGNED_TOLERANCE = 0.03
"""A square image is aligned already where no corner of the face's square lies further than this from the image's own.

In shares of the image's side. Landmarks that are detected again on an aligned face move the corners by about 0.01.
"""

MIN_SIDE = 32
"""An aligned face with a shorter side, in pixels, is refused: enlarging it would invent the face."""

_LEFT_EYE, _RIGHT_EYE, _MOUTH_CORNERS = slice(36, 42), slice(42, 48), (48, 54)
_MARGIN, _LEAST_MARGIN, _PAD, _BLUR = 0.1, 3, 0.3, 0.02  # shares of the side; pixels


class AlignmentError(ValueError):
    """A face that cannot be aligned: impossible landmarks, a place outside of the image, or an image of no square.

    The message says why, without the file's name.
    """


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Where an aligned face lies in its image: a similarity transform.

    Attributes:
      matrix: (2, 3) float64, from pixels of the aligned face to pixels of the image.
      size: Side of the aligned face.
    """

    matrix: np.ndarray
    size: int = SIZE

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) of the aligned face, x then y, to the image; float64."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_aligned(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., 2) of the image, x then y, to the aligned face; float64."""
        offsets = np.asarray(points, np.float64) - self.matrix[:, 2]
        return np.linalg.solve(self.matrix[:, :2], offsets[..., None])[..., 0]

    def corners(self) -> np.ndarray:
        """Return the square's corners in the image, (4, 2): top left, bottom left, bottom right, top right."""
        low, high = -0.5, self.size - 0.5
        return self.to_image(np.array([(low, low), (low, high), (high, high), (high, low)]))


def ffhq(landmarks: np.ndarray, size: int = SIZE) -> Alignment:
    """Compute the square that FFHQ's recipe puts around a face.

    Args:
      landmarks: (68, 2), x then y, in pixels of the image.
      size: Side of the aligned face.

    Raises:
      AlignmentError: for landmarks that no face can have: not 68 finite points, or all in one place.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise AlignmentError(f"landmarks must be 68 finite points (68, 2), got shape {points.shape}")
    left, right = points[_LEFT_EYE].mean(0), points[_RIGHT_EYE].mean(0)
    across, eyes = right - left, (left + right) / 2
    down = points[list(_MOUTH_CORNERS)].mean(0) - eyes
    x = across - _perpendicular(down)
    if not np.hypot(*x) > 0:
        raise AlignmentError("landmarks have no extent: eyes and mouth lie in one place")
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    return square(eyes + 0.1 * down, x, size)


def square(centre: np.ndarray, x: np.ndarray, size: int) -> Alignment:
    """Build the alignment of a square around a centre, with `x` the vector from the centre to its right side."""
    y = _perpendicular(x)
    linear = np.stack([x, y], 1) * (2 / size)  # a step of one aligned pixel to the right, and one down
    offset = centre - linear @ np.full(2, (size - 1) / 2)
    return Alignment(np.concatenate([linear, offset[:, None]], 1), size)


def identity(side: int, size: int = SIZE) -> Alignment:
    """Build the alignment of a square image that is an aligned face already: nothing but scale.

    Args:
      side: Of the image, in pixels.
      size: Side of the aligned face.
    """
    return square(np.full(2, (side - 1) / 2), np.array([side / 2, 0.0]), size)


def _perpendicular(v: np.ndarray) -> np.ndarray:
    return np.array((-v[1], v[0]))


def align(image: np.ndarray, landmarks: np.ndarray, size: int = SIZE) -> tuple[np.ndarray, Alignment]:
    """Crop a face out of an image, aligned.

    Args:
      image: (height, width, 3) uint8.
      landmarks: (68, 2), x then y, in its pixels.
      size: Side of the aligned face.

    Returns:
      (size, size, 3) uint8, and where it lies. An image that is an aligned face already (`is_aligned`) is returned
      itself, resized if its size differs.

    Raises:
      AlignmentError: for landmarks that are no face's, or a face that lies outside of the image.
    """
    alignment = ffhq(landmarks, size)
    if is_aligned(image, alignment):
        return keep_aligned(image, size)
    return crop(image, alignment), alignment


def keep_aligned(image: np.ndarray, size: int = SIZE) -> tuple[np.ndarray, Alignment]:
    """Return what `align` returns of an image that is an aligned face already, whatever its landmarks.

    Raises:
      AlignmentError: for an image that is not square.
    """
    height, width = image.shape[:2]
    if height != width:
        raise AlignmentError(f"an aligned face is square, this image is {width}x{height}")
    return _resize(image, size), identity(width, size)


def resize_aligned(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an aligned face to the size that the network takes.

    Args:
      image: uint8 (height, width, 3), a face already aligned (FFHQ's recipe), hence square.
      size: Side of the result, in pixels.

    Returns:
      uint8 (size, size, 3); `image` itself where it has that size, else resampled (Lanczos, antialiased).

    Raises:
      AlignmentError: The image is not square, or smaller than `MIN_SIDE`.
    """
    height, width = image.shape[:2]
    if height != width:
        raise AlignmentError(f"{width}x{height} is not square, as an aligned face ({size}x{size}) is")
    if height < MIN_SIDE:
        raise AlignmentError(f"{width}x{height} is too small: an aligned face has {size}x{size}, at least {MIN_SIDE}")
    return _resize(image, size)


def is_aligned(image: np.ndarray, alignment: Alignment) -> bool:
    """Tell whether an image is, within `ALIGNED_TOLERANCE`, the very square that alignment would crop out of it."""
    height, width = image.shape[:2]
    distance = np.abs(alignment.corners() - identity(width).corners()).max()
    return height == width and bool(distance <= ALIGNED_TOLERANCE * width)


def crop(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample a face's square to (size, size, 3) uint8; where it leaves the image, padded as FFHQ's recipe pads it.

    Raises:
      AlignmentError: where the square's middle lies outside of the image.
    """
    height, width = image.shape[:2]
    x, y = alignment.to_image(np.full(2, (alignment.size - 1) / 2))
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise AlignmentError(f"the face's middle ({x:.0f}, {y:.0f}) lies outside of the image ({width}x{height})")
    return _resample(*_pad(*_crop_around(*_shrink(image, alignment))))


def sample(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample a square quickly, bilinearly; black where it leaves the image. For what is looked at only by detectors.

    Args:
      image: (height, width) or (height, width, 3) uint8.
      alignment: The square, anywhere.
    """
    import cv2

    size = (alignment.size, alignment.size)
    image, alignment = _crop_around(image, alignment)
    if 0 in image.shape[:2]:
        return np.zeros((*size, *image.shape[2:]), np.uint8)
    factor = min(alignment.size / _side(alignment), 1.0)
    if factor < 0.7:  # so that nothing is skipped
        smaller = tuple(max(1, round(side * factor)) for side in image.shape[1::-1])
        scale = np.array(smaller) / image.shape[1::-1]
        image = cv2.resize(np.ascontiguousarray(image), smaller, interpolation=cv2.INTER_AREA)
        alignment = _transformed(alignment, scale, 0.5 * scale - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(np.ascontiguousarray(image), alignment.matrix, size, flags=flags)


def _shrink(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """Shrink an image by a whole factor where its face is far larger than the aligned face will be."""
    factor = int(_side(alignment) / alignment.size * 0.5)
    if factor <= 1:
        return image, alignment
    height, width = image.shape[:2]
    size = max(1, round(width / factor)), max(1, round(height / factor))
    smaller = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    scale = np.array(size) / (width, height)  # not quite 1 / factor, since sizes are whole
    return smaller, _transformed(alignment, scale, 0.5 * scale - 0.5)


def _crop_around(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """Crop the image to the part around the square, with a margin."""
    corners, margin = alignment.corners(), _margin(alignment)
    first = np.clip(np.floor(corners.min(0)).astype(int) - margin, 0, image.shape[1::-1])
    last = np.clip(np.ceil(corners.max(0)).astype(int) + margin, 0, image.shape[1::-1])
    return image[first[1] : last[1], first[0] : last[0]], _transformed(alignment, np.ones(2), -first)


def _pad(image: np.ndarray, alignment: Alignment) -> tuple[np.ndarray, Alignment]:
    """Pad the image by reflection where the square leaves it, blurred and faded to its median colour outwards."""
    corners, margin = alignment.corners(), _margin(alignment)
    height, width = image.shape[:2]
    before = np.maximum(margin - np.floor(corners.min(0)).astype(int), 0)
    after = np.maximum(np.ceil(corners.max(0)).astype(int) + margin - (width, height), 0)
    if max(*before, *after) <= margin - 4:
        return image, alignment
    least = round(_side(alignment) * _PAD)
    before, after = np.maximum(before, least), np.maximum(after, least)
    padded = np.pad(image, ((before[1], after[1]), (before[0], after[0]), (0, 0)), "reflect")
    return _fade(padded, before, after, _side(alignment) * _BLUR), _transformed(alignment, np.ones(2), before)


def _fade(image: np.ndarray, before: np.ndarray, after: np.ndarray, blur: float) -> np.ndarray:
    """Blur the padding of an image, `before` and `after` pixels in x and y, and fade it to the median colour."""
    import cv2

    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    inside_x = np.minimum(columns / np.float32(before[0]), (width - 1 - columns) / np.float32(after[0]))
    inside_y = np.minimum(rows / np.float32(before[1]), (height - 1 - rows) / np.float32(after[1]))
    mask = (1 - np.minimum(inside_x, inside_y))[..., None]
    values = image.astype(np.float32)
    kernel = 2 * int(4 * blur + 0.5) + 1
    blurred = cv2.GaussianBlur(values, (kernel, kernel), blur, borderType=cv2.BORDER_REFLECT)
    values += (blurred - values) * np.clip(mask * 3 + 1, 0, 1)
    values += (np.median(values, axis=(0, 1)) - values) * np.clip(mask, 0, 1)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _resample(image: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Resample the square, bilinearly at `OVERSAMPLING` times the final size, then shrink it."""
    import cv2

    large = alignment.size * OVERSAMPLING
    matrix = alignment.matrix.copy()
    matrix[:, :2] /= OVERSAMPLING
    matrix[:, 2] += alignment.matrix[:, :2] @ np.full(2, 0.5 / OVERSAMPLING - 0.5)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        np.ascontiguousarray(image), matrix, (large, large), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return _resize(warped, alignment.size)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[0] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def _side(alignment: Alignment) -> float:
    """Return the side of the square in pixels of the image."""
    return float(np.hypot(*alignment.matrix[:, 0])) * alignment.size


def _margin(alignment: Alignment) -> int:
    return max(round(_side(alignment) * _MARGIN), _LEAST_MARGIN)


def _transformed(alignment: Alignment, scale: np.ndarray, shift: np.ndarray) -> Alignment:
    """Return the alignment of the same square in an image that was scaled and then shifted, each in x and y."""
    matrix = alignment.matrix * scale[:, None]
    matrix[:, 2] += shift
    return Alignment(matrix, alignment.size)

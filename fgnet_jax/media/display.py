"""Turns decoded frames into what a player shows: upright images of square pixels, in the colours of a usual screen."""

import dataclasses
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.media import high_dynamic_range
from fgnet_jax.media.decoding import VideoError

if TYPE_CHECKING:
    import av

MAX_PIXELS = 50_000_000
"""Videos with frames of more pixels are refused before one is decoded."""

_MATRICES = {  # by AVColorSpace
    1: "BT.709",
    4: "BT.470M",
    5: "BT.601",
    6: "BT.601",
    7: "SMPTE 240M",
    9: "BT.2020",
    10: "BT.2020",
}
_FULL = 2  # AVCOL_RANGE_JPEG
_DEEP = {"gray16": 1, "rgb48": 3, "bgr48": 3, "gbrp16": 1}  # formats of 16 bits: samples of a pixel that lie together
_BLACK, _DARK = 2**8, 2**14  # between these, the brightest sample of 16 bits is probably one of fewer
_DARK_NOTE = (
    "samples of 16 bits, all below a quarter of their range: perhaps 10, 12 or 14 bits in 16, but taken for 16, so "
    "that frames are dark; convert it first (of grey with 12 bits: ffmpeg -i OLD -vf lut=c0=val*16 -c:v ffv1 NEW.mkv)"
)


@dataclasses.dataclass(frozen=True)
class Orientation:
    """One of the eight ways in which stored frames may lie: transposed first, then mirrored.

    Attributes:
      is_transposed: Whether rows are shown as columns.
      is_mirrored: Whether left and right are then exchanged.
      is_flipped: Whether top and bottom are then exchanged.
    """

    is_transposed: bool = False
    is_mirrored: bool = False
    is_flipped: bool = False

    def __str__(self) -> str:
        return _ORIENTATIONS[self.is_transposed, self.is_mirrored, self.is_flipped]

    def applied(self, image: np.ndarray) -> np.ndarray:
        """Return an image (height, width, channels) as it is shown, contiguous in memory."""
        image = image.swapaxes(0, 1) if self.is_transposed else image
        image = image[:, ::-1] if self.is_mirrored else image
        return np.ascontiguousarray(image[::-1] if self.is_flipped else image)


_ORIENTATIONS = {
    (False, False, False): "upright",
    (False, True, False): "mirrored, left for right",
    (False, False, True): "mirrored, top for bottom",
    (False, True, True): "turned by 180 degrees",
    (True, False, False): "turned by 90 degrees clockwise and mirrored, left for right",
    (True, True, False): "turned by 90 degrees clockwise",
    (True, False, True): "turned by 90 degrees counterclockwise",
    (True, True, True): "turned by 90 degrees counterclockwise and mirrored, left for right",
}


def orientation(frame: "av.VideoFrame") -> Orientation:
    """Return how a frame lies, by the whole of its display matrix; other angles count as the nearest quarter turn."""
    from av.sidedata.sidedata import Type

    try:
        data: Any = frame.side_data
    except ValueError:  # data of a kind that PyAV does not know hide the others, but the angle is known still
        return _QUARTER_TURNS[round(frame.rotation / 90) % 4]
    if Type.DISPLAYMATRIX not in data:
        return Orientation()
    return from_matrix(np.frombuffer(bytes(data[Type.DISPLAYMATRIX]), np.int32))


_QUARTER_TURNS = (
    Orientation(),
    Orientation(is_transposed=True, is_flipped=True),
    Orientation(is_mirrored=True, is_flipped=True),
    Orientation(is_transposed=True, is_mirrored=True),
)
"""By the number of quarter turns counterclockwise."""


def from_matrix(matrix: np.ndarray) -> Orientation:
    """Return the orientation that a display matrix describes.

    Args:
      matrix: (9,) numbers, by rows; a point (x, y) that is stored is shown at (x, y, 1) times the matrix.
    """
    (xx, xy), (yx, yy) = matrix[0:2].astype(float), matrix[3:5].astype(float)
    if abs(xx) + abs(yy) >= abs(xy) + abs(yx):
        return Orientation(is_mirrored=bool(xx < 0), is_flipped=bool(yy < 0))
    return Orientation(is_transposed=True, is_mirrored=bool(yx < 0), is_flipped=bool(xy < 0))


def square_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Return the width and height at which a frame's pixels are square: the side that is too short grows.

    Args:
      width: Pixels of the stored frame.
      height: Likewise.
      pixel_aspect: Width of a pixel divided by its height.

    Raises:
      VideoError: The frame is too large, or its size is not known.
    """
    if width * height == 0:
        raise VideoError("does not declare its frame size")
    if pixel_aspect > 1:
        size = round(width * pixel_aspect), height
    else:
        size = width, round(height / pixel_aspect)
    if size[0] * size[1] > MAX_PIXELS:
        raise VideoError(f"frames of {size[0]}x{size[1]} are larger than {MAX_PIXELS:,} pixels")
    return size


class Display:
    """How the frames of a video are shown; orientation and aspect may change at key frames.

    Attributes:
      pixel_aspect: Width of a pixel divided by its height: the container's, or else that of the coding.
      orientation: How frames lie.
    """

    def __init__(self, stream: "av.VideoStream"):
        """Take the container's word, before a frame is decoded.

        Raises:
          VideoError: The frames are too large, or of unknown size.
        """
        from av.video.reformatter import VideoReformatter

        self._context, self._reformatter = stream.codec_context, VideoReformatter()
        self.pixel_aspect = _positive(stream.sample_aspect_ratio)
        self.orientation: Orientation | None = None
        self._brightest = 0  # sample so far, of formats of 16 bits
        self._is_intra = stream.codec_context.codec.intra_only
        self._is_coded = self.pixel_aspect == _positive(self._context.sample_aspect_ratio)
        square_size(stream.width, stream.height, self.pixel_aspect)

    def follow(self, frame: "av.VideoFrame") -> None:
        """Note how a frame and those after it are shown."""
        if self._is_coded and frame.key_frame:
            self.pixel_aspect = _positive(self._context.sample_aspect_ratio)
        # rarely: a frame whose matrix was read is in a circle of references, and waits for the garbage collector
        if self.orientation is None or (frame.key_frame and not self._is_intra):
            self.orientation = orientation(frame)
        if self._brightest < _DARK:
            self._brightest = max(self._brightest, _brightest(frame))

    def image(self, frame: "av.VideoFrame") -> np.ndarray:
        """Convert the frame that was noted last.

        Returns:
          uint8 RGB (height, width, 3): upright, with square pixels; a high dynamic range is mapped to a usual screen's.

        Raises:
          VideoError: The frame is too large, or in a format of pixels that FFmpeg does not convert.
        """
        width, height = square_size(frame.width, frame.height, self.pixel_aspect)
        curve = high_dynamic_range.CURVES.get(frame.color_trc)
        try:
            rgb = self._reformatter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb48le" if curve else "rgb24",
                interpolation="BILINEAR" if (width, height) == (frame.width, frame.height) else "BICUBIC",
                threads=1,
            ).to_ndarray()
        except (OSError, ValueError) as error:
            raise VideoError(f"frames of the format {frame.format.name} cannot be converted: {error}") from error
        assert self.orientation is not None
        return self.orientation.applied(high_dynamic_range.to_standard(rgb, curve) if curve else rgb)

    def facts(self, frame: "av.VideoFrame") -> dict[str, Any]:
        """Return, in values of JSON, how the frame that was noted last is stored, and what `image` does to it."""
        assert self.orientation is not None
        width, height = square_size(frame.width, frame.height, self.pixel_aspect)
        curve = high_dynamic_range.CURVES.get(frame.color_trc)
        return {
            "stored": [frame.width, frame.height],
            "pixel_aspect": f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}",
            "orientation": str(self.orientation),
            "size": [height, width] if self.orientation.is_transposed else [width, height],
            "colour": _colour(frame),
            "interlaced": frame.interlaced_frame,
            **({"tone_mapped": f"{curve.name} (BT.2100) to the standard range, by BT.2390"} if curve else {}),
            **({"note": _DARK_NOTE} if _BLACK <= self._brightest < _DARK else {}),
        }


def _brightest(frame: "av.VideoFrame") -> int:
    """Return the largest sample of a frame of 16 bits a sample; 0 for other formats."""
    name = frame.format.name
    together = _DEEP.get(name[:-2])
    if together is None or any(plane.line_size < 0 for plane in frame.planes):  # these begin at their last row
        return 0
    samples = np.dtype(">u2" if name.endswith("be") else "<u2")
    planes = (np.frombuffer(memoryview(plane), samples).reshape(plane.height, -1) for plane in frame.planes)
    return max(int(plane[:, : frame.width * together].max()) for plane in planes)  # what is beyond is padding


def _positive(aspect: Fraction | None) -> Fraction:
    """Return an aspect; 1 where it is not known."""
    return Fraction(aspect.numerator, aspect.denominator) if aspect else Fraction(1)


def _colour(frame: "av.VideoFrame") -> str:
    """Return how a frame's colours are coded; FFmpeg takes what is not declared as BT.601, limited range."""
    if frame.format.is_rgb:
        return "RGB"
    is_full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    if len(frame.format.components) < 3:
        return "grey"
    matrix = _MATRICES.get(frame.colorspace, "BT.601, as none is declared")
    return f"{matrix}, {'full' if is_full else 'limited'} range"

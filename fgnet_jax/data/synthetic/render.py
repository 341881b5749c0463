"""A face from who it is, what it shows and how it is looked at."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from fgnet_jax.data.synthetic.features import paint_brow, paint_eye, paint_mouth, paint_nostrils
from fgnet_jax.data.synthetic.frame import SIZE, Frame, View, frame_face
from fgnet_jax.data.synthetic.hair import face_outline, paint_background, paint_behind, paint_hair
from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import blend, soften
from fgnet_jax.data.synthetic.relief import relief
from fgnet_jax.data.synthetic.shape import Shape, face_shape
from fgnet_jax.data.synthetic.skin import paint_skin

_NOISE_TILE = 1024


@dataclasses.dataclass(frozen=True)
class Face:
    """A rendered face.

    Attributes:
      image: (256, 256, 3) uint8 RGB.
      landmarks: (68, 2) float32, x then y in pixels (pixel centres at whole numbers), dlib's numbering; exact.
    """

    image: np.ndarray
    landmarks: np.ndarray


@functools.cache
def _noise() -> np.ndarray:
    """A fixed tile of white noise: drawing it afresh for every picture would take a fifth of the time."""
    return np.random.default_rng(5).standard_normal((_NOISE_TILE, _NOISE_TILE), np.float32)


def _sensor(image: np.ndarray, view: View) -> np.ndarray:
    """Adds noise to planar grey levels (3, SIZE, SIZE): three windows of the tile at random places."""
    rng = np.random.default_rng(view.seed)
    for channel, (row, column) in enumerate(rng.integers(0, _NOISE_TILE - SIZE, (3, 2))):
        image[channel] += view.noise * _noise()[row : row + SIZE, column : column + SIZE]
    return image


def _camera(canvas: np.ndarray, view: View) -> np.ndarray:
    gain = np.array(view.tint, np.float32) * view.exposure * 255 * view.contrast
    image = canvas * gain[:, None, None]
    image += 127.5 * (1 - view.contrast)
    for _ in range(view.blur):
        image = soften(image)
    image = _sensor(image, view)
    np.clip(image, 0, 255, out=image)
    image += 0.5
    return np.ascontiguousarray(image.astype(np.uint8).transpose(1, 2, 0))


def _paint(who: Identity, shape: Shape, frame: Frame, view: View) -> np.ndarray:
    canvas = paint_background(view)
    paint_behind(canvas, who, shape, frame, view)
    outline = face_outline(who, shape, frame)
    blend(canvas, outline, paint_skin(who, shape, relief(who, shape, frame), frame, view, outline.window))
    paint_nostrils(canvas, shape, frame)
    for side, half in zip((-1, 1), shape.halves, strict=True):
        paint_eye(canvas, who, half, side, frame, view)
        paint_brow(canvas, who, half, side, frame)
    paint_mouth(canvas, who, shape, frame, view)
    paint_hair(canvas, who, frame, view)
    return canvas


def render_face(who: Identity, intensities: Mapping[int, float], view: View) -> Face:
    """Draws a face.

    Args:
      who: The person.
      intensities: FACS intensity (0 to 5) per AU number; AUs left out are absent.
      view: Pose, framing, light and camera.

    Raises:
      ValueError: for an AU that the renderer does not know.
    """
    shape = face_shape(who, intensities)
    frame = frame_face(shape, view)
    return Face(_camera(_paint(who, shape, frame, view), view), frame(shape.landmarks))

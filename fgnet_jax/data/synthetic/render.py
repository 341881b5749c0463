"""A face from who it is, what it shows and how it is looked at."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from fgnet_jax.data.synthetic.features import paint_brows, paint_eyes, paint_mouth, paint_nostrils
from fgnet_jax.data.synthetic.hair import face_outline, paint_background, paint_behind, paint_hair
from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import blend, soften
from fgnet_jax.data.synthetic.projection import SIZE, Projection, View, frame_face
from fgnet_jax.data.synthetic.relief import relief
from fgnet_jax.data.synthetic.shape import Shape, face_shape
from fgnet_jax.data.synthetic.skin import paint_skin

_NOISE_TILE = 1024


@dataclasses.dataclass(frozen=True)
class RenderedFace:
    """A rendered face.

    Attributes:
      image: (256, 256, 3) uint8 RGB.
      landmarks: (68, 2) float32, x then y in pixels (pixel centres at whole numbers), dlib's numbering; exact.
    """

    image: np.ndarray
    landmarks: np.ndarray


@functools.cache
def _noise() -> np.ndarray:
    """A fixed tile of white noise: drawing it afresh for every image would take a fifth of the time."""
    return np.random.default_rng(5).standard_normal((_NOISE_TILE, _NOISE_TILE), np.float32)


def _camera(canvas: np.ndarray, view: View) -> np.ndarray:
    """Turns light (3, SIZE, SIZE), which it overwrites, into an image (SIZE, SIZE, 3) uint8: lens, gain and noise."""
    rng = np.random.default_rng(view.seed)
    offset, gain = 127.5 * (1 - view.contrast) + 0.5, view.exposure * 255 * view.contrast
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    for channel, (row, column) in enumerate(rng.integers(0, _NOISE_TILE - SIZE, (3, 2)).tolist()):
        plane = canvas[channel]
        for _ in range(view.blur):
            plane = soften(plane)
        plane *= view.tint[channel] * gain
        plane += _noise()[row : row + SIZE, column : column + SIZE] * view.noise
        plane += offset
        image[..., channel] = np.clip(plane, 0, 255, out=plane)
    return image


def _paint(who: Identity, shape: Shape, frame: Projection, view: View) -> np.ndarray:
    canvas = paint_background(view)
    paint_behind(canvas, who, shape, frame, view)
    outline = face_outline(who, shape, frame)
    blend(canvas, outline, paint_skin(who, shape, relief(who, shape, frame), frame, view, outline.window))
    paint_nostrils(canvas, shape, frame)
    paint_eyes(canvas, who, shape, frame, view)
    paint_brows(canvas, who, shape, frame)
    paint_mouth(canvas, who, shape, frame, view)
    paint_hair(canvas, who, frame, view)
    return canvas


def render_face(who: Identity, intensities: Mapping[int, float], view: View) -> RenderedFace:
    """Draws a face.

    Args:
      who: The person.
      intensities: FACS intensity (0 to 5) per AU number; AUs left out are absent.
      view: Pose, framing, light and camera.

    Raises:
      ValueError: for an AU that the renderer does not know.
    """
    shape = face_shape(who, intensities)
    return render_shape(who, shape, frame_face(shape, view), view)


def render_shape(who: Identity, shape: Shape, frame: Projection, view: View) -> RenderedFace:
    """Draws a face in a given frame; `render_face` frames every face by its own landmarks, as alignment does."""
    return RenderedFace(_camera(_paint(who, shape, frame, view), view), frame(shape.landmarks))

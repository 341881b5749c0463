"""Rendering of a face from an identity, AU intensities and viewing conditions."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from fgnet_jax.data.synthetic.features import paint_brows, paint_eyes, paint_mouth, paint_nostrils
from fgnet_jax.data.synthetic.hair import face_outline, paint_background, paint_behind, paint_hair
from fgnet_jax.data.synthetic.identity import Identity
from fgnet_jax.data.synthetic.paint import blend, soften
from fgnet_jax.data.synthetic.projection import SIZE, PosedFace, View, align_face
from fgnet_jax.data.synthetic.relief import face_relief
from fgnet_jax.data.synthetic.shape import face_shape
from fgnet_jax.data.synthetic.skin import paint_skin

_NOISE_TILE = 1024


@dataclasses.dataclass(frozen=True)
class RenderedFace:
    """A rendered face with its landmarks.

    Attributes:
      image: (256, 256, 3) uint8 RGB.
      landmarks: (68, 2) float32, x then y in pixels (pixel centres at whole numbers), dlib's numbering; exact.
    """

    image: np.ndarray
    landmarks: np.ndarray


@functools.cache
def _noise() -> np.ndarray:
    """Return a fixed tile of white noise: to sample it anew for every image would take a fifth of the time."""
    return np.random.default_rng(5).standard_normal((_NOISE_TILE, _NOISE_TILE), np.float32)


def _camera(canvas: np.ndarray, view: View) -> np.ndarray:
    """Convert light (3, SIZE, SIZE), overwritten, to an image (SIZE, SIZE, 3) uint8: lens, gain and noise."""
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


def _paint(face: PosedFace) -> np.ndarray:
    canvas = paint_background(face.view)
    paint_behind(canvas, face)
    outline = face_outline(face)
    blend(canvas, outline, paint_skin(face, face_relief(face), outline.window))
    paint_nostrils(canvas, face)
    paint_eyes(canvas, face)
    paint_brows(canvas, face)
    paint_mouth(canvas, face)
    paint_hair(canvas, face)
    return canvas


def render_face(identity: Identity, intensities: Mapping[int, float], view: View) -> RenderedFace:
    """Render a face, aligned by its own landmarks.

    Args:
      identity: The subject's looks.
      intensities: FACS intensity (0 to 5) per AU number; AUs left out are absent.
      view: Pose, framing, light and camera.

    Raises:
      ValueError: for an AU that is not in `shape.RENDERED_AUS`.
    """
    shape = face_shape(identity, intensities)
    return render_posed(PosedFace(identity=identity, shape=shape, projection=align_face(shape, view), view=view))


def render_posed(face: PosedFace) -> RenderedFace:
    """Render a face under the projection that it has."""
    return RenderedFace(image=_camera(_paint(face), face.view), landmarks=face.projection(face.shape.landmarks))

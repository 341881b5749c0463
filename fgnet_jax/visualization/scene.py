"""Drawings of a whole image: all faces with their boxes, names and the heatmaps of their present AUs, and a legend.

Heatmaps cover the aligned face, and are warped to the image by the face's `Alignment` (`faces.back_projection`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.back_projection import bounds, warp_to_image
from fgnet_jax.visualization import legend, painting

MIN_SIDE, MAX_SIDE = 640, 1920
"""The least shorter side and the greatest longer side of a drawing, in pixels, without the legend."""

_MIN_TAGGED = 200  # pixels: AU names would hide a smaller face, and the legend has them


@dataclasses.dataclass(frozen=True, eq=False)
class SceneFace:
    """A face to be drawn.

    Attributes:
      name: Its name in the legend.
      box: Left, top, width and height in pixels of the image.
      alignment: Where in the image the aligned face is.
      heatmaps: (h, w, K) in [-1, 1], over the aligned face.
      scores: (K,).
      present: (K,) bool.
    """

    name: str
    box: tuple[float, float, float, float]
    alignment: Alignment
    heatmaps: np.ndarray
    scores: np.ndarray
    present: np.ndarray


def draw(image: np.ndarray, faces: Sequence[SceneFace], aus: Sequence[int]) -> Image.Image:
    """Draw an image with every face's box and present AUs, and the legend to its right.

    Small images are enlarged and large ones shrunk to the size of a screen, so that names stay readable.

    Args:
      image: uint8 (height, width, 3), of any size.
      faces: All of its faces; there may be none.
      aus: The K AU numbers.

    Returns:
      An RGB image; images of one size give drawings of one size, whatever faces are in them.
    """
    height, width = image.shape[:2]
    scale = drawn_scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    unit = min(max(min(size) / MIN_SIDE, 1.0), 2.0)
    stretch = np.array(size) / (width, height)
    largest_first = sorted(faces, key=lambda face: -face.box[2] * face.box[3])
    for face in largest_first:
        _draw_box(canvas, face, stretch, unit)
    for face in largest_first:
        _paint_face(canvas, face, aus=aus, stretch=stretch, unit=unit)
    for face in largest_first:  # on top of everything: they tell whose a column of the legend is
        _draw_name(canvas, face, stretch, unit)
    entries = [legend.LegendEntry(face.name, face.scores, face.present) for face in faces]
    return legend.beside(canvas, aus, entries, scale=unit)


def drawn_scale(width: int, height: int) -> float:
    """Return the factor by which an image of this size is enlarged to be drawn."""
    return min(max(MIN_SIDE / min(width, height), 1.0), MAX_SIDE / max(width, height))


def _paint_face(image: Image.Image, face: SceneFace, *, aus: Sequence[int], stretch: np.ndarray, unit: float) -> None:
    """Paint the present AUs of one face into the drawn image."""
    matrix = face.alignment.matrix * stretch[:, None]
    matrix[:, 2] += 0.5 * stretch - 0.5
    alignment = Alignment(matrix, face.alignment.size)
    left, top, right, bottom = box = bounds(alignment, *image.size)
    side = float(np.hypot(*matrix[:, 0])) * alignment.size
    if right - left > 1 and bottom - top > 1:
        shown = [k for k in range(len(aus)) if face.present[k]]
        maps = warp_to_image(face.heatmaps[..., shown], alignment, *image.size, box)
        part = np.asarray(image.crop(box))
        painted = painting.paint(
            part,
            [maps[..., k] for k in range(len(shown))],
            [aus[k] for k in shown],
            scale=min(max(side / 640, 0.6 * unit), unit),
            tags=side >= _MIN_TAGGED * unit,
        )
        image.paste(painted, box[:2])


def _draw_box(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Outline a face, light on dark."""
    x, y, width, height = (round(float(v)) for v in np.asarray(face.box) * np.tile(stretch, 2))
    thick, radius = _thickness(unit), round(9 * unit)
    pen = ImageDraw.Draw(image)
    for grown, rgb in ((1, painting.BACKGROUND), (0, painting.TEXT), (-1, painting.BACKGROUND)):
        by = grown * thick
        side = (x - by, y - by, max(x + width + by, x - by), max(y + height + by, y - by))
        pen.rounded_rectangle(side, max(radius + by, 0), outline=rgb, width=thick)


def _draw_name(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Write a face's name above its outline."""
    if not face.name:
        return
    x, y = (round(float(v)) for v in np.asarray(face.box[:2]) * stretch)
    tag_width, tag_height = round((20 + 12 * len(face.name)) * unit), round(28 * unit)
    left = min(max(x, 0), max(image.width - tag_width, 0))
    top = min(max(y - tag_height - 2 * _thickness(unit), 0), max(image.height - tag_height, 0))
    box = (left, top, left + tag_width, top + tag_height)
    painting.tag(image, box, text=face.name, rgb=painting.TEXT, scale=unit)


def _thickness(unit: float) -> int:
    return max(1, round(1.5 * unit))

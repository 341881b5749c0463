"""What was seen, laid back on the whole image: heatmaps in its own pixels, their peaks, and drawings of all faces.

An aligned face's heatmap lies over that face; the face's `Alignment` says where in the image it was cut out. As in
training (`heatmaps.targets`), a heatmap's pixel (x, y) lies at (x, y) of the aligned face times the ratio of the sides.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.back_projection import bounds, warp_to_image
from fgnet_jax.visualization import legend, painting

MIN_SIDE, MAX_SIDE = 640, 1920
"""Images are drawn with their shorter side at least the one and their longer side at most the other, in pixels."""

_MIN_TAGGED = 200  # pixels of a drawn face below which names would hide it: the legend has them


@dataclasses.dataclass(frozen=True, eq=False)
class SceneFace:
    """A face to be drawn.

    Attributes:
      name: What the legend calls it.
      box: Left, top, width and height in pixels of the image.
      alignment: Where its heatmaps lie.
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
    """Draws an image with every face's box and present AUs, and the legend to its right.

    Small images are enlarged and large ones shrunk to what a screen shows, so that names stay readable.

    Args:
      image: uint8 (height, width, 3), of any size.
      faces: All faces, none included.
      aus: The K AU numbers.

    Returns:
      An RGB image; images of one size give drawings of one size, whatever faces are there.
    """
    height, width = image.shape[:2]
    scale = drawn_scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    unit = min(max(min(size) / MIN_SIDE, 1.0), 2.0)
    stretch = np.array(size) / (width, height)
    largest_first = sorted(faces, key=lambda one: -one.box[2] * one.box[3])
    for face in largest_first:
        _box(canvas, face, stretch, unit)
    for face in largest_first:
        _face(canvas, face, aus, stretch, unit)
    for face in largest_first:  # over everything: the legend is read by them
        _name(canvas, face, stretch, unit)
    entries = [legend.LegendEntry(face.name, face.scores, face.present) for face in faces]
    return legend.beside(canvas, aus, entries, unit)


def drawn_scale(width: int, height: int) -> float:
    """By how much an image of this size is enlarged to be drawn."""
    return min(max(MIN_SIDE / min(width, height), 1.0), MAX_SIDE / max(width, height))


def _face(image: Image.Image, face: SceneFace, aus: Sequence[int], stretch: np.ndarray, unit: float) -> None:
    """Paints one face into the drawn image."""
    matrix = face.alignment.matrix * stretch[:, None]
    matrix[:, 2] += 0.5 * stretch - 0.5
    alignment = Alignment(matrix, face.alignment.size)
    left, top, right, bottom = box = bounds(alignment, *image.size)
    side = float(np.hypot(*matrix[:, 0])) * alignment.size
    if right - left > 1 and bottom - top > 1:
        seen = [k for k in range(len(aus)) if face.present[k]]
        maps = warp_to_image(face.heatmaps[..., seen], alignment, *image.size, box)
        part = np.asarray(image.crop(box))
        names = [aus[k] for k in seen]
        scale = min(max(side / 640, 0.6 * unit), unit)
        painted = painting.paint(
            part, [maps[..., k] for k in range(len(seen))], names, scale, side >= _MIN_TAGGED * unit
        )
        image.paste(painted, box[:2])


def _box(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Outlines a face, light on dark."""
    x, y, width, height = (round(float(v)) for v in np.asarray(face.box) * np.tile(stretch, 2))
    thick, radius = _thickness(unit), round(9 * unit)
    pen = ImageDraw.Draw(image)
    for grown, rgb in ((1, painting.BACKGROUND), (0, painting.TEXT), (-1, painting.BACKGROUND)):
        by = grown * thick
        side = (x - by, y - by, max(x + width + by, x - by), max(y + height + by, y - by))
        pen.rounded_rectangle(side, max(radius + by, 0), outline=rgb, width=thick)


def _name(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Writes a face's name above its outline."""
    if not face.name:
        return
    x, y = (round(float(v)) for v in np.asarray(face.box[:2]) * stretch)
    wide, high = round((20 + 12 * len(face.name)) * unit), round(28 * unit)
    left = min(max(x, 0), max(image.width - wide, 0))
    top = min(max(y - high - 2 * _thickness(unit), 0), max(image.height - high, 0))
    painting.tag(image, (left, top, left + wide, top + high), face.name, painting.TEXT, unit)


def _thickness(unit: float) -> int:
    return max(1, round(1.5 * unit))

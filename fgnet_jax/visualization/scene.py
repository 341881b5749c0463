"""Drawings of a whole image: all faces with their boxes, names and the heatmaps of their present AUs, and a legend.

Heatmaps cover the aligned face, and are warped to the image by the face's `Alignment` (`faces.back_projection`). Labels
never cover each other. An image far wider or higher than a screen, in which faces are specks when all of it is shown,
has a sheet of its largest faces (`face_sheet`) instead of the legend: below it, or to its right.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.back_projection import bounds, warp_to_image
from fgnet_jax.visualization import face_sheet, legend, painting
from fgnet_jax.visualization.labels import LabelPlaces, Rectangle
from fgnet_jax.visualization.painting import Tag

MIN_SIDE, MAX_SIDE = 640, 1920
"""The least shorter side and the greatest longer side of a drawing, in pixels, without the legend.

An image of more than `MAX_ASPECT` is longer, so that it has as many pixels as others.
"""

MAX_ASPECT = 2.4
"""Longer side by shorter side above which an image has a sheet of faces."""

_AREA, _LONGEST = 1920 * 1080, 8192  # pixels of a drawing of such an image
_MIN_TAGGED = 200  # pixels: AU names would hide a smaller face, and the legend has them
_TILE_MARGIN = 1.6  # side of a face's tile, in longer sides of its box


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
      intensities: (K,), 0 to 5, NaN for an AU without one; None where none is known.
    """

    name: str
    box: tuple[float, float, float, float]
    alignment: Alignment
    heatmaps: np.ndarray
    scores: np.ndarray
    present: np.ndarray
    intensities: np.ndarray | None = None

    def entry(self, image: Image.Image | None = None) -> legend.LegendEntry:
        """Return the face as the legend has it, with its image for a sheet of faces."""
        return legend.LegendEntry(self.name, self.scores, self.present, image, self.intensities)


def draw(image: np.ndarray, faces: Sequence[SceneFace], aus: Sequence[int]) -> Image.Image:
    """Draw an image with every face's box and present AUs, and the legend to its right.

    Small images are enlarged and large ones shrunk to the size of a screen, so that names stay readable. The legend has
    the largest faces, and says how many others there are.

    Args:
      image: uint8 (height, width, 3), of any size.
      faces: All of its faces; there may be none.
      aus: The K AU numbers.

    Returns:
      An RGB image; images of one size give drawings of one size, whatever faces are in them.
    """
    height, width = image.shape[:2]
    canvas = draw_faces(image, faces, aus)
    unit = _unit(canvas.size)
    if max(width, height) > MAX_ASPECT * min(width, height):
        return _with_sheet(canvas, image, faces, aus)
    shown = _largest(faces, legend.MAX_FACES)
    entries = [face.entry() for face in shown]
    return legend.beside(canvas, aus, entries, scale=unit, more=len(faces) - len(shown))


def draw_faces(image: np.ndarray, faces: Sequence[SceneFace], aus: Sequence[int]) -> Image.Image:
    """Draw the image of `draw` without its legend: the width and height of the original, times `drawn_scale`."""
    height, width = image.shape[:2]
    scale = drawn_scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    unit, stretch = _unit(size), np.array(size) / (width, height)
    largest_first = sorted(faces, key=lambda face: -_area(face))
    for face in largest_first:
        _draw_box(canvas, face, stretch, unit)
    tags = [tag for face in largest_first for tag in _paint_face(canvas, face, aus=aus, stretch=stretch, unit=unit)]
    places = LabelPlaces(size, [_rectangle(face, stretch) for face in faces])
    names = [(face, _name_place(face, places, stretch, unit)) for face in largest_first]
    painting.write_tags(canvas, tags, LabelPlaces(size, taken=places.taken))
    for face, place in names:  # on top of everything: they tell whose a column of the legend is
        _draw_name(canvas, face, place, stretch, unit)
    return canvas


def drawn_scale(width: int, height: int) -> float:
    """Return the factor by which an image of this size is enlarged to be drawn."""
    longer, shorter = max(width, height), min(width, height)
    largest = MAX_SIDE / longer
    if longer > MAX_ASPECT * shorter:
        largest = max(largest, min((_AREA / (width * height)) ** 0.5, _LONGEST / longer))
    return min(max(MIN_SIDE / shorter, 1.0), largest)


def _unit(size: tuple[int, int]) -> float:
    """Return the size of letters and lines in a drawing; 1 suits one of 640 pixels."""
    return min(max(min(size) / MIN_SIDE, 1.0), 2.0)


def _area(face: SceneFace) -> float:
    return face.box[2] * face.box[3]


def _largest(faces: Sequence[SceneFace], count: int) -> list[SceneFace]:
    """Return the largest faces, in the order of all."""
    chosen = sorted(range(len(faces)), key=lambda k: -_area(faces[k]))[:count]
    return [faces[k] for k in sorted(chosen)]


def _with_sheet(canvas: Image.Image, image: np.ndarray, faces: Sequence[SceneFace], aus: Sequence[int]) -> Image.Image:
    """Put a sheet of the largest faces below a drawing that is wide, or to the right of one that is high."""
    is_wide, unit = canvas.width > canvas.height, min(max(max(canvas.size) / MAX_SIDE, 1.0), 2.0)
    row = face_sheet.height(len(aus), unit)
    if is_wide:
        size = (canvas.width, row)
    else:
        size = (face_sheet.width(legend.MAX_FACES, unit), max(canvas.height, row))
    room = face_sheet.columns(size[0], unit) * max(1, size[1] // row)
    shown = _largest(faces, room)
    side = face_sheet.TILE * (8 if len(shown) <= legend.MAX_FACES else 2)
    entries = [face.entry(_tile(image, face, aus, side)) for face in shown]
    sheet = face_sheet.draw(aus, entries, size=size, scale=unit, more=len(faces) - len(shown))
    corner = (0, canvas.height) if is_wide else (canvas.width, 0)
    whole = Image.new("RGB", (corner[0] + sheet.width, corner[1] + sheet.height), painting.BACKGROUND)
    whole.paste(canvas, (0, 0))
    whole.paste(sheet, corner)
    return whole


def _tile(image: np.ndarray, face: SceneFace, aus: Sequence[int], drawn: int) -> Image.Image:
    """Cut a face out of the original, so many pixels wide, with its present AUs."""
    x, y, width, height = face.box
    side = max(width, height, 1.0) * _TILE_MARGIN
    left, top = x + (width - side) / 2, y + (height - side) / 2
    scale = drawn / side
    area = (left, top, left + side, top + side)
    tile = Image.fromarray(image).transform(
        (drawn, drawn), Image.Transform.EXTENT, area, Image.Resampling.BICUBIC, fillcolor=painting.BACKGROUND
    )
    matrix = face.alignment.matrix * scale
    matrix[:, 2] += (0.5 - np.array((left, top))) * scale - 0.5  # corners of pixels are where `area` counts from
    moved = dataclasses.replace(face, alignment=Alignment(matrix, face.alignment.size))
    tags = _paint_face(tile, moved, aus=aus, stretch=np.ones(2), unit=max(1.0, drawn / MIN_SIDE))
    if drawn > MIN_SIDE:
        painting.write_tags(tile, tags, LabelPlaces(tile.size))
    return tile


def _paint_face(
    image: Image.Image, face: SceneFace, *, aus: Sequence[int], stretch: np.ndarray, unit: float
) -> list[Tag]:
    """Paint the present AUs of one face into the drawn image, and return their tags, which are yet to be written."""
    matrix = face.alignment.matrix * stretch[:, None]
    matrix[:, 2] += 0.5 * stretch - 0.5
    alignment = Alignment(matrix, face.alignment.size)
    left, top, right, bottom = box = bounds(alignment, *image.size)
    side = float(np.hypot(*matrix[:, 0])) * alignment.size
    shown = [k for k in range(len(aus)) if face.present[k]]
    if right - left <= 1 or bottom - top <= 1 or not shown:
        return []
    maps = list(np.moveaxis(warp_to_image(face.heatmaps[..., shown], alignment, *image.size, box), -1, 0))
    numbers, scale = [aus[k] for k in shown], min(max(side / 640, 0.6 * unit), unit)
    part = np.asarray(image.crop(box))
    image.paste(painting.paint(part, maps, numbers, scale=scale, tags=False), box[:2])
    if side < _MIN_TAGGED * unit:
        return []
    return painting.peaks(maps, numbers, scale=scale, corner=box[:2])


def _rectangle(face: SceneFace, stretch: np.ndarray) -> Rectangle:
    """Return a face's box in the drawing."""
    x, y, width, height = (round(float(v)) for v in np.asarray(face.box) * np.tile(stretch, 2))
    return x, y, x + width, y + height


def _draw_box(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Outline a face, light on dark."""
    x, y, width, height = (round(float(v)) for v in np.asarray(face.box) * np.tile(stretch, 2))
    unit = _name_scale(face, stretch, unit)
    thick, radius = _thickness(unit), round(9 * unit)
    pen = ImageDraw.Draw(image)
    for grown, rgb in ((1, painting.BACKGROUND), (0, painting.TEXT), (-1, painting.BACKGROUND)):
        by = grown * thick
        side = (x - by, y - by, max(x + width + by, x - by), max(y + height + by, y - by))
        pen.rounded_rectangle(side, max(radius + by, 0), outline=rgb, width=thick)


def _name_place(face: SceneFace, places: LabelPlaces, stretch: np.ndarray, unit: float) -> Rectangle | None:
    """Find a place for a face's name: above its outline, or else below or beside it, or near."""
    if not face.name:
        return None
    left, top, right, bottom = _rectangle(face, stretch)
    scale, gap = _name_scale(face, stretch, unit), 2 * _thickness(unit)
    width, height = round((20 + 12 * len(face.name)) * scale), round(28 * scale)
    above, below = top - height - gap, bottom + gap
    return places.take(
        (width, height),
        [(left, above), (right - width, above), (left, below), (right - width, below)]
        + [(x, y) for x in (right + gap, left - width - gap) for y in (top, bottom - height)],
    )


def _name_scale(face: SceneFace, stretch: np.ndarray, unit: float) -> float:
    """Return the size of a face's name: smaller on small faces, which stand close together."""
    return unit * min(max(face.box[2] * float(stretch[0]) / (90 * unit), 0.55), 1.0)


def _draw_name(image: Image.Image, face: SceneFace, place: Rectangle | None, stretch: np.ndarray, unit: float) -> None:
    """Write a face's name at its place, with a line to a face that is elsewhere."""
    if place is None:
        return
    left, top, right, bottom = _rectangle(face, stretch)
    near = 3 * _thickness(unit)
    is_beside = left - near <= place[2] and place[0] <= right + near and top - near <= place[3]
    if not (is_beside and place[1] <= bottom + near):
        middle = ((place[0] + place[2]) // 2, (place[1] + place[3]) // 2)
        ImageDraw.Draw(image).line((*middle, (left + right) // 2, top), painting.TEXT, _thickness(unit))
    painting.tag(image, place, text=face.name, rgb=painting.TEXT, scale=_name_scale(face, stretch, unit))


def _thickness(unit: float) -> int:
    return max(1, round(1.5 * unit))

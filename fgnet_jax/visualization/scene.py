"""What was seen, laid back on the whole picture: heatmaps in its own pixels, their peaks, and drawings of all faces.

An aligned face's heatmap lies over that face; the face's `Alignment` says where in the picture it was cut out. As in
training (`heatmaps.targets`), a heatmap's pixel (x, y) lies at (x, y) of the aligned face times the ratio of the sides.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from fgnet_jax.visualization import painting as brushes, legend as legends
from fgnet_jax.faces.alignment import Alignment

MIN_SIDE, MAX_SIDE = 640, 1920
"""Pictures are drawn with their shorter side at least the one and their longer side at most the other, in pixels."""

_MIN_TAGGED = 200  # pixels of a drawn face below which names would hide it: the legend has them
_BLUR = 1 / 64  # of a heatmap's side, when its peak is looked for
_TOP = 0.97  # of its height: what counts as a peak's top


@dataclasses.dataclass(frozen=True, eq=False)
class SceneFace:
    """A face to be drawn.

    Attributes:
      name: What the legend calls it.
      box: Left, top, width and height in pixels of the picture.
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


def draw(picture: np.ndarray, faces: Sequence[SceneFace], aus: Sequence[int]) -> Image.Image:
    """Draws a picture with every face's box and present AUs, and the legend to its right.

    Small pictures are enlarged and large ones shrunk to what a screen shows, so that names stay readable.

    Args:
      picture: uint8 (height, width, 3), of any size.
      faces: All faces, none included.
      aus: The K AU numbers.

    Returns:
      An RGB picture; pictures of one size give drawings of one size, whatever faces are there.
    """
    height, width = picture.shape[:2]
    scale = drawn_scale(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
    unit = min(max(min(size) / MIN_SIDE, 1.0), 2.0)
    stretch = np.array(size) / (width, height)
    largest_first = sorted(faces, key=lambda one: -one.box[2] * one.box[3])
    for face in largest_first:
        _box(image, face, stretch, unit)
    for face in largest_first:
        _face(image, face, aus, stretch, unit)
    for face in largest_first:  # over everything: the legend is read by them
        _name(image, face, stretch, unit)
    entries = [legends.Entry(face.name, face.scores, face.present) for face in faces]
    return legends.beside(image, aus, entries, unit)


def drawn_scale(width: int, height: int) -> float:
    """By how much a picture of this size is enlarged to be drawn."""
    return min(max(MIN_SIDE / min(width, height), 1.0), MAX_SIDE / max(width, height))


def lay_back(
    heatmaps: np.ndarray, alignment: Alignment, width: int, height: int, within: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """Heatmaps of an aligned face in pixels of its picture.

    Args:
      heatmaps: (h, w, K).
      alignment: Where the aligned face lies in the picture.
      width: Of the picture.
      height: Of the picture.
      within: Left, top, right and bottom of the part that is wanted; None for the whole picture.

    Returns:
      float32 (height, width, K), bilinear; 0 outside of the face's square.
    """
    left, top, right, bottom = within or (0, 0, width, height)
    matrix = _to_heatmap(alignment, heatmaps.shape[0], np.array((left, top))).ravel().tolist()
    size = right - left, bottom - top
    maps = [Image.fromarray(np.ascontiguousarray(heatmaps[..., k], np.float32)) for k in range(heatmaps.shape[-1])]
    laid = [one.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR) for one in maps]
    return np.stack([np.asarray(one) for one in laid], -1) if laid else np.zeros((*size[::-1], 0), np.float32)


def bounds(alignment: Alignment, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that a face's square covers."""
    corners = alignment.corners()
    first = np.clip(np.floor(corners.min(0)).astype(int), 0, (width, height))
    last = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, (width, height))
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def peaks(heatmaps: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Where each heatmap is highest, in pixels of the picture.

    Maps are clipped at 1, and the middle of a flat top is meant: of the largest region about as high as the highest
    place, the centre of mass, after a little blur. It lies between pixels.

    Args:
      heatmaps: (h, w, K) of an aligned face.
      alignment: Where that lies in the picture.

    Returns:
      float64 (K, 2), x then y; NaN for a map that is nowhere above 0.
    """
    side = heatmaps.shape[0]
    places = np.full((heatmaps.shape[-1], 2), np.nan)
    for k in range(heatmaps.shape[-1]):
        soft = np.asarray(ndimage.gaussian_filter(heatmaps[..., k].astype(np.float64), side * _BLUR))
        if soft.max() > 0:
            places[k] = _peak(soft)
    return alignment.to_picture(places * (alignment.size / side))


def _peak(heatmap: np.ndarray) -> tuple[float, float]:
    """Column and row of the highest place; of a top of a few pixels, by a parabola along each axis."""
    lowest = _TOP * heatmap.max()
    regions = np.zeros(heatmap.shape, np.int32)
    ndimage.label(heatmap >= lowest, output=regions)
    rows, columns = np.nonzero(regions == 1 + int(np.argmax(np.bincount(regions.ravel())[1:])))
    if len(rows) > 8:
        weights = heatmap[rows, columns] - lowest + 1e-6
        return float(np.average(columns, weights=weights)), float(np.average(rows, weights=weights))
    row, column = (int(i) for i in np.unravel_index(np.argmax(heatmap), heatmap.shape))
    return column + _vertex(heatmap[row], column), row + _vertex(heatmap[:, column], row)


def _vertex(line: np.ndarray, at: int) -> float:
    """How far from a highest pixel a parabola through it and its neighbours is highest."""
    if not 0 < at < len(line) - 1:
        return 0.0
    before, here, after = line[at - 1 : at + 2]
    bend = before - 2 * here + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _to_heatmap(alignment: Alignment, side: int, origin: np.ndarray) -> np.ndarray:
    """(2, 3): from a picture's part that begins at `origin` to the heatmap, both with edges at whole numbers."""
    inverse = np.linalg.inv(alignment.matrix[:, :2]) * (side / alignment.size)
    offset = inverse @ (origin - 0.5 - alignment.matrix[:, 2]) + 0.5
    return np.concatenate([inverse, offset[:, None]], 1)


def _face(image: Image.Image, face: SceneFace, aus: Sequence[int], stretch: np.ndarray, unit: float) -> None:
    """Paints one face into the drawn picture."""
    matrix = face.alignment.matrix * stretch[:, None]
    matrix[:, 2] += 0.5 * stretch - 0.5
    alignment = Alignment(matrix, face.alignment.size)
    left, top, right, bottom = box = bounds(alignment, *image.size)
    side = float(np.hypot(*matrix[:, 0])) * alignment.size
    if right - left > 1 and bottom - top > 1:
        seen = [k for k in range(len(aus)) if face.present[k]]
        maps = lay_back(face.heatmaps[..., seen], alignment, *image.size, box)
        part = np.asarray(image.crop(box))
        names = [aus[k] for k in seen]
        scale = min(max(side / 640, 0.6 * unit), unit)
        painted = brushes.paint(
            part, [maps[..., k] for k in range(len(seen))], names, scale, side >= _MIN_TAGGED * unit
        )
        image.paste(painted, box[:2])


def _box(image: Image.Image, face: SceneFace, stretch: np.ndarray, unit: float) -> None:
    """Outlines a face, light on dark."""
    x, y, width, height = (round(float(v)) for v in np.asarray(face.box) * np.tile(stretch, 2))
    thick, radius = _thickness(unit), round(9 * unit)
    pen = ImageDraw.Draw(image)
    for grown, rgb in ((1, brushes.BACKGROUND), (0, brushes.TEXT), (-1, brushes.BACKGROUND)):
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
    brushes.tag(image, (left, top, left + wide, top + high), face.name, brushes.TEXT, unit)


def _thickness(unit: float) -> int:
    return max(1, round(1.5 * unit))

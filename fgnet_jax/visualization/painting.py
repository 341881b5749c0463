"""Painting AUs over an image: a colour for every AU, heatmaps as tints, with rings and names.

Every AU has one colour everywhere (`COLOURS`). A present AU's positive heatmap tints the face, more strongly the higher
it is; a ring marks where it falls to a share of its own peak, and a tag names it at the peak. AUs at the same place
(12, 14, 15; 23, 24, 25) get rings of different widths, so that none hides another.
"""

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from fgnet_jax import aus as aus_lib
from fgnet_jax.visualization.labels import LabelPlaces

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

COLOURS: dict[int, Colour] = {
    1: (255, 77, 77),
    2: (255, 160, 0),
    4: (255, 225, 77),
    6: (105, 210, 60),
    7: (0, 184, 148),
    9: (200, 150, 255),
    10: (141, 92, 255),
    12: (46, 168, 255),
    14: (255, 110, 200),
    15: (190, 255, 26),
    17: (255, 138, 101),
    23: (0, 229, 255),
    24: (255, 40, 150),
    25: (154, 255, 214),
    26: (217, 160, 102),
}
"""An RGB colour for every AU of BP4D and DISFA; those of neighbours on the face differ most."""

BACKGROUND: Colour = (18, 20, 24)
TEXT: Colour = (240, 242, 245)
DIM: Colour = (128, 134, 144)
LINE: Colour = (58, 62, 70)
"""Colours of overlays and legends, on dark."""

_TINT = 0.6  # opacity of a heatmap's peak
_TAG = (66, 28)  # width and height of a tag


def colour(au: int) -> Colour:
    """Return the RGB colour of an AU; for one that `COLOURS` lacks, a distinct hue computed from its number."""
    if au in COLOURS:
        return COLOURS[au]
    red, green, blue = colorsys.hsv_to_rgb(au * 0.618034 % 1, 0.7, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def paint(
    image: np.ndarray, heatmaps: Sequence[np.ndarray], aus: Sequence[int], *, scale: float = 1.0, tags: bool = True
) -> Image.Image:
    """Paint AUs over an image of a face: tints, rings, and names at the peaks.

    Args:
      image: uint8 (height, width, 3).
      heatmaps: A map (height, width) for each AU.
      aus: Their numbers.
      scale: Size of rings and names; 1 suits a face of 640 pixels.
      tags: Whether to write the names.
    """
    colours = [colour(au) for au in aus]
    painted = Image.fromarray(_rings(tint(image, heatmaps, colours), heatmaps, colours, scale))
    if tags:
        write_tags(painted, peaks(heatmaps, aus, scale=scale, corner=(0, 0)), LabelPlaces(painted.size))
    return painted


def tint(image: np.ndarray, heatmaps: Sequence[np.ndarray], colours: Sequence[Colour]) -> np.ndarray:
    """Tint an image with coloured heatmaps.

    Args:
      image: uint8 (height, width, 3).
      heatmaps: Maps (height, width); their negative parts are not drawn.
      colours: One RGB colour per map; where maps overlap, their colours mix by strength.

    Returns:
      uint8 (height, width, 3).
    """
    if not heatmaps:
        return image
    mixed = np.zeros(image.shape, np.float32)
    shares, strongest = np.full(image.shape[:2], 1e-9, np.float32), np.zeros(image.shape[:2], np.float32)
    for heatmap, rgb in zip(heatmaps, colours, strict=True):
        strength = np.clip(heatmap, 0, 1).astype(np.float32, copy=False)
        share = strength * strength * strength  # the cube lets the stronger map's colour win over a grey mixture
        mixed += share[..., None] * np.array(rgb, np.float32)
        shares += share
        np.maximum(strongest, strength, out=strongest)
    opacity = (_TINT * strongest * strongest)[..., None]
    return np.rint(image * (1 - opacity) + mixed * (opacity / shares[..., None])).astype(np.uint8)


def _rings(image: np.ndarray, heatmaps: Sequence[np.ndarray], colours: Sequence[Colour], scale: float) -> np.ndarray:
    """Draw around each map the line where it falls to a share of its peak, a different share for every map."""
    drawn = image.copy()
    for heatmap, rgb, share in zip(heatmaps, colours, np.linspace(0.7, 0.9, len(heatmaps)), strict=True):
        line = share * heatmap.max()
        rows, columns = _slices_around(heatmap > 0.9 * line)
        part = heatmap[rows, columns]
        if line <= 0 or min(part.shape) < 2:
            continue
        down, across = np.gradient(part)
        # Distance from the line in pixels, to first order: an antialiased line of the same width at any slope.
        distance = np.abs(part - line) / (np.hypot(down, across) + 1e-6)
        opacity = np.clip(max(2.0 * scale, 1.2) - distance, 0, 1)[..., None]
        drawn[rows, columns] = np.rint(drawn[rows, columns] * (1 - opacity) + np.array(rgb, np.float32) * opacity)
    return drawn


def _slices_around(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that contain all of a mask, and four more on each side."""
    ends = []
    for axis in (1, 0):
        marked = np.flatnonzero(mask.any(axis))
        ends.append(slice(max(marked[0] - 4, 0), marked[-1] + 5) if len(marked) else slice(0, 0))
    return ends[0], ends[1]


@dataclasses.dataclass(frozen=True)
class Tag:
    """An AU's name to be written: the AU, the place of its heatmap's peak in the drawing, and the size of letters."""

    au: int
    at: tuple[int, int]
    scale: float


def peaks(heatmaps: Sequence[np.ndarray], aus: Sequence[int], *, scale: float, corner: tuple[int, int]) -> list[Tag]:
    """Return the tags of AUs at the peaks of their heatmaps.

    Args:
      heatmaps: A map (height, width) for each AU.
      aus: Their numbers.
      scale: Size of the tags.
      corner: Where in the drawing the maps begin.
    """
    places = [_peak(heatmap) for heatmap in heatmaps]
    return [Tag(au, (corner[0] + x, corner[1] + y), scale) for au, (x, y) in zip(aus, places, strict=True)]


def write_tags(image: Image.Image, tags: Sequence[Tag], places: LabelPlaces) -> None:
    """Write AUs' names at their peaks, moved to where they cover no other; a line leads from one that is far away.

    Args:
      image: The drawing.
      tags: The names; one for which there is no place is left out: the legend has it.
      places: What labels have taken already, to which these are added.
    """
    placed = []
    for item in tags:
        (x, y), (width, height) = item.at, (round(item.scale * side) for side in _TAG)
        box = places.take((width, height), [(x - width // 2, y - height // 2)])
        if box is not None:
            placed.append((item, box))
    pen = ImageDraw.Draw(image)
    for item, box in placed:
        if not (box[0] <= item.at[0] <= box[2] and box[1] <= item.at[1] <= box[3]):
            middle = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
            pen.line((*item.at, *middle), colour(item.au), max(1, round(1.5 * item.scale)))
    for item, box in placed:
        tag(image, box, text=aus_lib.label(item.au), rgb=colour(item.au), scale=item.scale)


def _peak(heatmap: np.ndarray) -> tuple[int, int]:
    """Return column and row of a map's peak; blurred before, since maps clipped at 1 have flat peaks: their middle."""
    step = max(1, max(heatmap.shape) // 80)
    coarse = ndimage.gaussian_filter(heatmap[::step, ::step], max(heatmap.shape) / step / 27)
    row, column = np.unravel_index(np.argmax(coarse), coarse.shape)
    return step * int(column), step * int(row)


def tag(image: Image.Image, box: tuple[int, int, int, int], *, text: str, rgb: Colour, scale: float) -> None:
    """Write dark text on a coloured tag with a dark rim."""
    left, top, right, bottom = box
    rounded(image, box, round(8 * scale), BACKGROUND)
    rim = max(1, round(scale))
    rounded(image, (left + rim, top + rim, right - rim, bottom - rim), round(7 * scale), rgb)
    middle = (left + right) // 2, (top + bottom) // 2
    ImageDraw.Draw(image).text(middle, text, BACKGROUND, font(21 * scale), anchor="mm")


def rounded(image: Image.Image, box: tuple[int, int, int, int], radius: int, rgb: Colour) -> None:
    """Fill a rounded rectangle with smooth edges, which Pillow's own lacks: drawn four times as large, then shrunk."""
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < 1:
        return
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, 255)
    image.paste(rgb, (box[0], box[1]), mask.resize((width, height), Image.Resampling.BOX))


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load Pillow's own typeface, which every system has, in a size in pixels, 8 at least."""
    return ImageFont.load_default(max(8, round(size)))

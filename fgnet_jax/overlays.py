"""Drawing what was seen: a face with the heatmaps of its present AUs over it, and a legend of all AUs beside it.

Every AU has one colour everywhere (`COLOURS`). A present AU's positive heatmap tints the face, the more the stronger it
is; a ring marks where it falls to a share of its own peak, and a tag names it at the peak. AUs that share their places
(12, 14, 15; 23, 24, 25) get rings of different widths, so that none hides another.
"""

import colorsys
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from fgnet_jax import aus as aus_lib

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
"""An RGB colour for every AU that either corpus trains; neighbours on the face differ most."""

FACE_SIDE = 640
"""Faces are drawn at this side in pixels, whatever the network's size, so that names stay readable."""

_LEGEND_WIDTH = 440
_ROW_HEIGHT = 48
_TINT = 0.6  # opacity of a heatmap's peak
_FULL_BAR = 0.3  # what a score reaches where both of an AU's blobs stand in full
_BACKGROUND, _TEXT, _DIM, _LINE = (18, 20, 24), (240, 242, 245), (128, 134, 144), (58, 62, 70)


def colour(au: int) -> Colour:
    """The RGB colour of an AU; one of its own, spread over the hues, for an AU that `COLOURS` lacks."""
    if au in COLOURS:
        return COLOURS[au]
    red, green, blue = colorsys.hsv_to_rgb(au * 0.618034 % 1, 0.7, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    picture: np.ndarray, heatmaps: np.ndarray, scores: np.ndarray, present: np.ndarray, aus: Sequence[int]
) -> Image.Image:
    """Draws one face with its present AUs, and the legend to its right.

    Args:
      picture: uint8 (height, width, 3), square.
      heatmaps: float (h, w, K) in [-1, 1], over the whole picture.
      scores: (K,) in [-1, 1].
      present: (K,) bool.
      aus: The K AU numbers.

    Returns:
      An RGB picture, at least `FACE_SIDE` high.
    """
    side = FACE_SIDE
    face = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))
    seen = [k for k in range(len(aus)) if present[k]]
    maps = [_enlarge(heatmaps[..., k], side) for k in seen]
    colours = [colour(aus[k]) for k in seen]
    tinted = Image.fromarray(_rings(tint(face, maps, colours), maps, colours))
    _tags(tinted, maps, [aus[k] for k in seen])
    canvas = Image.new("RGB", (side + _LEGEND_WIDTH, max(side, _ROW_HEIGHT * (len(aus) + 1))), _BACKGROUND)
    canvas.paste(tinted, (0, (canvas.height - side) // 2))
    _legend(canvas, side, scores, present, aus)
    return canvas


def tint(picture: np.ndarray, heatmaps: Sequence[np.ndarray], colours: Sequence[Colour]) -> np.ndarray:
    """Lays coloured heatmaps over a picture.

    Args:
      picture: uint8 (height, width, 3).
      heatmaps: Maps (height, width); their negative parts are not drawn.
      colours: One RGB colour a map; where maps overlap, their colours mix by strength.

    Returns:
      uint8 (height, width, 3).
    """
    if not heatmaps:
        return picture
    strengths = np.clip(np.stack(heatmaps), 0, 1)
    shares = strengths**3  # the cube lets the stronger map's colour win instead of mixing everything to grey
    mixed = np.tensordot(shares, np.array(colours, np.float32), ((0,), (0,)))
    mixed /= np.maximum(shares.sum(0), 1e-9)[..., None]
    opacity = _TINT * (strengths.max(0) ** 2)[..., None]
    return np.rint(picture * (1 - opacity) + mixed * opacity).astype(np.uint8)


def file_names(sources: Sequence[str]) -> list[str]:
    """Names of PNG files for pictures, in the same order, all different on any file system.

    `a/smile.jpg` gives `smile.png`; where several sources would share that, folders are put in front (`a-smile.png`,
    `b-smile.png`), and what is still equal (one picture given twice) is numbered.
    """
    names = [_name(source, 1) for source in sources]
    for depth in (2, 3):
        counts: dict[str, int] = {}
        for name in names:
            counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
        names = [
            _name(source, depth) if counts[name.casefold()] > 1 else name
            for source, name in zip(sources, names, strict=True)
        ]
    taken: set[str] = set()
    return [f"{_number(name, taken)}.png" for name in names]


def _name(source: str, depth: int) -> str:
    """The last `depth` parts of a path, joined, without the ending; cut to what every file system takes."""
    parts = [part for part in os.path.splitext(source)[0].split(os.sep) if part not in ("", ".", "..")]
    name = "-".join(parts[-depth:]) or "picture"
    return name if len(os.fsencode(name)) <= 200 else name[-50:]


def _number(name: str, taken: set[str]) -> str:
    """`name`, or `name-2`, `name-3`, … where that is taken; marks it as taken."""
    candidate, count = name, 1
    while candidate.casefold() in taken:
        count += 1
        candidate = f"{name}-{count}"
    taken.add(candidate.casefold())
    return candidate


def _enlarge(heatmap: np.ndarray, side: int) -> np.ndarray:
    """A heatmap at the size of the drawn face, smooth enough for rings."""
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def _rings(picture: np.ndarray, heatmaps: Sequence[np.ndarray], colours: Sequence[Colour]) -> np.ndarray:
    """Draws around each map the line where it falls to a share of its peak, another share for every map."""
    drawn = picture.astype(np.float32)
    for heatmap, rgb, share in zip(heatmaps, colours, np.linspace(0.7, 0.9, len(heatmaps)), strict=True):
        down, across = np.gradient(heatmap)
        # Distance from the line in pixels, to first order: an antialiased line of the same width at any slope.
        distance = np.abs(heatmap - share * heatmap.max()) / (np.hypot(down, across) + 1e-6)
        opacity = np.clip(2.0 - distance, 0, 1)[..., None]
        drawn = drawn * (1 - opacity) + np.array(rgb, np.float32) * opacity
    return np.rint(drawn).astype(np.uint8)


def _tags(image: Image.Image, heatmaps: Sequence[np.ndarray], aus: Sequence[int]) -> None:
    """Writes each AU's name at its peak, moved up or down where peaks coincide."""
    pen = ImageDraw.Draw(image)
    width, height = 66, 28
    taken: list[tuple[int, int]] = []
    for heatmap, au in zip(heatmaps, aus, strict=True):
        # Heatmaps are clipped at 1 and so have flat tops: blurred, the middle of the top is highest.
        coarse = ndimage.gaussian_filter(heatmap[::4, ::4], 6)
        row, column = (4 * int(i) for i in np.unravel_index(np.argmax(coarse), coarse.shape))
        x = int(np.clip(column - width // 2, 0, image.width - width))
        y = _free_row(x, row - height // 2, width, height, image.height - height, taken)
        taken.append((x, y))
        _rounded(image, (x, y, x + width, y + height), 8, _BACKGROUND)
        _rounded(image, (x + 1, y + 1, x + width - 1, y + height - 1), 7, colour(au))
        pen.text((x + width // 2, y + height // 2), aus_lib.label(au), _BACKGROUND, _font(21), anchor="mm")


def _free_row(x: int, y: int, width: int, height: int, limit: int, taken: Sequence[tuple[int, int]]) -> int:
    """The y in [0, limit] nearest to the wanted one where a tag covers no other; that one itself if there is none."""
    y = min(max(y, 0), limit)
    for candidate in sorted(range(limit + 1), key=lambda row: abs(row - y)):
        if all(abs(x - left) >= width or abs(candidate - top) >= height for left, top in taken):
            return candidate
    return y


def _rounded(image: Image.Image, box: tuple[int, int, int, int], radius: int, rgb: Colour) -> None:
    """Fills a rounded rectangle with smooth edges, which Pillow's own lacks: drawn four times as large, then shrunk."""
    width, height = box[2] - box[0], box[3] - box[1]
    mask = Image.new("L", (4 * width, 4 * height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, 4 * width - 1, 4 * height - 1), 4 * radius, 255)
    image.paste(rgb, (box[0], box[1]), mask.resize((width, height), Image.Resampling.BOX))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface: there on every system."""
    return ImageFont.load_default(size)


def _legend(canvas: Image.Image, left: int, scores: np.ndarray, present: np.ndarray, aus: Sequence[int]) -> None:
    """Writes every AU's colour, name, score and bar into the column right of `left`."""
    pen = ImageDraw.Draw(canvas)
    top = (canvas.height - _ROW_HEIGHT * (len(aus) + 1)) // 2
    title = f"{int(np.sum(present))} of {len(aus)} action units present"
    pen.text((left + 28, top + _ROW_HEIGHT // 2), title, _TEXT, _font(22), anchor="lm")
    for k, au in enumerate(aus):
        _legend_row(canvas, left + 28, top + _ROW_HEIGHT * (k + 1), au, float(scores[k]), bool(present[k]))


def _legend_row(canvas: Image.Image, x: int, y: int, au: int, score: float, is_present: bool) -> None:
    """One AU: a filled swatch and bright text where it is present, an outline and dim text where it is not."""
    pen = ImageDraw.Draw(canvas)
    rgb, ink, middle = colour(au), _TEXT if is_present else _DIM, y + 18
    _rounded(canvas, (x, y + 7, x + 22, y + 29), 6, rgb)
    if not is_present:
        _rounded(canvas, (x + 2, y + 9, x + 20, y + 27), 4, _BACKGROUND)
    right = x + _LEGEND_WIDTH - 56
    pen.text((x + 36, middle), aus_lib.label(au), ink, _font(22), anchor="lm")
    pen.text((x + 104, middle), aus_lib.NAMES.get(au, ""), ink, _font(19), anchor="lm")
    pen.text((right, middle), f"{score:+.3f}", ink, _font(22), anchor="rm")
    _bar(pen, x + 36, right, y + 38, score, rgb if is_present else _DIM)


def _bar(pen: ImageDraw.ImageDraw, left: int, right: int, y: int, score: float, rgb: Colour) -> None:
    """A score as a bar from the middle: to the right where the AU is present, to the left where it is not."""
    zero, half = (left + right) // 2, (right - left) // 2
    end = zero + round(float(np.clip(score / _FULL_BAR, -1, 1)) * half)
    pen.line((left, y, right, y), _LINE, 2)
    pen.line((min(zero, end), y, max(zero, end), y), rgb, 5)
    pen.line((zero, y - 5, zero, y + 5), _DIM, 2)

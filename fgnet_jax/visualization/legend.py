"""The legend beside a drawn image: every AU with its colour, score and whether it is present, for one face or several.

Where an AU's intensity is known, it stands in the score's place, without a sign; bars show scores.

Its size depends on the number of AUs and the scale alone, so that all frames of a video have one size. It says how many
faces there are beyond those that it has columns for.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax import aus as aus_lib
from fgnet_jax.visualization import painting

WIDTH = 440
"""Width of the panel at scale 1, in pixels."""

MAX_FACES = 5
"""Columns of the panel: it shows this many faces at most."""

FULL_BAR = 0.3
"""The score that fills half of a bar: that of a heatmap with both of an AU\'s blobs in full."""

_ROW = 48


@dataclasses.dataclass(frozen=True, eq=False)
class LegendEntry:
    """A face in the legend.

    Attributes:
      name: Its name.
      scores: (K,).
      present: (K,) bool.
      image: A square image of it, which only sheets of faces show (`face_sheet`); None for none.
      intensities: (K,), 0 to 5, NaN for an AU without one; None where none is known.
    """

    name: str
    scores: np.ndarray
    present: np.ndarray
    image: Image.Image | None = None
    intensities: np.ndarray | None = None

    def text(self, k: int, digits: int = 3) -> str:
        """Return the k-th AU's number as the legend shows it: its intensity, or its score with so many digits."""
        if self.intensities is not None and np.isfinite(self.intensities[k]):
            return f"{self.intensities[k]:.1f}"
        return f"{self.scores[k]:+.{digits}f}" if np.isfinite(self.scores[k]) else "–"


def height(count: int, scale: float = 1.0) -> int:
    """Return the panel's height in pixels, for a number of AUs."""
    return round(_ROW * scale) * (count + 2)


def beside(
    image: Image.Image, aus: Sequence[int], faces: Sequence[LegendEntry], *, scale: float = 1.0, more: int = 0
) -> Image.Image:
    """Put the panel to the right of an image.

    Args:
      image: RGB.
      aus: The K AU numbers.
      faces: The faces whose scores to show: `MAX_FACES` at most, or the first ones of them.
      scale: Size of the panel; 1 suits an image of 640 pixels.
      more: Number of further faces, which are not among them.

    Returns:
      An RGB image, as wide as both and as high as the higher one.
    """
    panel = draw(aus, faces, scale, more)
    canvas = Image.new("RGB", (image.width + panel.width, max(image.height, panel.height)), painting.BACKGROUND)
    canvas.paste(image, (0, (canvas.height - image.height) // 2))
    canvas.paste(panel, (image.width, (canvas.height - panel.height) // 2))
    return canvas


def draw(aus: Sequence[int], faces: Sequence[LegendEntry], scale: float = 1.0, more: int = 0) -> Image.Image:
    """Draw the panel alone: with names and bars for one face, as a table for several."""
    shown = faces[:MAX_FACES]
    more += len(faces) - len(shown)
    panel = Image.new("RGB", (round(WIDTH * scale), height(len(aus), scale)), painting.BACKGROUND)
    pen = ImageDraw.Draw(panel)
    row = round(_ROW * scale)
    title = _title(len(aus), shown, more)
    pen.text((round(28 * scale), row // 2), title, painting.TEXT, painting.font(22 * scale), anchor="lm")
    if len(shown) > 1:
        _draw_column_titles(pen, shown, row // 2, scale)
    for k, au in enumerate(aus):
        top = row * (k + 1)
        draw_au(panel, au, top=top, is_present=any(face.present[k] for face in shown), scale=scale)
        for place, face in enumerate(shown):
            is_present = bool(face.present[k])
            if len(shown) == 1:
                _draw_bar(panel, au, face, k, top=top, scale=scale)
            else:
                column = _columns(place, len(shown), scale)
                draw_cell(panel, au, face.text(k, 2), column=column, top=top, is_present=is_present, scale=scale)
    foot = row * (len(aus) + 1)
    draw_colour_scale(panel, foot, scale, middle=13 if more else 24)
    if more:
        place, text = (round(28 * scale), foot + round(35 * scale)), more_faces(more)
        pen.text(place, text, painting.TEXT, painting.font(17 * scale), anchor="lm")
    return panel


def more_faces(count: int) -> str:
    """Return the line that says how many faces are outlined, but not in the legend."""
    return f"and {count} more face{'s' if count > 1 else ''}, smaller: see the table"


def draw_colour_scale(panel: Image.Image, top: int, scale: float, *, middle: int = 24) -> None:
    """Draw how strongly a heatmap from 0 to 1 tints the face, its middle so far below `top`."""
    pen, middle = ImageDraw.Draw(panel), top + round(middle * scale)
    left, right, half = round(156 * scale), round((WIDTH - 52) * scale), round(7 * scale)
    steps = np.linspace(0, 1, max(right - left, 2), dtype=np.float32)
    ramp = painting.tint(
        np.full((2 * half, len(steps), 3), painting.BACKGROUND, np.uint8),
        [np.tile(steps, (2 * half, 1))],
        [painting.TEXT],
    )
    panel.paste(Image.fromarray(ramp), (left, middle - half))
    pen.rectangle((left - 1, middle - half - 1, left + len(steps), middle + half), outline=painting.LINE)
    for x, text, anchor in ((28, "heatmap", "lm"), (144, "0", "rm"), (WIDTH - 28, "1", "rm")):
        pen.text((round(x * scale), middle), text, painting.DIM, painting.font(19 * scale), anchor=anchor)


def _title(count: int, faces: Sequence[LegendEntry], more: int) -> str:
    if not faces:
        return "no face"
    if more:
        return f"{len(faces) + more} faces"
    if len(faces) > 1:
        return "face"
    present = f"{int(np.sum(faces[0].present))} of {count}"
    return f"{present} action units present" if faces[0].intensities is None else f"{present} present; intensity 0 to 5"


def draw_au(panel: Image.Image, au: int, *, top: int, is_present: bool, scale: float) -> None:
    """Draw an AU's swatch, filled where it is present and an outline where it is not, and its number."""
    left, rgb = round(28 * scale), painting.colour(au)
    painting.rounded(panel, _scaled((28, 7, 50, 29), scale, top), round(6 * scale), rgb)
    if not is_present:
        painting.rounded(panel, _scaled((30, 9, 48, 27), scale, top), round(4 * scale), painting.BACKGROUND)
    place, ink = (left + round(36 * scale), top + round(18 * scale)), painting.TEXT if is_present else painting.DIM
    ImageDraw.Draw(panel).text(place, aus_lib.label(au), ink, painting.font(22 * scale), anchor="lm")


def _draw_bar(panel: Image.Image, au: int, face: LegendEntry, k: int, *, top: int, scale: float) -> None:
    """Draw the k-th AU's name and number, and its score as a bar from the middle: to the right where it is above 0."""
    score, is_present = float(face.scores[k]), bool(face.present[k])
    pen, ink = ImageDraw.Draw(panel), painting.TEXT if is_present else painting.DIM
    left, name, right, middle = (round(x * scale) for x in (64, 132, WIDTH - 28, 18))
    pen.text((name, top + middle), aus_lib.NAMES.get(au, ""), ink, painting.font(19 * scale), anchor="lm")
    pen.text((right, top + middle), face.text(k), ink, painting.font(22 * scale), anchor="rm")
    y, zero, half = top + round(38 * scale), (left + right) // 2, (right - left) // 2
    end = zero + round(float(np.clip(np.nan_to_num(score) / FULL_BAR, -1, 1)) * half)
    pen.line((left, y, right, y), painting.LINE, round(2 * scale))
    rgb = painting.colour(au) if is_present else painting.DIM
    pen.line((min(zero, end), y, max(zero, end), y), rgb, round(5 * scale))
    pen.line((zero, y - round(5 * scale), zero, y + round(5 * scale)), painting.DIM, round(2 * scale))


def _draw_column_titles(pen: ImageDraw.ImageDraw, faces: Sequence[LegendEntry], y: int, scale: float) -> None:
    for place, face in enumerate(faces):
        left, right = _columns(place, len(faces), scale)
        pen.text(((left + right) // 2, y), face.name, painting.TEXT, painting.font(22 * scale), anchor="mm")


def draw_cell(
    panel: Image.Image, au: int, text: str, *, column: tuple[int, int], top: int, is_present: bool, scale: float
) -> None:
    """Draw a face's number in a table of several: on the AU's colour where it is present."""
    left, right = column
    if is_present:
        box = (left + round(2 * scale), top + round(2 * scale), right - round(2 * scale), top + round(34 * scale))
        painting.rounded(panel, box, round(8 * scale), painting.colour(au))
    ink = painting.BACKGROUND if is_present else painting.DIM
    middle = (left + right) // 2, top + round(18 * scale)
    ImageDraw.Draw(panel).text(middle, text, ink, painting.font(18 * scale), anchor="mm")


def _columns(place: int, count: int, scale: float) -> tuple[int, int]:
    """Return left and right of a face's column."""
    left, right = 136 * scale, (WIDTH - 24) * scale
    width = (right - left) / max(count, 3)
    return round(left + place * width), round(left + (place + 1) * width)


def _scaled(box: tuple[int, int, int, int], scale: float, top: int) -> tuple[int, int, int, int]:
    left, above, right, below = (round(side * scale) for side in box)
    return left, top + above, right, top + below

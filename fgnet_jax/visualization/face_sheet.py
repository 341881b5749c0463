"""A sheet of faces, cut out of a drawing, above their scores: the legend of images far wider or higher than a screen.

In such an image, shown as a whole, faces are specks. A sheet has room for as many faces as its width and height allow,
whatever faces there are, so that all frames of a video have one size; where there are few, they are large in the rest.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from fgnet_jax import aus as aus_lib
from fgnet_jax.visualization import legend, painting
from fgnet_jax.visualization.legend import LegendEntry

TILE = 160
"""Side of a face at scale 1, in pixels."""

_GAP, _NAMES, _MARGIN, _HEAD, _ROW, _FOOT = 12, 330, 28, 44, 40, 48  # pixels at scale 1


def columns(width: int, scale: float) -> int:
    """Return the number of faces beside each other in a sheet so many pixels wide, 1 at least."""
    return max(1, int((width / scale - _NAMES - _MARGIN) / (TILE + _GAP)))


def height(count: int, scale: float) -> int:
    """Return the height in pixels of one row of faces with their scores for a number of AUs."""
    return round((_HEAD + TILE + _GAP + _ROW * count + _FOOT) * scale)


def width(faces: int, scale: float) -> int:
    """Return the least width in pixels of a sheet with so many faces beside each other."""
    return round((_NAMES + faces * (TILE + _GAP) + _MARGIN) * scale)


def draw(
    aus: Sequence[int], faces: Sequence[LegendEntry], *, size: tuple[int, int], scale: float, more: int = 0
) -> Image.Image:
    """Draw a sheet.

    Args:
      aus: The K AU numbers.
      faces: The faces: as many as fit, `columns` times the rows.
      size: Width and height in pixels.
      scale: Size of letters and faces.
      more: Number of further faces.
    """
    sheet = Image.new("RGB", size, painting.BACKGROUND)
    across, high = columns(size[0], scale), height(len(aus), scale)
    for row in range(max(1, size[1] // high)):
        part = faces[row * across : (row + 1) * across]
        if row and not part:
            break
        _draw_row(sheet, aus, part, top=row * high, scale=scale)
    pen, place = ImageDraw.Draw(sheet), (round(_MARGIN * scale), round(_HEAD / 2 * scale))
    pen.text(place, _title(len(faces), more), painting.TEXT, painting.font(22 * scale), anchor="lm")
    if more:
        place, text = (place[0], round((_HEAD + 24) * scale)), legend.more_faces(more).partition(",")[0]
        pen.text(place, text, painting.DIM, painting.font(19 * scale), anchor="lm")
    if 0 < len(faces) <= across:
        _draw_large(sheet, faces, _free_area(sheet, len(faces), across=across, high=high, scale=scale), scale)
    return sheet


def _free_area(sheet: Image.Image, count: int, *, across: int, high: int, scale: float) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the larger rest of a sheet with one row of so many faces."""
    beside = (width(count, scale), round(_HEAD * scale), sheet.width, high - round(_GAP * scale))
    below = (round(_MARGIN * scale), high, sheet.width, sheet.height)
    return max(beside, below, key=lambda area: (area[2] - area[0]) * (area[3] - area[1]))


def _draw_large(
    sheet: Image.Image, faces: Sequence[LegendEntry], area: tuple[int, int, int, int], scale: float
) -> None:
    """Draw faces once more, with their names, as large as an area allows; not where that is hardly larger."""
    gap, (left, top, right, bottom) = round(_GAP * scale), area
    sides = {k: min((right - left) // k, (bottom - top) // -(-len(faces) // k)) - gap for k in range(1, len(faces) + 1)}
    across = max(sides, key=lambda k: sides[k])
    side = sides[across]
    if side < 1.5 * TILE * scale:
        return
    for place, face in enumerate(faces):
        x, y = left + place % across * (side + gap), top + place // across * (side + gap)
        if face.image is not None:
            sheet.paste(face.image.resize((side, side), Image.Resampling.LANCZOS), (x, y))
        name = (x + gap, y + gap, x + gap + round((20 + 12 * len(face.name)) * scale), y + gap + round(28 * scale))
        painting.tag(sheet, name, text=face.name, rgb=painting.TEXT, scale=scale)


def _title(count: int, more: int) -> str:
    if not count:
        return "no face"
    if more:
        return f"the {count} largest of {count + more} faces"
    return "1 face" if count == 1 else f"{count} faces"


def _draw_row(sheet: Image.Image, aus: Sequence[int], faces: Sequence[LegendEntry], *, top: int, scale: float) -> None:
    """Draw a row of faces, each with its scores below it."""
    first = top + round((_HEAD + TILE + _GAP) * scale)
    pen = ImageDraw.Draw(sheet)
    for k, au in enumerate(aus):
        row, is_present = first + round(k * _ROW * scale), any(face.present[k] for face in faces)
        legend.draw_au(sheet, au, top=row, is_present=is_present, scale=scale)
        place, ink = (round(136 * scale), row + round(18 * scale)), painting.TEXT if is_present else painting.DIM
        pen.text(place, aus_lib.NAMES.get(au, ""), ink, painting.font(19 * scale), anchor="lm")
    for place, face in enumerate(faces):
        left = round((_NAMES + place * (TILE + _GAP)) * scale)
        _draw_face(sheet, aus, face, corner=(left, top), scale=scale)
    _draw_foot(sheet, first + round(len(aus) * _ROW * scale), scale)


def _draw_face(
    sheet: Image.Image, aus: Sequence[int], face: LegendEntry, *, corner: tuple[int, int], scale: float
) -> None:
    """Draw a face's name, image and scores."""
    side, (left, top) = round(TILE * scale), corner
    middle = (left + side // 2, top + round(_HEAD / 2 * scale))
    ImageDraw.Draw(sheet).text(middle, face.name, painting.TEXT, painting.font(22 * scale), anchor="mm")
    if face.image is not None:
        tile = face.image.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(tile, (left, top + round(_HEAD * scale)))
    for k, au in enumerate(aus):
        row = top + round((_HEAD + TILE + _GAP + k * _ROW) * scale)
        text, is_present = face.text(k, 2), bool(face.present[k])
        legend.draw_cell(sheet, au, text, column=(left, left + side), top=row, is_present=is_present, scale=scale)


def _draw_foot(sheet: Image.Image, top: int, scale: float) -> None:
    """Draw the colour scale of heatmaps, where the sheet is wide enough."""
    if sheet.width >= round(legend.WIDTH * scale):
        legend.draw_colour_scale(sheet, top, scale)

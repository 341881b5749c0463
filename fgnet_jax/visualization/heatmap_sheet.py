"""."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fgnet_jax import aus as aus_lib
from fgnet_jax.visualization.figures import save_image

MAX_FACES = 4
"""Faces on a sheet: more are too small to look at."""

_TILE, _GAP, _MARGIN = 116, 6, 20

_FACE = 2 * _TILE + _GAP

_HEAD, _FOOT, _ROW = 64, 50, _FACE + 24

_SIDE = 92  # the column that says which row is which

_PAPER, _TEXT, _FAINT = (255, 255, 255), (34, 38, 46), (123, 132, 148)

_RED, _BLUE, _GREY, _AMBER = (214, 39, 40), (31, 96, 196), (150, 156, 166), (245, 158, 11)

Colour = tuple[int, int, int]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def heatmap_sheet(
    images: np.ndarray,
    targets: np.ndarray,
    predictions: np.ndarray,
    labels: np.ndarray,
    aus: Sequence[int],
    path: str | Path | None = None,
) -> np.ndarray:
    """Draws faces with the heatmaps wanted and predicted: red where an AU is present, blue where it is absent.

    A row a face and a column an AU, in it the target above the prediction, over the face in grey. The target's frame
    says what the label is, the prediction's what is said (its score, the mean of the clipped map, stands in it); a
    prediction that is wrong is framed in amber. Of more than `MAX_FACES` faces those are drawn that together show most
    AUs: the same ones each time.

    Args:
      images: uint8 (N, S, S, 3).
      targets: (N, H, H, K) in [-1, 1].
      predictions: (N, H, H, K); what exceeds [-1, 1] is clipped.
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      aus: The K AU numbers.
      path: Where to write it as PNG, if anywhere.

    Returns:
      uint8 (height, width, 3).
    """
    chosen = choose_faces(np.asarray(labels), MAX_FACES)
    width = 2 * _MARGIN + _FACE + _SIDE + len(aus) * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(chosen) * _ROW + _FOOT), _PAPER)
    _heads(sheet, aus)
    for row, n in enumerate(chosen):
        top = _HEAD + row * _ROW
        face = Image.fromarray(np.asarray(images[n], np.uint8))
        sheet.paste(face.resize((_FACE, _FACE), Image.Resampling.LANCZOS), (_MARGIN, top))
        _row_names(sheet, top)
        grey = _grey(face)
        for k in range(len(aus)):
            wanted, predicted = targets[n, ..., k], predictions[n, ..., k]
            _cell(sheet, _left(k), top, grey, wanted, predicted, int(labels[n, k]))
    _key(sheet)
    if path is not None:
        save_image(sheet, path)
    return np.asarray(sheet)


def choose_faces(labels: np.ndarray, count: int) -> list[int]:
    """Rows of labels (N, K) that together have most AUs present, at most `count` of them; in ascending order."""
    left = list(range(len(labels)))
    chosen: list[int] = []
    seen = np.zeros(labels.shape[1], np.int64)
    while left and len(chosen) < count:
        # An AU that is shown already counts less with each time it is.
        best = max(left, key=lambda n: (labels[n] == 1) @ (0.25**seen))
        left.remove(best)
        chosen.append(best)
        seen += labels[best] == 1
    return sorted(chosen)


def _left(k: int) -> int:
    return _MARGIN + _FACE + _SIDE + k * (_TILE + _GAP)


def _font(size: int) -> Font:
    """Pillow's own typeface: there on every system."""
    return ImageFont.load_default(size)


def _heads(sheet: Image.Image, aus: Sequence[int]) -> None:
    pen = ImageDraw.Draw(sheet)
    for k, au in enumerate(aus):
        middle = _left(k) + _TILE // 2
        pen.text((middle, 26), aus_lib.label(au), _TEXT, _font(20), anchor="mm")
        pen.text((middle, 48), aus_lib.NAMES.get(au, ""), _FAINT, _font(12), anchor="mm")


def _row_names(sheet: Image.Image, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for name, middle in (("target", top + _TILE // 2), ("prediction", top + _TILE + _GAP + _TILE // 2)):
        pen.text((_left(0) - 10, middle), name, _FAINT, _font(15), anchor="rm")


def _cell(
    sheet: Image.Image, x: int, y: int, grey: np.ndarray, target: np.ndarray, prediction: np.ndarray, label: int
) -> None:
    """One AU of one face: the target, and the prediction below it."""
    pen = ImageDraw.Draw(sheet)
    score = float(np.clip(prediction, -1, 1).mean())
    said = int(score > 0)
    below = y + _TILE + _GAP
    sheet.paste(Image.fromarray(overlay(grey, target)), (x, y))
    sheet.paste(Image.fromarray(overlay(grey, prediction)), (x, below))
    wrong = label >= 0 and said != label
    _frame(pen, x, y, _colour_of(label), ("absent", "present", "unknown")[label])
    _frame(pen, x, below, _AMBER if wrong else _colour_of(said), f"{score:+.2f}" + (" wrong" if wrong else ""))


def _colour_of(label: int) -> Colour:
    return (_BLUE, _RED, _GREY)[label]


def _frame(pen: ImageDraw.ImageDraw, x: int, y: int, colour: Colour, text: str) -> None:
    """A frame in a colour, and a tag of it in the lower left corner."""
    pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), outline=colour, width=3)
    width = int(pen.textlength(text, _font(13))) + 10
    pen.rectangle((x, y + _TILE - 19, x + width, y + _TILE - 1), colour)
    pen.text((x + 5, y + _TILE - 9), text, _PAPER, _font(13), anchor="lm")


def _grey(face: Image.Image) -> np.ndarray:
    """The face at a tile's size, float32 (T, T), grey and pale enough for colours to stand out."""
    tile = face.convert("L").resize((_TILE, _TILE), Image.Resampling.LANCZOS)
    return 70 + 0.68 * np.asarray(tile, np.float32)


def overlay(grey: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Lays one heatmap over a grey face: red where it is positive, blue where negative, clear where 0.

    Args:
      grey: float (T, T), 0 to 255.
      heatmap: (H, H), brought to the face's size; clipped to [-1, 1].

    Returns:
      uint8 (T, T, 3).
    """
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    values = np.clip(np.asarray(image.resize(grey.shape[::-1], Image.Resampling.BILINEAR)), -1, 1)[..., None]
    tint = np.where(values > 0, np.array(_RED, np.float32), np.array(_BLUE, np.float32))
    opacity = 0.8 * np.abs(values)
    return np.rint(grey[..., None] * (1 - opacity) + tint * opacity).clip(0, 255).astype(np.uint8)


def _key(sheet: Image.Image) -> None:
    """What the colours mean, at the foot."""
    pen, middle, x = ImageDraw.Draw(sheet), sheet.height - _FOOT // 2, _left(0)
    ramp = np.broadcast_to(np.linspace(-1, 1, 180, dtype=np.float32), (16, 180))
    pen.text((x, middle), "absent  -1", _BLUE, _font(15), anchor="lm")
    sheet.paste(Image.fromarray(overlay(np.full((16, 180), 235.0), ramp)), (x + 84, middle - 8))
    pen.text((x + 272, middle), "+1  present", _RED, _font(15), anchor="lm")
    text = "The number is the score, the map's mean; above 0 the AU is said to be present."
    pen.text((x + 390, middle), text, _FAINT, _font(15), anchor="lm")

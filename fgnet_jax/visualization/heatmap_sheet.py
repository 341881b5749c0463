"""Sheets of faces with their target and predicted heatmaps, AU by AU: what a network has learned, at a glance.

Drawn with Pillow. Red is present, blue is absent, amber a wrong prediction.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax import aus as aus_lib
from fgnet_jax.visualization.figures import DIM, INK, save_image
from fgnet_jax.visualization.painting import Colour, font

MAX_FACES = 4
"""Most faces on a sheet: more would be too small."""

PRESENT: Colour = (214, 39, 40)
ABSENT: Colour = (31, 96, 196)
"""Colours of positive and negative heatmaps."""

_UNKNOWN: Colour = (150, 156, 166)
_WRONG: Colour = (245, 158, 11)

_TILE, _GAP, _MARGIN = 116, 6, 20
_FACE = 2 * _TILE + _GAP
_HEAD, _FOOT, _ROW = 64, 50, _FACE + 24
_SIDE = 92  # the column of "target" and "prediction"


def heatmap_sheet(
    images: np.ndarray,
    *,
    targets: np.ndarray,
    predictions: np.ndarray,
    labels: np.ndarray,
    aus: Sequence[int],
    path: str | Path | None = None,
) -> np.ndarray:
    """Draw faces with their target and predicted heatmaps: red where an AU is present, blue where it is absent.

    A row per face and a column per AU, in it the target above the prediction, over the face in grey. The target's frame
    shows the label; the prediction's shows whether the AU is predicted present, with its score, the mean of the clipped
    map; a wrong prediction is framed in amber. Of more than `MAX_FACES` faces those are drawn that together show most
    AUs: the same ones each time.

    Args:
      images: uint8 (N, S, S, 3).
      targets: (N, H, H, K) in [-1, 1].
      predictions: (N, H, H, K); clipped to [-1, 1].
      labels: (N, K): 1 present, 0 absent, -1 unknown.
      aus: The K AU numbers.
      path: Where to write it as PNG, if anywhere.

    Returns:
      uint8 (height, width, 3).
    """
    chosen = choose_faces(np.asarray(labels), MAX_FACES)
    width = 2 * _MARGIN + _FACE + _SIDE + len(aus) * (_TILE + _GAP) - _GAP
    sheet = Image.new("RGB", (width, _HEAD + len(chosen) * _ROW + _FOOT), "white")
    _draw_column_titles(sheet, aus)
    for row, n in enumerate(chosen):
        top = _HEAD + row * _ROW
        face = Image.fromarray(np.asarray(images[n], np.uint8))
        sheet.paste(face.resize((_FACE, _FACE), Image.Resampling.LANCZOS), (_MARGIN, top))
        _draw_row_titles(sheet, top)
        grey = pale_grey(face.convert("L").resize((_TILE, _TILE), Image.Resampling.LANCZOS))
        for k in range(len(aus)):
            corner, label = (_left(k), top), int(labels[n, k])
            _draw_cell(
                sheet, corner, grey=grey, target=targets[n, ..., k], prediction=predictions[n, ..., k], label=label
            )
    _draw_legend(sheet)
    if path is not None:
        save_image(sheet, path)
    return np.asarray(sheet)


def choose_faces(labels: np.ndarray, count: int) -> list[int]:
    """Choose rows of labels (N, K) that together have most AUs present, at most `count`; return them ascending."""
    remaining = list(range(len(labels)))
    chosen: list[int] = []
    times_shown = np.zeros(labels.shape[1], np.int64)
    while remaining and len(chosen) < count:
        # An AU that is shown already counts less with each time it is.
        best = max(remaining, key=lambda n: (labels[n] == 1) @ (0.25**times_shown))
        remaining.remove(best)
        chosen.append(best)
        times_shown += labels[best] == 1
    return sorted(chosen)


def pale_grey(image: Image.Image) -> np.ndarray:
    """Convert a face to grey, float32 (height, width), pale enough for colours to stand out."""
    return 70 + 0.68 * np.asarray(image.convert("L"), np.float32)


def overlay(grey: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Tint a grey face with one heatmap: red where it is positive, blue where negative, clear where 0.

    Args:
      grey: float (T, T), 0 to 255.
      heatmap: (H, H), resized to the face's size; clipped to [-1, 1].

    Returns:
      uint8 (T, T, 3).
    """
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    values = np.clip(np.asarray(image.resize(grey.shape[::-1], Image.Resampling.BILINEAR)), -1, 1)[..., None]
    tint = np.where(values > 0, np.array(PRESENT, np.float32), np.array(ABSENT, np.float32))
    opacity = 0.8 * np.abs(values)
    return np.rint(grey[..., None] * (1 - opacity) + tint * opacity).clip(0, 255).astype(np.uint8)


def _left(k: int) -> int:
    """Return the left edge of the k-th AU's column."""
    return _MARGIN + _FACE + _SIDE + k * (_TILE + _GAP)


def _draw_column_titles(sheet: Image.Image, aus: Sequence[int]) -> None:
    pen = ImageDraw.Draw(sheet)
    for k, au in enumerate(aus):
        middle = _left(k) + _TILE // 2
        pen.text((middle, 26), aus_lib.label(au), INK, font(20), anchor="mm")
        pen.text((middle, 48), aus_lib.NAMES.get(au, ""), DIM, font(12), anchor="mm")


def _draw_row_titles(sheet: Image.Image, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for name, middle in (("target", top + _TILE // 2), ("prediction", top + _TILE + _GAP + _TILE // 2)):
        pen.text((_left(0) - 10, middle), name, DIM, font(15), anchor="rm")


def _draw_cell(
    sheet: Image.Image,
    corner: tuple[int, int],
    *,
    grey: np.ndarray,
    target: np.ndarray,
    prediction: np.ndarray,
    label: int,
) -> None:
    """Draw one AU of one face: the target, and the prediction below it."""
    score = float(np.clip(prediction, -1, 1).mean())
    predicted = int(score > 0)
    is_wrong = label >= 0 and predicted != label
    x, y = corner
    below = x, y + _TILE + _GAP
    sheet.paste(Image.fromarray(overlay(grey, target)), corner)
    sheet.paste(Image.fromarray(overlay(grey, prediction)), below)
    _draw_frame(sheet, corner, _colour_of(label), ("absent", "present", "unknown")[label])
    colour = _WRONG if is_wrong else _colour_of(predicted)
    _draw_frame(sheet, below, colour, f"{score:+.2f}" + (" wrong" if is_wrong else ""))


def _colour_of(label: int) -> Colour:
    return (ABSENT, PRESENT, _UNKNOWN)[label]


def _draw_frame(sheet: Image.Image, corner: tuple[int, int], colour: Colour, text: str) -> None:
    """Draw a frame in a colour, with a tag in its lower left corner."""
    pen, (x, y) = ImageDraw.Draw(sheet), corner
    pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), outline=colour, width=3)
    width = int(pen.textlength(text, font(13))) + 10
    pen.rectangle((x, y + _TILE - 19, x + width, y + _TILE - 1), colour)
    pen.text((x + 5, y + _TILE - 9), text, "white", font(13), anchor="lm")


def _draw_legend(sheet: Image.Image) -> None:
    """Draw at the foot what the colours mean."""
    pen, middle, x = ImageDraw.Draw(sheet), sheet.height - _FOOT // 2, _left(0)
    ramp = np.broadcast_to(np.linspace(-1, 1, 180, dtype=np.float32), (16, 180))
    pen.text((x, middle), "absent  -1", ABSENT, font(15), anchor="lm")
    sheet.paste(Image.fromarray(overlay(np.full((16, 180), 235.0), ramp)), (x + 84, middle - 8))
    pen.text((x + 272, middle), "+1  present", PRESENT, font(15), anchor="lm")
    text = "The number is the score, the map's mean; above 0 the AU is predicted present."
    pen.text((x + 390, middle), text, DIM, font(15), anchor="lm")

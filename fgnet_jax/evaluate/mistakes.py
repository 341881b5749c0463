"""Sheets of the most confident mistakes: for each AU the faces on which the network was surest and wrong."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fgnet_jax import aus as aus_lib
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.visualization.figures import DIM, INK, save_image
from fgnet_jax.visualization.heatmap_sheet import ABSENT, PRESENT, overlay, pale_grey
from fgnet_jax.visualization.painting import font

PER_KIND = 3
"""Faces per AU and kind of mistake, each of another subject: neighbouring frames of a video are the same mistake."""

LoadFaces = Callable[[list[int]], tuple[np.ndarray, np.ndarray]]
"""Loads some rows of the predictions: faces (n, S, S, 3) uint8, heatmaps (n, H, H, K) of the K predicted AUs."""

_TILE, _GAP, _MARGIN, _SIDE, _HEAD, _CAPTION = 132, 4, 20, 150, 76, 34


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A wrong prediction of an AU in a frame.

    Attributes:
      frame: Row of the predictions.
      au: Column of the predictions.
      present: The label.
      margin: How far the score is on the wrong side of the threshold.
    """

    frame: int
    au: int
    present: bool
    margin: float


def find(predictions: FramePredictions, count: int = PER_KIND) -> list[Mistake]:
    """Find the surest false alarms, then the surest misses, of each AU in turn; one per subject, kind and AU."""
    margins = predictions.scores - predictions.thresholds
    mistakes = []
    for k in range(len(predictions.aus)):
        for present in (False, True):
            wrong = predictions.labels[:, k] == int(present)
            wrong &= (margins[:, k] <= 0) if present else (margins[:, k] > 0)
            surest = sorted(np.flatnonzero(wrong).tolist(), key=lambda n, k=k: -abs(margins[n, k]))
            subjects: set[str] = set()
            for n in surest:
                if len(subjects) < count and predictions.subjects[n] not in subjects:
                    subjects.add(predictions.subjects[n])
                    mistakes.append(Mistake(frame=n, au=k, present=present, margin=float(abs(margins[n, k]))))
    return mistakes


def draw(
    predictions: FramePredictions,
    mistakes: Sequence[Mistake],
    *,
    load_faces: LoadFaces,
    path: str | Path,
    title: str,
    footer: str = "",
) -> None:
    """Draw mistakes as one PNG: a line per AU, false alarms to the left and misses to the right.

    Args:
      predictions: What the mistakes are rows and columns of.
      mistakes: Mistakes that `find` returned.
      load_faces: Loads faces and heatmaps; called once, and only if there are mistakes.
      path: The PNG.
      title: The title above it.
      footer: The line below it.
    """
    rows = sorted({mistake.frame for mistake in mistakes})
    faces, heatmaps = load_faces(rows) if rows else (np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 1, 1, 0)))
    place = {row: n for n, row in enumerate(rows)}
    sheet = _draw_head(predictions.aus, title)
    pen = ImageDraw.Draw(sheet)
    for k in range(len(predictions.aus)):
        top = _HEAD + k * (_TILE + _CAPTION)
        for present in (False, True):
            shown = [mistake for mistake in mistakes if mistake.au == k and mistake.present == present]
            if not shown:
                pen.text((_left(0, present), top + _TILE // 2), "none", DIM, font(15), anchor="lm")
            for column, mistake in enumerate(shown[:PER_KIND]):
                n, corner = place[mistake.frame], (_left(column, present), top)
                _draw_pair(sheet, corner, faces[n], heatmaps[n, ..., k])
                caption = _caption(predictions, mistake)
                pen.text((corner[0], top + _TILE + 12), caption, INK, font(12), anchor="lm")
    save_image(sheet, path, footer)


def _draw_head(aus: Sequence[int], title: str) -> Image.Image:
    """Draw a sheet with its titles alone."""
    width = _MARGIN * 2 + _SIDE + 2 * PER_KIND * (2 * _TILE + 3 * _GAP) + 40
    sheet = Image.new("RGB", (width, _HEAD + len(aus) * (_TILE + _CAPTION) + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 22), title, INK, font(19), anchor="lm")
    pen.text((_left(0, False), 56), "predicted present, but absent", PRESENT, font(16), anchor="lm")
    pen.text((_left(0, True), 56), "present, but predicted absent", ABSENT, font(16), anchor="lm")
    for k, au in enumerate(aus):
        middle = _HEAD + k * (_TILE + _CAPTION) + _TILE // 2
        pen.text((_MARGIN, middle - 10), aus_lib.label(au), INK, font(22), anchor="lm")
        pen.text((_MARGIN, middle + 14), aus_lib.NAMES.get(au, ""), DIM, font(12), anchor="lm")
    return sheet


def _left(column: int, present: bool) -> int:
    place = column + PER_KIND * present
    return _MARGIN + _SIDE + place * (2 * _TILE + 3 * _GAP) + 40 * present


def _caption(predictions: FramePredictions, mistake: Mistake) -> str:
    n = mistake.frame
    where = f"{predictions.subjects[n]}/{predictions.sequences[n]} {predictions.frames[n]}"
    return f"{predictions.scores[n, mistake.au]:+.3f}   {where}"


def _draw_pair(sheet: Image.Image, corner: tuple[int, int], face: np.ndarray, heatmap: np.ndarray) -> None:
    """Draw a face, and beside it the same face in grey under its heatmap."""
    x, y = corner
    image = Image.fromarray(face).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
    sheet.paste(image, corner)
    sheet.paste(Image.fromarray(overlay(pale_grey(image), heatmap)), (x + _TILE + _GAP, y))

"""Sheets of the most confident mistakes: for each AU the faces on which the network was surest and wrong."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fgnet_jax import aus as aus_lib
from fgnet_jax.evaluate.frame_predictions import FramePredictions
from fgnet_jax.visualization.figures import save_image
from fgnet_jax.visualization.heatmap_sheet import overlay

PER_KIND = 3
"""Faces an AU and kind of mistake, each of another person: neighbouring frames of a video are the same mistake."""

_TILE, _GAP, _MARGIN, _SIDE, _HEAD, _CAPTION = 132, 4, 20, 150, 76, 34
_PAPER, _TEXT, _FAINT, _ALARM, _MISS = (255, 255, 255), (34, 38, 46), (123, 132, 148), (214, 39, 40), (31, 96, 196)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A frame and AU that was got wrong.

    Attributes:
      frame: Row of the answers.
      au: Column of the answers.
      present: The label.
      margin: How far the score lies on the wrong side of the threshold.
    """

    frame: int
    au: int
    present: bool
    margin: float


def find(answers: FramePredictions, count: int = PER_KIND) -> list[Mistake]:
    """The surest false alarms, then the surest misses, of each AU in turn; at most one a person, kind and AU."""
    margins = answers.scores - answers.thresholds
    found = []
    for k in range(len(answers.aus)):
        for present in (False, True):
            wrong = answers.labels[:, k] == int(present)
            wrong &= (margins[:, k] <= 0) if present else (margins[:, k] > 0)
            surest = sorted(np.flatnonzero(wrong).tolist(), key=lambda n, k=k: -abs(margins[n, k]))
            people: set[str] = set()
            for n in surest:
                if len(people) < count and answers.subjects[n] not in people:
                    people.add(answers.subjects[n])
                    found.append(Mistake(n, k, present, float(abs(margins[n, k]))))
    return found


def draw(
    answers: FramePredictions,
    mistakes: Sequence[Mistake],
    look: Callable[[list[int]], tuple[np.ndarray, np.ndarray]],
    path: str | Path,
    title: str,
) -> None:
    """Draws mistakes as one PNG: a line an AU, false alarms to the left and misses to the right.

    Args:
      answers: What the mistakes are rows and columns of.
      mistakes: Of `find`.
      look: Faces (n, S, S, 3) uint8 and heatmaps (n, H, H, K) of some rows, K the AUs of the answers.
      path: The PNG.
      title: Above it.
    """
    rows = sorted({mistake.frame for mistake in mistakes})
    faces, maps = look(rows) if rows else (np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 1, 1, len(answers.aus))))
    place = {row: n for n, row in enumerate(rows)}
    width = _MARGIN * 2 + _SIDE + 2 * PER_KIND * (2 * _TILE + 3 * _GAP) + 40
    sheet = Image.new("RGB", (width, _HEAD + len(answers.aus) * (_TILE + _CAPTION) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, 22), title, _TEXT, _font(19), anchor="lm")
    pen.text((_left(0, False), 56), "said to be present, but absent", _ALARM, _font(16), anchor="lm")
    pen.text((_left(0, True), 56), "present, but missed", _MISS, _font(16), anchor="lm")
    for k, au in enumerate(answers.aus):
        top = _HEAD + k * (_TILE + _CAPTION)
        pen.text((_MARGIN, top + _TILE // 2 - 10), aus_lib.label(au), _TEXT, _font(22), anchor="lm")
        pen.text((_MARGIN, top + _TILE // 2 + 14), aus_lib.NAMES.get(au, ""), _FAINT, _font(12), anchor="lm")
        for present in (False, True):
            mine = [m for m in mistakes if m.au == k and m.present == present]
            if not mine:
                pen.text((_left(0, present), top + _TILE // 2), "none", _FAINT, _font(15), anchor="lm")
            for column, mistake in enumerate(mine[:PER_KIND]):
                n = place[mistake.frame]
                _pair(sheet, (_left(column, present), top), faces[n], maps[n, ..., k], _caption(answers, mistake))
    save_image(sheet, path)


def _left(column: int, present: bool) -> int:
    place = column + PER_KIND * present
    return _MARGIN + _SIDE + place * (2 * _TILE + 3 * _GAP) + 40 * present


def _caption(answers: FramePredictions, mistake: Mistake) -> str:
    n = mistake.frame
    where = f"{answers.subjects[n]}/{answers.sequences[n]} {answers.frames[n]}"
    return f"{answers.scores[n, mistake.au]:+.3f}   {where}"


def _pair(sheet: Image.Image, corner: tuple[int, int], face: np.ndarray, heatmap: np.ndarray, caption: str) -> None:
    """A face, the same face in grey under its heatmap, and a line below."""
    x, y = corner
    image = Image.fromarray(face).resize((_TILE, _TILE), Image.Resampling.LANCZOS)
    sheet.paste(image, (x, y))
    grey = 70 + 0.68 * np.asarray(image.convert("L"), np.float32)
    sheet.paste(Image.fromarray(overlay(grey, heatmap)), (x + _TILE + _GAP, y))
    ImageDraw.Draw(sheet).text((x, y + _TILE + 12), caption, _TEXT, _font(12), anchor="lm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

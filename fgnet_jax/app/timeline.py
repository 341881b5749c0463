"""The time line of a video: one face's scores over all frames, a row for each AU, with the frame that is shown marked.

Drawn as SVG; a click on it moves the frame control (`scripts`).
"""

import html
from collections.abc import Sequence

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.app.view import FileView
from fgnet_jax.predict.columns import ResultRow
from fgnet_jax.visualization import legend, painting

MAX_COLUMNS = 400
"""Points of a curve; a longer video has several frames at each, of which the highest score is drawn."""

_ROW = 30
_LEAST_REACH = 0.02  # so that noise does not look like expression
_WIDTH = 1000  # of the drawing's own coordinates, stretched to the page's width


def draw(view: FileView, face_id: int | None, chosen: int | None) -> str:
    """Draw a video's time line as HTML; empty for an image.

    Args:
      view: The video.
      face_id: The face; where it is not in the frame that is shown, the first one there, or else in the video.
      chosen: Index of the AU that was chosen, or None.
    """
    if not view.is_video or not view.has_faces:
        return ""
    face_id = _drawn_face(view, face_id)
    scores, present = columns_of(view, face_id)
    reach = min(max(float(np.nanmax(np.abs(scores))), _LEAST_REACH), legend.FULL_BAR)
    rows = "".join(
        _row(au, k, scores=scores[:, k] / reach, present=present[:, k], is_chosen=k == chosen)
        for k, au in enumerate(view.aus)
    )
    at = 100 * (view.numbers.index(view.shown.number) + 0.5) / len(view.numbers)
    title = f"Face {face_id} over {len(view.numbers)} frames"
    scale = f"<span>scores up to \u00b1{reach:.2f}; a line below where an AU is present</span>"
    return (
        f'<div class="tl"><div class="tl-head"><b>{title}</b>{scale}{_ends(view)}</div>'
        f'<div class="tl-rows" style="grid-template-rows:repeat({len(view.aus)},auto)">{rows}'
        f'<div class="tl-marks"><div class="tl-cursor" style="left:{at:.3f}%"></div></div></div></div>'
    )


def control(view: FileView) -> str:
    """Return the control of the frame that is shown as HTML: a slider, a box and buttons; empty for an image."""
    if not view.is_video:
        return ""
    numbers = view.numbers
    step = numbers[1] - numbers[0]
    last = numbers[0]  # what ends a file that is cut off may be out of step, and has no picture
    for number in numbers[1:]:
        last = number if number == last + step else last
    reach = f'min="{numbers[0]}" max="{last}" step="{step}" value="{view.shown.number}"'
    return (
        '<div class="fg-frame"><label>Frame'
        f'<input type="number" {reach} aria-label="Number of the frame"></label>'
        f'<button data-step="-{step}" aria-label="Frame before">&#9664;</button>'
        f'<input type="range" {reach} data-key="{html.escape(view.key)}" aria-label="Frame">'
        f'<button data-step="{step}" aria-label="Next frame">&#9654;</button></div>'
    )


def _drawn_face(view: FileView, face_id: int | None) -> int | None:
    """Return the face whose scores are drawn."""
    if view.shown.rows:
        return view.shown.rows[view.shown.index(face_id)].face_id
    ids = [row.face_id for row in view.rows if row.success]
    return face_id if face_id in ids else ids[0]


def columns_of(view: FileView, face_id: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return a face's highest scores (C, K) and whether AUs are present (C, K), by column of the drawing.

    Scores are NaN where the face is not. C is the number of frames, or `MAX_COLUMNS`.
    """
    by_frame: dict[int, ResultRow] = {row.frame: row for row in view.rows if row.success and row.face_id == face_id}
    numbers = view.numbers
    count = min(len(numbers), MAX_COLUMNS)
    scores = np.full((count, len(view.aus)), np.nan)
    present = np.zeros((count, len(view.aus)), bool)
    for k, number in enumerate(numbers):
        row, column = by_frame.get(number), k * count // len(numbers)
        if row is not None and row.scores is not None and row.present is not None:
            scores[column] = np.fmax(scores[column], row.scores)
            present[column] |= row.present
    return scores, present


def _row(au: int, k: int, *, scores: np.ndarray, present: np.ndarray, is_chosen: bool) -> str:
    """Draw one AU: its name, its scores, in units of half a row, above or below 0, and a line where it is present."""
    name, colour = html.escape(aus_lib.NAMES.get(au, "")), "rgb({},{},{})".format(*painting.colour(au))
    step, middle = _WIDTH / len(scores), _ROW / 2
    heights = np.clip(scores, -1, 1) * (middle - 3)
    area = "".join(_bars(heights, step, middle))
    lines = "".join(f"M{begin * step:.1f} {_ROW - 1}H{end * step:.1f}" for begin, end in _stretches(present))
    pressed = "true" if is_chosen else "false"
    return (
        f'<button class="tl-name" style="grid-row:{k + 1}" data-au="{k}" aria-pressed="{pressed}" title="{name}">'
        f'<span class="au-swatch" style="background:{colour}"></span> {aus_lib.label(au)}</button>'
        f'<svg class="tl-plot" style="grid-row:{k + 1}" viewBox="0 0 {_WIDTH} {_ROW}" preserveAspectRatio="none" '
        'aria-hidden="true">'
        f'<path class="tl-zero" d="M0 {middle}H{_WIDTH}"/><path d="{area}" fill="{colour}" class="tl-area"/>'
        f'<path d="{lines}" stroke="{colour}" class="tl-present"/></svg>'
    )


def _bars(heights: np.ndarray, step: float, middle: float) -> list[str]:
    """Return the path of a bar for every column that has a score."""
    return [
        f"M{k * step:.1f} {middle:.0f}v{-height:.1f}h{step:.2f}v{height:.1f}z"
        for k, height in enumerate(heights)
        if np.isfinite(height)
    ]


def _stretches(present: Sequence[bool] | np.ndarray) -> list[tuple[int, int]]:
    """Return first column and end of every stretch where an AU is present."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(present, np.int8), [0]])))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]


def _ends(view: FileView) -> str:
    """Return the times of the first and last frame."""
    seconds = [row.timestamp for row in view.rows if row.timestamp is not None]
    return f"<span>{min(seconds):.2f} s to {max(seconds):.2f} s</span>" if seconds else ""

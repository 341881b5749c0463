"""Pictures of a run: curves of loss and F1, and sheets of faces with the heatmaps wanted and predicted.

Curves are matplotlib's, sheets Pillow's. matplotlib is imported where it draws, and without pyplot: no global state.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import isotonic_regression

from fgnet_jax import aus as aus_lib

MEAN_F1 = "mean_f1"
"""Name of the figure that marks a line of metrics as an evaluation; `test/mean_f1` if it is one of several."""

AU_F1 = "f1/"
"""What an AU's F1 is named by, before the AU: `f1/AU01`, or `test/f1/AU01`."""

MAX_FACES = 4
"""Faces on a sheet: more are too small to look at."""

INK, DIM, GRID = "#22262e", "#7b8494", "#e3e6eb"
"""Colours of text, of what matters less, and of lines behind, in all pictures."""

_LOSS, _MEAN, _BEST = "#3b6fb6", "#c8452e", "#1c7d4d"
_OTHERS = ("#7d4fa0", "#3b6fb6", "#a67c00")  # means of further evaluations

_TILE, _GAP, _MARGIN = 116, 6, 20
_FACE = 2 * _TILE + _GAP
_HEAD, _FOOT, _ROW = 64, 50, _FACE + 24
_SIDE = 92  # the column that says which row is which
_PAPER, _TEXT, _FAINT = (255, 255, 255), (34, 38, 46), (123, 132, 148)
_RED, _BLUE, _GREY, _AMBER = (214, 39, 40), (31, 96, 196), (150, 156, 166), (245, 158, 11)

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def curves(metrics: Sequence[Mapping[str, Any]], path: str | Path, best_step: int | None = None) -> None:
    """Draws loss and F1 over the steps of a run, as a PNG.

    Args:
      metrics: Lines of a run (`writers.read_metrics`): `loss`, and in lines of evaluations `mean_f1` and `f1/AU01` …
        as fractions. Where a run evaluates on several sets, their names stand before (`test/mean_f1`); AUs are drawn
        of the set that comes first. What is missing or None is left out.
      path: The PNG.
      best_step: The evaluation to mark; by default where the first set's mean F1 is highest.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1, 1.25)})
    _loss_panel(left, metrics)
    _f1_panel(right, metrics, best_step)
    last = max((line["step"] for line in metrics), default=0)
    for panel in (left, right):
        panel.set_xlim(0, max(last, 1))
    save_figure(figure, path)


def _loss_panel(axes: Any, metrics: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    _style(axes, "Training loss", "loss")
    steps, losses = series(metrics, "loss")
    if not len(steps):
        return _say_nothing(axes, "no loss yet")
    if losses.min() > 0 and losses.max() > 5 * losses.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
    if len(steps) < 30:
        axes.plot(steps, losses, color=_LOSS, linewidth=1.8)
        return
    axes.plot(steps, losses, color=_LOSS, linewidth=0.6, alpha=0.35, label="as logged")
    axes.plot(steps, _smooth(losses, len(steps) // 15), color=_LOSS, linewidth=1.8, label="smoothed")
    axes.legend(frameon=False, labelcolor=INK, fontsize=8.5)


def _f1_panel(axes: Any, metrics: Sequence[Mapping[str, Any]], best_step: int | None) -> None:
    _style(axes, "F1 at each evaluation", "F1, %")
    axes.set_ylim(-2, 102)
    prefixes = _prefixes(metrics)
    if not prefixes:
        return _say_nothing(axes, "no evaluation yet")
    first = prefixes[0]
    _au_lines(axes, metrics, first + AU_F1)
    for number, prefix in enumerate(prefixes):
        steps, means = series(metrics, prefix + MEAN_F1)
        colour = _OTHERS[(number - 1) % len(_OTHERS)] if number else _MEAN
        name = "mean" + (f", {prefix.strip('/_ ')}" if prefix else "")
        mark: dict[str, Any] = {"marker": "o", "markersize": 4, "clip_on": False} if len(steps) < 60 else {}
        axes.plot(
            steps, 100 * means, "--" if number else "-", color=colour, linewidth=2.4, label=name, zorder=4, **mark
        )
    _mark_best(axes, *series(metrics, first + MEAN_F1), best_step)
    axes.legend(edgecolor="none", framealpha=0.85, labelcolor=INK, fontsize=8.5, loc="lower right")


def _au_lines(axes: Any, metrics: Sequence[Mapping[str, Any]], prefix: str) -> None:
    """One faint line an AU, its name at its end, moved up or down until no two names overlap."""
    names = list(dict.fromkeys(key for line in metrics for key in line if key.startswith(prefix)))
    ends = []
    for number, name in enumerate(names):
        colour = _qualitative(number)
        steps, values = series(metrics, name)
        if len(steps):
            axes.plot(steps, 100 * values, color=colour, linewidth=1, alpha=0.45)
            ends.append((100 * float(values[-1]), name.removeprefix(prefix), colour))
    ends.sort(key=lambda end: end[0])
    heights = spread([end[0] for end in ends], 4.6, 0, 100)
    beside = axes.get_yaxis_transform()  # x in widths of the panel, y in its data
    for height, (value, name, colour) in zip(heights, ends, strict=True):
        axes.plot((1.005, 1.03), (value, height), transform=beside, color=colour, linewidth=0.8, clip_on=False)
        axes.text(1.035, height, name, transform=beside, color=colour, fontsize=7.5, va="center")


def _mark_best(axes: Any, steps: np.ndarray, means: np.ndarray, best_step: int | None) -> None:
    best = int(np.argmax(means)) if best_step is None else int(np.argmin(np.abs(steps - best_step)))
    x, y = steps[best], 100 * means[best]
    axes.axvline(x, color=_BEST, linewidth=1, linestyle=":", zorder=1)
    axes.plot([x], [y], marker="*", markersize=15, color=_BEST, markeredgecolor="white", zorder=5, clip_on=False)
    axes.set_title(f"best mean: {y:.1f} % at step {x:,}", color=_BEST, fontsize=10, loc="right", fontweight="bold")


def series(metrics: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps (int64) and values (float64) of the lines that have a figure of this name."""
    points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return np.array([p[0] for p in points], np.int64), np.array([p[1] for p in points], np.float64)


def spread(values: Sequence[float], distance: float, low: float, high: float) -> np.ndarray:
    """Ascending values (n,), moved as little as it takes (least squares) until neighbours lie `distance` apart.

    All lie within `low` and `high`, as far as there is room.
    """
    steps = distance * np.arange(len(values))
    if not len(values):
        return steps
    placed = isotonic_regression(np.asarray(values, np.float64) - steps).x
    return np.clip(placed, low, max(high - steps[-1], low)) + steps


def _prefixes(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """What stands before `mean_f1` in evaluations, in order of first appearance."""
    names = dict.fromkeys(key for line in metrics for key in line if key.endswith(MEAN_F1) and line[key] is not None)
    return [name.removesuffix(MEAN_F1) for name in names]


def _style(axes: Any, title: str, unit: str) -> None:
    plain_axes(axes, title, "step", unit)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True)


def plain_axes(axes: Any, title: str, across: str, up: str) -> None:
    """The look of all panels: titles and names in the project's colours, a grid, no box."""
    axes.set_title(title, color=INK, fontsize=12, loc="left", fontweight="bold")
    axes.set_xlabel(across, color=DIM)
    axes.set_ylabel(up, color=DIM)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(colors=DIM, which="both", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _say_nothing(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=DIM)


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """The mean over a window around each value, cut off at both ends."""
    window = np.ones(2 * (width // 2) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def _qualitative(number: int) -> Any:
    """The number-th of twenty colours that are told apart: the ten dark ones first, then the ten light ones."""
    from matplotlib import colormaps

    return colormaps["tab20"](2 * number % 20 + number // 10 % 2)


def save_figure(figure: Any, path: str | Path) -> None:
    """Writes a matplotlib figure as PNG, the whole file at once."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    _write_bytes(path, buffer.getvalue())


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Writes a Pillow picture as PNG, the whole file at once."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    _write_bytes(path, buffer.getvalue())


def _write_bytes(path: str | Path, data: bytes) -> None:
    """Replaces a file at once: whoever looks at it while the run goes on sees a whole picture."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        save_picture(sheet, path)
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
    picture = Image.fromarray(np.asarray(heatmap, np.float32))
    values = np.clip(np.asarray(picture.resize(grey.shape[::-1], Image.Resampling.BILINEAR)), -1, 1)[..., None]
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

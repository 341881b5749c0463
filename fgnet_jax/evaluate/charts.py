"""Images of an evaluation: F1 by AU with intervals, the reliability of scores, and F1 over the number of samples.

matplotlib is imported where it draws, and without pyplot.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.metrics.classification import always_present_f1
from fgnet_jax.visualization.figures import DIM, GRID, INK, save_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURED, THRESHOLD, CHANCE = "#3b6fb6", "#c8452e", "#a67c00"
"""Colours of measured values, of thresholds, and of what chance achieves."""

_SERIES = (MEASURED, THRESHOLD, "#1c7d4d", "#7d4fa0")
_BINS = 12
_COLUMNS = 4
_MEAN = 0  # the mean's key among places by AU


def per_au(
    rows: Sequence[tuple[str, MeasuredMetrics]],
    *,
    published: Sequence[tuple[str, Mapping[int, float], float]],
    path: str | Path,
    title: str,
    footer: str = "",
) -> None:
    """Draw F1 by AU as bars with intervals, the F1 of always predicting "present", and published values as dots.

    Args:
      rows: Name and metrics of each set of bars; at most four are drawn.
      published: Name, F1 by AU and mean of rows of the paper, as fractions.
      path: The PNG.
      title: The title above it.
      footer: The line below it.
    """
    from matplotlib.figure import Figure

    rows = rows[:4]
    aus = sorted({au for _, metrics in rows for au in metrics.aus})
    figure = Figure(figsize=(max(7.5, 1.5 + 0.8 * (len(aus) + 1)), 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    style_axes(axes, title=title, x_label="", y_label="F1, %")
    axes.grid(axis="x", visible=False)
    places = {au: float(k) for k, au in enumerate(aus)} | {_MEAN: len(aus) + 0.4}
    width = 0.8 / len(rows)
    for number, (name, metrics) in enumerate(rows):
        shift = (number - (len(rows) - 1) / 2) * width
        shifted = {au: place + shift for au, place in places.items()}
        _bars(axes, metrics, places=shifted, width=width, colour=_SERIES[number % len(_SERIES)], name=name)
    _always_present(axes, rows[0][1], places)
    _published_dots(axes, published, places)
    axes.set_xticks(list(places.values()), [*map(aus_lib.label, aus), "mean"])
    axes.set_ylim(0, 107)  # room for the values above the bars
    axes.set_yticks(range(0, 101, 20))
    figure.legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="outside lower center", ncols=3)
    save_figure(figure, path, footer)


def _bars(
    axes: "Axes", metrics: MeasuredMetrics, *, places: Mapping[int, float], width: float, colour: str, name: str
) -> None:
    """Draw F1 by AU and its mean as bars with intervals, with their values where there is room."""
    low, high = metrics.interval("f1")
    mean_low, mean_high = metrics.mean_interval("f1")
    values = 100 * np.append(metrics.values["f1"], metrics.mean("f1"))
    x = [places[au] for au in (*metrics.aus, _MEAN)]
    axes.bar(x, np.nan_to_num(values), 0.92 * width, color=colour, alpha=0.85, label=name, zorder=2)
    bottom, top = 100 * np.append(low, mean_low), 100 * np.append(high, mean_high)
    axes.vlines(x, bottom, top, color=INK, linewidth=1.1, zorder=4)
    for place, value, end in zip(x, values, np.fmax(top, values), strict=True):
        if width > 0.35 and np.isfinite(value):
            axes.text(place, end + 1.5, f"{value:.1f}", ha="center", fontsize=7.5, color=INK)


def _always_present(axes: "Axes", metrics: MeasuredMetrics, places: Mapping[int, float]) -> None:
    """Draw the F1 of predicting "present" for every frame (`classification.always_present_f1`)."""
    chance = 100 * always_present_f1(metrics.values["base_rate"])
    label = 'always "present"'
    for au, value in zip((*metrics.aus, _MEAN), np.append(chance, np.nanmean(chance)), strict=True):
        axes.hlines(value, places[au] - 0.42, places[au] + 0.42, color=CHANCE, linewidth=1.6, label=label, zorder=3)
        label = ""  # one entry in the legend


def _published_dots(
    axes: "Axes", published: Sequence[tuple[str, Mapping[int, float], float]], places: Mapping[int, float]
) -> None:
    for name, f1, mean in published:
        shown = {au: value for au, value in {**f1, _MEAN: mean}.items() if au in places}
        axes.plot(
            [places[au] for au in shown], [100 * value for value in shown.values()],
            "D", color=INK, markersize=5, markeredgecolor="white", label=f"{name}, published", zorder=5,
        )  # fmt: skip


def reliability(
    scores: np.ndarray,
    *,
    labels: np.ndarray,
    thresholds: np.ndarray,
    aus: Sequence[int],
    path: str | Path,
    title: str,
    footer: str = "",
) -> None:
    """Draw for each AU the share of frames in which it is present at each score, over a histogram of the scores.

    A reliable score's curve rises from 0 to 100 %, through 50 % at the threshold.

    Args:
      scores: (N, K).
      labels: (N, K), -1 unknown.
      thresholds: (N, K) or (K,).
      aus: The K AU numbers.
      path: The PNG.
      title: The title above it.
      footer: The line below it.
    """
    from matplotlib.figure import Figure

    rows = math.ceil(len(aus) / _COLUMNS)
    figure = Figure(figsize=(3.1 * _COLUMNS, 2.6 * rows + 0.6), dpi=130, layout="constrained")
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    panels = np.atleast_1d(figure.subplots(rows, _COLUMNS, squeeze=False)).ravel()
    thresholds = np.broadcast_to(thresholds, scores.shape)
    for k, axes in enumerate(panels):
        if k >= len(aus):
            axes.set_visible(False)
            continue
        known = labels[:, k] >= 0
        _reliability_panel(axes, scores[known, k], labels[known, k] == 1, thresholds[known, k])
        axes.set_title(f"{aus_lib.label(aus[k])} {aus_lib.NAMES.get(aus[k], '')}", color=INK, fontsize=9.5, loc="left")
    save_figure(figure, path, footer)


def _reliability_panel(axes: "Axes", scores: np.ndarray, present: np.ndarray, thresholds: np.ndarray) -> None:
    """Draw one AU: scores (N,) and whether it is present (N,), of the frames whose label is known."""
    style_axes(axes, title="", x_label="score", y_label="present, %")
    axes.set_ylim(-3, 103)
    if not len(scores):
        axes.text(0.5, 0.5, "no known frame", transform=axes.transAxes, ha="center", color=DIM)
        return
    centres, shares, counts = reliability_bins(scores, present)
    limit = max(abs(float(scores.min())), abs(float(scores.max())), 1e-3)
    axes.set_xlim(-1.05 * limit, 1.05 * limit)
    axes.locator_params(axis="x", nbins=5)
    heights, edges = np.histogram(scores, 30)
    axes.bar(edges[:-1], 35 * heights / heights.max(), np.diff(edges), align="edge", color=GRID, zorder=1)
    axes.axhline(100 * present.mean(), color=CHANCE, linewidth=1, linestyle=":", zorder=2)
    for value in np.unique(thresholds):
        axes.axvline(value, color=THRESHOLD, linewidth=1.2, linestyle="--", zorder=2)
    half_widths = 196 * np.sqrt(shares * (1 - shares) / counts)  # 95 %, normal approximation
    axes.errorbar(centres, 100 * shares, half_widths, fmt="o-", color=MEASURED, markersize=3.5, linewidth=1.4, zorder=3)


def reliability_bins(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort scores into bins of about equal size; return their mean score, share of presence, and size, (bins,) each."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    centres = np.array([scores[part].mean() for part in parts], np.float64)
    shares = np.array([present[part].mean() for part in parts], np.float64)
    return centres, shares, np.array([len(part) for part in parts], np.float64)


def efficiency(
    curves: Mapping[str, Sequence[tuple[int, MeasuredMetrics]]], path: str | Path, title: str, *, footer: str = ""
) -> None:
    """Draw mean F1 over the number of training frames, with intervals: one line per way to count updates.

    Args:
      curves: Name of the line to its points, each the number of training frames and the metrics.
      path: The PNG.
      title: The title above it.
      footer: The line below it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    style_axes(axes, title=title, x_label="training frames", y_label="mean F1, %")
    axes.set_xscale("log")
    ticks = sorted({count for points in curves.values() for count, _ in points})
    for number, (name, points) in enumerate(curves.items()):
        x = np.array([count for count, _ in points], np.float64) * (1 + 0.012 * number)  # whiskers side by side
        y = np.array([100 * metrics.mean("f1") for _, metrics in points])
        ends = 100 * np.array([metrics.mean_interval("f1") for _, metrics in points])
        colour = _SERIES[number % len(_SERIES)]
        axes.plot(x, y, "o-" if not number else "s--", color=colour, label=name, linewidth=2, zorder=3)
        axes.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=1.2, zorder=2)
    crowded = {low for low, high in itertools.pairwise(ticks) if high < 1.3 * low}
    axes.set_xticks(ticks, ["" if tick in crowded else f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right")
    save_figure(figure, path, footer)

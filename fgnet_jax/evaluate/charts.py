"""Images of an evaluation: F1 by AU with intervals, how reliable scores are, and what few samples are enough for.

matplotlib is imported where it draws, and without pyplot.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.metrics.bootstrap import MeasuredMetrics
from fgnet_jax.visualization.figures import DIM, GRID, INK, plain_axes, save_figure

OURS, PUBLISHED, CHANCE = "#3b6fb6", "#c8452e", "#a67c00"
_SERIES = (OURS, PUBLISHED, "#1c7d4d", "#7d4fa0")
_BINS = 12
_COLUMNS = 4


def per_au(
    rows: Sequence[tuple[str, MeasuredMetrics]],
    published: Sequence[tuple[str, Mapping[int, float], float]],
    path: str | Path,
    title: str,
) -> None:
    """Bars of F1 by AU with their intervals, the F1 of always saying "present", and published values as dots.

    Args:
      rows: Name and figures of each set of bars; at most four are drawn.
      published: Name, F1 by AU and mean of rows of the paper, as fractions.
      path: The PNG.
      title: Above it.
    """
    from matplotlib.figure import Figure

    rows = rows[:4]
    aus = sorted({au for _, measured in rows for au in measured.aus})
    figure = Figure(figsize=(max(7.5, 1.5 + 0.8 * (len(aus) + 1)), 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    plain_axes(axes, title, "", "F1, %")
    axes.grid(axis="x", visible=False)
    places = {au: k for k, au in enumerate(aus)} | {0: len(aus) + 0.4}  # 0: the mean
    width = 0.8 / len(rows)
    for number, (name, measured) in enumerate(rows):
        shift = (number - (len(rows) - 1) / 2) * width
        _bars(axes, name, measured, places, shift, width, _SERIES[number % len(_SERIES)])
    _always_present(axes, rows[0][1], places)
    for name, f1, mean in published:
        points = {**f1, 0: mean}
        inside = {au: value for au, value in points.items() if au in places}
        axes.plot(
            [places[au] for au in inside], [100 * v for v in inside.values()],
            "D", color=INK, markersize=5, markeredgecolor="white", label=f"{name}, published", zorder=5,
        )  # fmt: skip
    axes.set_xticks(list(places.values()), [*map(aus_lib.label, aus), "mean"])
    axes.set_ylim(0, 107)  # room for the figures above the bars
    axes.set_yticks(range(0, 101, 20))
    figure.legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="outside lower center", ncols=3)
    save_figure(figure, path)


def _bars(
    axes: Any, name: str, measured: MeasuredMetrics, places: dict, shift: float, width: float, colour: str
) -> None:
    low, high = measured.interval("f1")
    ends = measured.mean_interval("f1")
    values = 100 * np.append(measured.values["f1"], measured.mean("f1"))
    x = [places[au] + shift for au in (*measured.aus, 0)]
    axes.bar(x, np.nan_to_num(values), 0.92 * width, color=colour, alpha=0.85, label=name, zorder=2)
    bottom, top = 100 * np.append(low, ends[0]), 100 * np.append(high, ends[1])
    axes.vlines(x, bottom, top, color=INK, linewidth=1.1, zorder=4)
    for place, value, end in zip(x, values, np.fmax(top, values), strict=True):
        if width > 0.35 and np.isfinite(value):
            axes.text(place, end + 1.5, f"{value:.1f}", ha="center", fontsize=7.5, color=INK)


def _always_present(axes: Any, measured: MeasuredMetrics, places: dict) -> None:
    """What saying "present" of every frame would score: 2 r / (1 + r) at a base rate of r."""
    rate = measured.values["base_rate"]
    chance = 200 * rate / (1 + rate)
    label: str | None = 'always "present"'
    for au, value in zip((*measured.aus, 0), np.append(chance, np.nanmean(chance)), strict=True):
        axes.hlines(value, places[au] - 0.42, places[au] + 0.42, color=CHANCE, linewidth=1.6, label=label, zorder=3)
        label = None


def reliability(
    scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray, aus: Sequence[int], path: str | Path, title: str
) -> None:
    """For each AU, the share of frames in which it is present at each score, over a histogram of the scores.

    A score that can be relied on rises from 0 to 100 %, through 50 % at the threshold.

    Args:
      scores: (N, K).
      labels: (N, K), -1 unknown.
      thresholds: (N, K) or (K,).
      aus: The K AU numbers.
      path: The PNG.
      title: Above it.
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
    save_figure(figure, path)


def _reliability_panel(axes: Any, scores: np.ndarray, present: np.ndarray, thresholds: np.ndarray) -> None:
    plain_axes(axes, "", "score", "present, %")
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
        axes.axvline(value, color=PUBLISHED, linewidth=1.2, linestyle="--", zorder=2)
    spread = 196 * np.sqrt(shares * (1 - shares) / counts)
    axes.errorbar(centres, 100 * shares, spread, fmt="o-", color=OURS, markersize=3.5, linewidth=1.4, zorder=3)


def reliability_bins(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of about as many scores each: their mean score, the share in which the AU is present, and their size."""
    order = np.argsort(scores, kind="stable")
    parts = np.array_split(order, min(_BINS, len(order)))
    return tuple(  # pyright: ignore
        np.array([fn(part) for part in parts], np.float64)
        for fn in (lambda p: scores[p].mean(), lambda p: present[p].mean(), len)
    )


def efficiency(curves: Mapping[str, Sequence[tuple[int, MeasuredMetrics]]], path: str | Path, title: str) -> None:
    """Mean F1 over the number of training frames, with intervals: one line a way of counting updates.

    Args:
      curves: Name of the line to its points, each the number of frames trained on and what was measured.
      path: The PNG.
      title: Above it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    plain_axes(axes, title, "training frames", "mean F1, %")
    axes.set_xscale("log")
    ticks = sorted({count for points in curves.values() for count, _ in points})
    for number, (name, points) in enumerate(curves.items()):
        x = np.array([count for count, _ in points], np.float64) * (1 + 0.012 * number)  # whiskers side by side
        y = np.array([100 * measured.mean("f1") for _, measured in points])
        ends = 100 * np.array([measured.mean_interval("f1") for _, measured in points])
        colour = _SERIES[number % len(_SERIES)]
        axes.plot(x, y, "o-" if not number else "s--", color=colour, label=name, linewidth=2, zorder=3)
        axes.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=1.2, zorder=2)
    crowded = {low for low, high in itertools.pairwise(ticks) if high < 1.3 * low}
    axes.set_xticks(ticks, ["" if tick in crowded else f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, loc="lower right")
    save_figure(figure, path)

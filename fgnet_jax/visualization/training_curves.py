"""Training curves: the loss and F1 of a run over its steps.

matplotlib is imported where it draws, and without pyplot: no global state.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import isotonic_regression

from fgnet_jax.visualization.figures import DIM, INK, save_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEAN_F1 = "mean_f1"
"""Name of the metric that marks a line of metrics as an evaluation; `test/mean_f1` if it is one of several."""

AU_F1 = "f1/"
"""Prefix of an AU's F1: `f1/AU01`, or `test/f1/AU01`."""

_LOSS, _MEAN, _BEST = "#3b6fb6", "#c8452e", "#1c7d4d"
_OTHERS = ("#7d4fa0", "#3b6fb6", "#a67c00")  # means of further evaluations


def training_curves(metrics: Sequence[Mapping[str, Any]], path: str | Path, best_step: int | None = None) -> None:
    """Draw loss and F1 over the steps of a run, as a PNG.

    Args:
      metrics: Lines of a run (`metrics_writer.read_metrics`): `loss`, and in lines of evaluations `mean_f1` and
        `f1/AU01` … as fractions. Where a run evaluates on several sets, metrics are prefixed with their names
        (`test/mean_f1`); AUs are drawn of the first set. Missing values and None are left out.
      path: The PNG.
      best_step: The step of the evaluation to mark; by default the one where the first set's mean F1 is highest.
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


def _loss_panel(axes: "Axes", metrics: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    _style_over_steps(axes, "Training loss", "loss")
    steps, losses = series(metrics, "loss")
    if not len(steps):
        return _show_message(axes, "no loss yet")
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


def _f1_panel(axes: "Axes", metrics: Sequence[Mapping[str, Any]], best_step: int | None) -> None:
    _style_over_steps(axes, "F1 at each evaluation", "F1, %")
    axes.set_ylim(-2, 102)
    prefixes = _prefixes(metrics)
    if not prefixes:
        return _show_message(axes, "no evaluation yet")
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


def _au_lines(axes: "Axes", metrics: Sequence[Mapping[str, Any]], prefix: str) -> None:
    """Draw one faint line per AU with its name at its end, moved up or down until no two names overlap."""
    names = list(dict.fromkeys(key for line in metrics for key in line if key.startswith(prefix)))
    ends = []
    for number, name in enumerate(names):
        colour = _qualitative(number)
        steps, values = series(metrics, name)
        if len(steps):
            axes.plot(steps, 100 * values, color=colour, linewidth=1, alpha=0.45)
            ends.append((100 * float(values[-1]), name.removeprefix(prefix), colour))
    ends.sort(key=lambda end: end[0])
    heights = spaced_out([end[0] for end in ends], 4.6, 0, 100)
    beside = axes.get_yaxis_transform()  # x in widths of the panel, y in its data
    for height, (value, name, colour) in zip(heights, ends, strict=True):
        axes.plot((1.005, 1.03), (value, height), transform=beside, color=colour, linewidth=0.8, clip_on=False)
        axes.text(1.035, height, name, transform=beside, color=colour, fontsize=7.5, va="center")


def _mark_best(axes: "Axes", steps: np.ndarray, means: np.ndarray, best_step: int | None) -> None:
    best = int(np.argmax(means)) if best_step is None else int(np.argmin(np.abs(steps - best_step)))
    x, y = int(steps[best]), 100 * float(means[best])
    axes.axvline(x, color=_BEST, linewidth=1, linestyle=":", zorder=1)
    axes.plot([x], [y], marker="*", markersize=15, color=_BEST, markeredgecolor="white", zorder=5, clip_on=False)
    axes.set_title(f"best mean: {y:.1f} % at step {x:,}", color=_BEST, fontsize=10, loc="right", fontweight="bold")


def series(metrics: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (int64) and values (float64) of the lines that have a metric of this name."""
    points = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return np.array([p[0] for p in points], np.int64), np.array([p[1] for p in points], np.float64)


def spaced_out(values: Sequence[float], distance: float, low: float, high: float) -> np.ndarray:
    """Move ascending values (n,) as little as possible (least squares) so that neighbours are `distance` apart.

    All stay within `low` and `high`, as far as there is room.
    """
    steps = distance * np.arange(len(values))
    if not len(values):
        return steps
    placed = isotonic_regression(np.asarray(values, np.float64) - steps).x
    return np.clip(placed, low, max(high - steps[-1], low)) + steps


def _prefixes(metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the prefixes of `mean_f1` in evaluations, in order of first appearance."""
    names = dict.fromkeys(key for line in metrics for key in line if key.endswith(MEAN_F1) and line[key] is not None)
    return [name.removesuffix(MEAN_F1) for name in names]


def _style_over_steps(axes: "Axes", title: str, y_label: str) -> None:
    style_axes(axes, title=title, x_label="step", y_label=y_label)
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
    axes.locator_params(axis="x", integer=True)


def _show_message(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=DIM)


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Compute the mean over a window around each value, cut off at both ends."""
    window = np.ones(2 * (width // 2) + 1)
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def _qualitative(number: int) -> tuple[float, ...]:
    """Return the number-th of twenty distinct RGBA colours: the ten dark ones first, then the ten light ones."""
    from matplotlib import colormaps

    return colormaps["tab20"](2 * number % 20 + number // 10 % 2)

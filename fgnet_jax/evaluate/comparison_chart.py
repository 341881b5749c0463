"""The chart of a comparison: for each AU the difference between two methods, with its intervals and p value.

matplotlib is imported where it draws, and without pyplot.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.evaluate.charts import MEASURED, THRESHOLD
from fgnet_jax.metrics.f1_table import percent
from fgnet_jax.metrics.paired import LEVEL, MetricDifference, PairedComparison
from fgnet_jax.visualization.figures import DIM, INK, save_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = (0.36, 0.74, 1.0)  # right ends of the columns of values
_HEAD = 11  # letters of a heading: what fits between two columns


def draw(
    result: PairedComparison, metric: str, *, names: tuple[str, str], path: str | Path, title: str, footer: str = ""
) -> None:
    """Draw a metric's differences: a line per AU and one for the mean, to the right where the second method is better.

    A thick line is the 95 % interval, a thin one that at which all AUs' hold at once. A point is filled where the
    corrected p value is at most 0.05. Both methods' values and p stand on the right.

    Args:
      result: The comparison.
      metric: One of its metrics.
      names: Names of the methods.
      path: The PNG.
      title: The title above it.
      footer: The line below it.
    """
    from matplotlib.figure import Figure

    found = result.differences[metric]
    figure = Figure(figsize=(9.5, 1.9 + 0.36 * (len(result.aus) + 1)), dpi=150, layout="constrained")
    axes, beside = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (2.4, 1)})
    x_label = f"difference in points: {_short(names[1])} minus {_short(names[0])}"
    style_axes(axes, title=title, x_label=x_label, y_label="")
    axes.grid(axis="y", visible=False)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    places = [*range(len(result.aus)), len(result.aus) + 0.4]
    for place, k in zip(places, range(len(result.aus)), strict=False):
        _line(axes, place, found, k)
    _mean_line(axes, places[-1], found)
    labels = [f"{aus_lib.label(au)} {aus_lib.NAMES.get(au, '')}".strip() for au in result.aus]
    axes.set_yticks(places, [*labels, "mean"], color=INK)
    axes.set_ylim(places[-1] + 0.7, -0.9)
    _values(beside, places, found, names)
    rule = f"Thick: 95 % interval; thin: that of all AUs together; filled: p at most {1 - LEVEL:.2f}."
    save_figure(figure, path, f"{rule} {footer}")


def _short(name: str) -> str:
    """Return a name that fits beside others."""
    return name if len(name) <= 24 else f"{name[:22]}…"


def _line(axes: "Axes", place: float, found: MetricDifference, k: int) -> None:
    """Draw one AU's difference, if it has one."""
    if np.isnan(found.difference[k]):
        return
    is_significant = found.p_holm[k] <= 1 - LEVEL
    colour = DIM if np.isnan(found.p[k]) else MEASURED
    axes.hlines(place, *(100 * found.corrected[:, k]), color=colour, linewidth=1, zorder=2)
    axes.hlines(place, *(100 * found.interval[:, k]), color=colour, linewidth=3.2, zorder=3)
    fill = colour if is_significant else "white"
    axes.plot(100 * found.difference[k], place, "o", color=colour, markerfacecolor=fill, markersize=6.5, zorder=4)


def _mean_line(axes: "Axes", place: float, found: MetricDifference) -> None:
    """Draw the difference of the means, in another colour."""
    axes.hlines(place, *(100 * np.array(found.mean_interval)), color=THRESHOLD, linewidth=3.2, zorder=3)
    fill = THRESHOLD if found.mean_p <= 1 - LEVEL else "white"
    axes.plot(100 * found.mean_difference, place, "D", color=THRESHOLD, markerfacecolor=fill, markersize=6.5, zorder=4)


def _values(axes: "Axes", places: list[float], found: MetricDifference, names: tuple[str, str]) -> None:
    """Write both methods' values and the corrected p value beside each line, in columns with a heading."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    rows = [(first, second, p) for first, second, p in zip(found.first, found.second, found.p_holm, strict=True)]
    rows.append((*found.means, found.mean_p))
    heads = [*(name if len(name) <= _HEAD else f"{name[: _HEAD - 1]}…" for name in names), "p"]
    for x, head in zip(_COLUMNS, heads, strict=True):
        axes.text(x, -0.85, head, ha="right", va="center", fontsize=8.5, color=DIM)
    for place, (first, second, p) in zip(places, rows, strict=True):
        for x, text in zip(_COLUMNS, (percent(first), percent(second), p_text(p)), strict=True):
            axes.text(x, place, text, ha="right", va="center", fontsize=9, color=INK)


def p_text(value: float) -> str:
    """Format a p value; `-` for NaN."""
    return "-" if np.isnan(value) else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"

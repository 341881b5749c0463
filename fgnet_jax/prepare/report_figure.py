"""Draws a preparation's report: shares of positives beside the published ones, and sample faces."""

import io
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fgnet_jax.prepare.report import MANY_FOLDS, Sample, shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_COLUMNS = 6
_FOLDS, _PUBLISHED = (
    ("#3b6fb6", "#8fb3dd", "#1c4577"),
    "#c8452e",
)  # colours of folds, again from the first after the last


def draw(values: Mapping[str, Any], samples: Sequence[Sample]) -> bytes:
    """Draw the report as a PNG.

    Args:
      values: From `report.collect`.
      samples: Faces to show with their landmarks.
    """
    from matplotlib.figure import Figure

    rows = -(-len(samples) // _COLUMNS)
    figure = Figure(figsize=(14, 5.2 + 2.75 * rows), dpi=100, layout="constrained")
    top, *below = figure.subfigures(
        1 + bool(rows), 1, height_ratios=(5.2, 2.75 * rows)[: 1 + bool(rows)], squeeze=False
    )[:, 0]
    left, right = top.subplots(1, 2, gridspec_kw={"width_ratios": (1.7, 1)})
    _draw_rates(left, values)
    _draw_text(right, values)
    for subfigure in below:
        _draw_faces(subfigure, rows, samples)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()


def _draw_rates(axes: "Axes", values: Mapping[str, Any]) -> None:
    """Draw the share of positives by AU and fold (bars, or a point for each of many), the published ones as lines."""
    names = list(values["all"]["known"])
    place = np.arange(len(names))
    if len(values["folds"]) > MANY_FOLDS:
        _draw_many_folds(axes, values, names)
    else:
        _draw_folds(axes, values, names)
    published = values["published_rates"]
    if published:
        at = [k for k, name in enumerate(names) if name in published]
        axes.hlines(
            [published[names[k]] for k in at], place[at] - 0.45, place[at] + 0.45, _PUBLISHED, label="published"
        )
    axes.set_xticks(place, names, rotation=45 if len(names) > 10 else 0)
    axes.set_ylabel("share of positive frames")
    axes.set_title(f"{values['corpus']}: {values['faces']:,} faces", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _draw_folds(axes: "Axes", values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw a bar for each AU and fold."""
    folds = values["folds"].items()
    width = 0.8 / len(folds)
    for k, (fold, counts) in enumerate(folds):
        heights = [counts["positives"][name] / max(counts["known"][name], 1) for name in names]
        x = np.arange(len(names)) + (k - (len(folds) - 1) / 2) * width
        axes.bar(x, heights, width, color=_FOLDS[k % len(_FOLDS)], label=fold.replace("_", " "))


def _draw_many_folds(axes: "Axes", values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Draw a bar for each AU over all folds, and a point for each fold."""
    counts = values["all"]
    heights = [counts["positives"][name] / max(counts["known"][name], 1) for name in names]
    axes.bar(np.arange(len(names)), heights, 0.8, color=_FOLDS[1], label="all")
    points = [(place, share) for place, name in enumerate(names) for share in shares(values, name).values()]
    label = f"{len(values['folds'])} folds"
    axes.plot(*np.reshape(points, (-1, 2)).T, "_", color=_FOLDS[2], markersize=12, markeredgewidth=1.4, label=label)


def _draw_text(axes: "Axes", values: Mapping[str, Any]) -> None:
    """Write the frames of each fold, and what was left out."""
    is_long = len(values["folds"]) > MANY_FOLDS
    lines = [_range_of_frames(values["folds"].values())] if is_long else []
    for name, fold in [*({} if is_long else values["folds"]).items(), ("all", values["all"])]:
        published = fold["published_frames"]
        known = f" of {published:,} published" if published is not None else ""
        lines.append(f"{name.replace('_', ' ')}: {fold['frames']:,} frames{known}, {len(fold['subjects'])} subjects")
    lines += ["", "Left out, or in doubt (frames):"]
    for kind, group in values["problems"].items():
        places = ", ".join(_short(problem["where"]) for problem in group["list"][:2])
        more = ", …" if len(group["list"]) > 2 else ""
        lines += textwrap.wrap(f"{kind}: {group['frames']:,} ({places}{more})", 62, subsequent_indent="    ")
    if not values["problems"]:
        lines.append("nothing")
    axes.axis("off")
    axes.text(0, 1, "\n".join(lines), va="top", fontsize=9.5, linespacing=1.45, transform=axes.transAxes)


def _range_of_frames(folds: Collection[Mapping[str, Any]]) -> str:
    """Say in a line how many frames and subjects each of many folds has."""
    frames, subjects = [fold["frames"] for fold in folds], [len(fold["subjects"]) for fold in folds]
    noun = "subject" if max(subjects) == 1 else "subjects"
    return f"{len(folds)} folds: {_span(frames)} frames, {_span(subjects)} {noun} each"


def _span(counts: Sequence[int]) -> str:
    """Name the least and the greatest of some numbers, "3 to 7"; one where they are the same."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _short(where: str) -> str:
    """Return a file's name without its folders, and anything else unchanged."""
    return where.rsplit("/", 1)[-1] if where.startswith("/") else where


def _draw_faces(figure: "SubFigure", rows: int, samples: Sequence[Sample]) -> None:
    """Draw sample faces with their landmarks, on a grid."""
    grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, sample in zip(grid, samples, strict=False):
        with Image.open(io.BytesIO(sample.image)) as image:
            axes.imshow(np.asarray(image.convert("RGB")))
        axes.plot(*sample.landmarks.T, ".", color="#ffdd33", markersize=2.2)
        axes.set_title(sample.caption, fontsize=8.5)

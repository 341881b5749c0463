"""The report of a comparison: tables for the terminal, Markdown, CSV and JSON, with a chart for each metric."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.evaluate import comparison_chart, report
from fgnet_jax.evaluate.compare import Comparison
from fgnet_jax.evaluate.comparison_chart import p_text
from fgnet_jax.metrics import f1_table, paired
from fgnet_jax.metrics.f1_table import Cells
from fgnet_jax.metrics.paired import MetricDifference
from fgnet_jax.runtime import files, provenance
from fgnet_jax.runtime.version import __version__

REPORT_FILES = ("table.csv", "report.md")


def cells(comparison: Comparison, metric: str) -> Cells:
    """Lay out a metric in percent and its differences in points, a line per AU and one for the mean."""
    found, (first, second) = comparison.result.differences[metric], comparison.names
    head = [f"{report.TITLES[metric]}, %", first, second, "difference", "95 % interval", "together", "p", "p, Holm"]
    lines = []
    for k, au in enumerate(comparison.result.aus):
        intervals = [_interval(found.interval[:, k]), _interval(found.corrected[:, k])]
        numbers = [f1_table.percent(found.first[k]), f1_table.percent(found.second[k]), _points(found.difference[k])]
        lines.append([au_label(au), *numbers, *intervals, p_text(found.p[k]), p_text(found.p_holm[k])])
    means = [*map(f1_table.percent, found.means), _points(found.mean_difference)]
    return [head, *lines, ["mean", *means, _interval(np.array(found.mean_interval)), "-", p_text(found.mean_p), "-"]]


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:+.1f}"


def _interval(ends: np.ndarray) -> str:
    return "-" if np.isnan(ends).any() else f"[{_points(ends[0])}, {_points(ends[1])}]"


def long_cells(comparison: Comparison) -> Cells:
    """Return every number of every metric and AU, as fractions with all digits, for CSV."""
    result = comparison.result
    head = [
        "metric",
        "au",
        *comparison.names,
        "difference",
        "low",
        "high",
        "low_together",
        "high_together",
        "p",
        "p_holm",
    ]
    lines = [[*head, "frames", "positives"]]
    for metric, found in result.differences.items():
        for k, au in enumerate(result.aus):
            numbers = [found.first[k], found.second[k], found.difference[k], *found.interval[:, k]]
            numbers += [*found.corrected[:, k], found.p[k], found.p_holm[k]]
            counts = [str(result.frames[k]), str(result.positives[k])]
            lines.append([metric, au_label(au), *map(_digits, numbers), *counts])
        numbers = [
            *found.means,
            found.mean_difference,
            *found.mean_interval,
            math.nan,
            math.nan,
            found.mean_p,
            math.nan,
        ]
        lines.append([metric, "mean", *map(_digits, numbers), "-", "-"])
    return lines


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else repr(float(value))


def as_text(comparison: Comparison) -> str:
    """Return the report as the terminal shows it."""
    tables = [f1_table.as_text(cells(comparison, metric)) for metric in _shown(comparison)]
    parts = [comparison.title, *tables, "\n".join(comparison.notes)]
    if comparison.warnings:
        parts.append("\n".join(f"WARNING: {line}" for line in comparison.warnings))
    return "\n\n".join(parts)


def _shown(comparison: Comparison) -> list[str]:
    """Return the metrics that any AU has."""
    return [name for name, found in comparison.result.differences.items() if np.isfinite(found.difference).any()]


def as_markdown(comparison: Comparison) -> str:
    """Return the report as Markdown, with its charts."""
    lines = [f"**Warning:** {line}" for line in comparison.warnings] + list(comparison.notes)
    parts = [f"# {comparison.title}"]
    for metric in _shown(comparison):
        caption = f"Difference of {report.TITLES[metric]}: {comparison.names[1]} minus {comparison.names[0]}"
        parts += [f"## {report.TITLES[metric]}", f1_table.as_markdown(cells(comparison, metric))]
        parts += [f"![{caption}]({chart_name(metric)})"]
    return "\n\n".join([*parts, "\n".join(f"- {line}" for line in lines)]) + "\n"


def chart_name(metric: str) -> str:
    """Return the file of a metric's chart."""
    return f"difference_{metric}.png"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the contents of report.json: fractions, None where there is no value.

    Returns:
      `title`, `methods` (two of `name`, `source` and `weights_sha256`), `corpus`, `frames`, `subjects`, `comparison`
      (by metric: `aus` and `mean`, each with `first`, `second`, `difference`, `interval`, `corrected`, `p` and
      `p_holm`), `swaps`, `is_exact`, `options`, `notes`, `warnings`, `interval_level` and `provenance`.
    """
    result, options = comparison.result, comparison.options
    methods = [
        {"name": name, "source": source, "weights_sha256": list(weights)}
        for name, source, weights in zip(comparison.names, comparison.sources, comparison.weights, strict=True)
    ]
    settings = {"corpus": options.corpus, "over_folds": options.over_folds, "resamples": options.resamples}
    settings |= {"permutations": options.permutations, "seed": options.seed}
    return {
        "title": comparison.title,
        "methods": methods,
        "corpus": comparison.corpus,
        "frames": comparison.frames,
        "subjects": list(result.subjects),
        "comparison": {name: _metric_json(comparison, found) for name, found in result.differences.items()},
        "swaps": result.swaps,
        "is_exact": result.is_exact,
        "options": settings,
        "notes": list(comparison.notes),
        "warnings": list(comparison.warnings),
        "interval_level": paired.LEVEL,
        "provenance": provenance.provenance(),
    }


def _metric_json(comparison: Comparison, found: MetricDifference) -> dict[str, Any]:
    result, by_au = comparison.result, {}
    for k, au in enumerate(result.aus):
        names = ("first", "second", "difference", "p", "p_holm")
        entry: dict[str, Any] = {name: _or_none(getattr(found, name)[k]) for name in names}
        entry |= {name: [_or_none(x) for x in getattr(found, name)[:, k]] for name in ("interval", "corrected")}
        by_au[au_label(au)] = entry | {"frames": int(result.frames[k]), "positives": int(result.positives[k])}
    mean = {"first": found.means[0], "second": found.means[1], "difference": found.mean_difference, "p": found.mean_p}
    mean = {name: _or_none(value) for name, value in mean.items()}
    return {"aus": by_au, "mean": mean | {"interval": [_or_none(x) for x in found.mean_interval]}}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def write(comparison: Comparison, folder: Path) -> None:
    """Write report.md, table.csv, a chart for each metric, and report.json with the SHA-256 of all of these."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "table.csv", f1_table.as_csv(long_cells(comparison)))
    charts = [chart_name(metric) for metric in _shown(comparison)]
    footer = f"{len(comparison.result.subjects)} subjects, {comparison.frames:,} frames, fgnet_jax {__version__}"
    for metric, name in zip(_shown(comparison), charts, strict=True):
        title = f"{report.TITLES[metric]}{f' on {comparison.corpus}' if comparison.corpus else ''}"
        comparison_chart.draw(
            comparison.result, metric, names=comparison.names, path=folder / name, title=title, footer=footer
        )
    files.write_text(folder / "report.md", as_markdown(comparison))
    report.write_json(as_json(comparison), folder, (*REPORT_FILES, *charts))

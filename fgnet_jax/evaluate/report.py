"""What an evaluation leaves: figures by AU with intervals, in the paper's layout, as text, Markdown, CSV and JSON."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.aus import label as au_label
from fgnet_jax.evaluate.published import PublishedRow
from fgnet_jax.metrics import f1_table
from fgnet_jax.metrics.bootstrap import LEVEL, METRICS, MeasuredMetrics
from fgnet_jax.metrics.f1_table import Cells
from fgnet_jax.runtime import files, provenance

TITLES = {
    "f1": "F1",
    "weighted_f1": "F1, weighted",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced acc.",
    "precision": "precision",
    "recall": "recall",
    "auc": "ROC AUC",
    "average_precision": "avg. prec.",
    "base_rate": "base rate",
}
"""What tables call the figures."""

_WITH_INTERVAL = ("f1", "auc", "average_precision")  # in the terminal; report.json and figures.csv have all


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """One line of a report.

    Attributes:
      name: What was tested on what.
      measured: The figures.
      details: Where they come from, for JSON.
    """

    name: str
    measured: MeasuredMetrics
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Report:
    """An evaluation's outcome.

    Attributes:
      title: Of the whole.
      rows: At least one.
      headline: Which row `mean_f1` and the figures by AU are of.
      published: Rows of the paper to stand beside.
      notes: What a reader must know: thresholds, selection, how intervals came about.
      images: Files in the report's folder, by caption.
      extra: Further fields of report.json.
    """

    title: str
    rows: tuple[ReportRow, ...]
    headline: int = 0
    published: tuple[PublishedRow, ...] = ()
    notes: tuple[str, ...] = ()
    images: dict[str, str] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def main(self) -> ReportRow:
        """The headline's row."""
        return self.rows[self.headline]


def f1_cells(report: Report) -> Cells:
    """F1 in the paper's layout: published rows, then ours."""
    published = [(row.name, row.f1, row.mean) for row in report.published]
    ours = [
        (
            row.name,
            dict(zip(row.measured.aus, row.measured.values["f1"].tolist(), strict=True)),
            row.measured.mean("f1"),
        )
        for row in report.rows
    ]
    return f1_table.f1_cells([*published, *ours])


def metric_cells(row: ReportRow) -> Cells:
    """All figures of a row in percent, a line an AU and one for the mean; some with their interval."""
    measured = row.measured
    head = ["%", *(TITLES[name] for name in METRICS), "frames", "positive"]
    lines = []
    for k, au in enumerate(measured.aus):
        cells = [_with_interval(name, measured.values[name][k], measured.interval(name), k) for name in METRICS]
        lines.append([au_label(au), *cells, f"{measured.frames[k]:,}", f"{measured.positives[k]:,}"])
    means = [
        _with_interval(name, measured.mean(name), [[end] for end in measured.mean_interval(name)], 0)
        for name in METRICS
    ]
    return [head, *lines, ["mean", *means, "-", "-"]]


def _with_interval(name: str, value: float, ends: Any, k: int) -> str:
    text = f1_table.percent(value)
    if name not in _WITH_INTERVAL or math.isnan(ends[0][k]):
        return text
    return f"{text} [{f1_table.percent(ends[0][k])}, {f1_table.percent(ends[1][k])}]"


def long_cells(report: Report) -> Cells:
    """Every figure of every row and AU with both ends of its interval, as fractions with all digits: for CSV."""
    lines = [["row", "au", "figure", "value", "low", "high", "frames", "positives"]]
    for row in report.rows:
        m = row.measured
        for name in METRICS:
            low, high = m.interval(name)
            for k, au in enumerate(m.aus):
                numbers = [_digits(x) for x in (m.values[name][k], low[k], high[k])]
                lines.append([row.name, au_label(au), name, *numbers, str(m.frames[k]), str(m.positives[k])])
            ends = [_digits(x) for x in (m.mean(name), *m.mean_interval(name))]
            lines.append([row.name, "mean", name, *ends, str(m.frames.sum()), str(m.positives.sum())])
    return lines


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else repr(float(value))


def as_text(report: Report) -> str:
    """What the terminal shows."""
    parts = [report.title, f1_table.as_text(f1_cells(report)), f"{report.main.name}:"]
    parts += [f1_table.as_text(metric_cells(report.main)), "\n".join(report.notes)]
    return "\n\n".join(parts)


def as_markdown(report: Report) -> str:
    """The same with images and where the figures come from."""
    parts = [f"# {report.title}", f1_table.as_markdown(f1_cells(report)), f"## {report.main.name}"]
    parts += [f1_table.as_markdown(metric_cells(report.main)), "\n".join(f"- {note}" for note in report.notes)]
    parts += [f"![{caption}]({file})\n\n*{caption}*" for caption, file in report.images.items()]
    parts += ["## Provenance", _provenance(report)]
    return "\n\n".join(parts) + "\n"


def _provenance(report: Report) -> str:
    cells = [["run", "weights, SHA-256", "selection"]]
    for row in report.rows:
        for run in row.details.get("runs", ()):
            line = [run["run"], f"`{run['weights_sha256'][:16]}…`", run["selection"]]
            if line not in cells:
                cells.append(line)
    return f1_table.as_markdown(cells).replace("---:", "---")


def as_json(report: Report) -> dict[str, Any]:
    """What report.json holds: fractions, None where there is no value.

    Returns:
      `title`, `mean_f1`, `aus` ({"AU01": {"f1": …, "f1_interval": [low, high], …, "frames", "positives"}}), `mean` (the
      same figures), `rows` (all rows in the same form, with where they come from), `published`, `notes`,
      `provenance`, and the report's extra fields.
    """
    main = _measured_json(report.main.measured)
    rows = [{"name": row.name} | _measured_json(row.measured) | row.details for row in report.rows]
    published = [
        {"name": row.name, "mean_f1": row.mean, "f1": {au_label(au): f1 for au, f1 in row.f1.items()}}
        for row in report.published
    ]
    head = {"title": report.title, "row": report.main.name} | main
    tail = {"rows": rows, "published": published, "notes": list(report.notes), "interval_level": LEVEL}
    return head | tail | report.extra | {"provenance": provenance.provenance()}


def _measured_json(measured: MeasuredMetrics) -> dict[str, Any]:
    by_au: dict[str, dict[str, Any]] = {au_label(au): {} for au in measured.aus}
    mean: dict[str, Any] = {}
    for name in METRICS:
        low, high = measured.interval(name)
        for k, entry in enumerate(by_au.values()):
            entry[name] = _or_none(measured.values[name][k])
            entry[f"{name}_interval"] = _pair(low[k], high[k])
        mean[name], mean[f"{name}_interval"] = _or_none(measured.mean(name)), _pair(*measured.mean_interval(name))
    for k, entry in enumerate(by_au.values()):
        entry |= {"frames": int(measured.frames[k]), "positives": int(measured.positives[k])}
    return {"mean_f1": mean["f1"], "aus": by_au, "mean": mean}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _pair(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [float(low), float(high)]


def write(report: Report, folder: Path) -> None:
    """Writes report.json, report.md, table.csv and figures.csv; images are in the folder already."""
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "table.csv", f1_table.as_csv(f1_cells(report)))
    files.write_text(folder / "figures.csv", f1_table.as_csv(long_cells(report)))
    files.write_text(folder / "report.md", as_markdown(report))
    text = json.dumps(as_json(report), indent=1, allow_nan=False)
    files.write_text(folder / "report.json", text + "\n")  # last: who finds it finds the others


def notes(thresholds: str, selections: Sequence[str], resamples: int, seed: int) -> tuple[str, ...]:
    """The statements that every report makes."""
    rules = " / ".join(dict.fromkeys(selections))
    drawn = f"Intervals: {100 * LEVEL:.0f} %, percentiles over {resamples:,} draws of subjects (seed {seed})."
    means = "Means are plain means over AUs; F1, weighted: by the frames in which the AU is present and absent."
    return (f"Thresholds: {thresholds}.", f"Selection: {rules}.", drawn, means)

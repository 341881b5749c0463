"""The report of an evaluation: metrics by AU with intervals, in the paper's layout, as text, Markdown, CSV and JSON."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import intensity
from fgnet_jax.evaluate.published import PublishedRow
from fgnet_jax.metrics import f1_table
from fgnet_jax.metrics.bootstrap import LEVEL, METRICS, MeasuredMetrics
from fgnet_jax.metrics.f1_table import Cells
from fgnet_jax.runtime import files, provenance
from fgnet_jax.runtime.version import __version__

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
"""Names of the metrics in tables."""

_FOOTER_WEIGHTS = 3  # a run for each fold
FILES, SHA256 = "files", "sha256"
"""Keys of report.json: SHA-256 of the files beside it, and of its own other content."""

_WITH_INTERVAL = ("f1", "auc", "average_precision")  # in the terminal; report.json and figures.csv have all


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """A row of a report.

    Attributes:
      name: What was tested on what.
      metrics: The metrics of the test.
      details: Where they come from, for JSON.
      agreement: How intensities agree with coded ones; None where weights or corpus know none.
    """

    name: str
    metrics: MeasuredMetrics
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    agreement: MeasuredMetrics | None = None


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
      title: Title of the report.
      rows: At least one row.
      headline: Index of the row that `mean_f1` and the metrics by AU are of.
      published: Rows of the paper to be shown beside them.
      notes: Statements that a reader needs: thresholds, selection, how intervals were computed.
      warnings: What a reviewer would object to (`review.warnings`).
      corpora: What the tested corpora are and how they were prepared.
      images: Files in the report's folder, by caption.
      tables: Further tables by caption, with the stem of the CSV file that each is written to.
      extra: Further fields of report.json.
    """

    title: str
    rows: tuple[ReportRow, ...]
    headline: int = 0
    published: tuple[PublishedRow, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    corpora: tuple[CorpusIdentity, ...] = ()
    images: dict[str, str] = dataclasses.field(default_factory=dict)
    tables: dict[str, tuple[str, Cells]] = dataclasses.field(default_factory=dict)
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def main(self) -> ReportRow:
        """The headline's row."""
        return self.rows[self.headline]

    @property
    def footer(self) -> str:
        """A line below every plot: the corpora with their fingerprints, and the weights."""
        corpora = [f"{corpus.name}, fingerprint {corpus.fingerprint}" for corpus in self.corpora]
        return ", ".join([*corpora, f"weights {_shortened(_weights(self))}", f"fgnet_jax {__version__}"])


def _weights(report: Report) -> list[str]:
    """Return the SHA-256 of all weights of a report, in the order of its rows."""
    runs = [run for row in report.rows for run in row.details.get("runs", ())]
    return list(dict.fromkeys(run["weights_sha256"] for run in runs))


def _shortened(checksums: Sequence[str]) -> str:
    text = " ".join(checksum[:12] for checksum in checksums[:_FOOTER_WEIGHTS])
    return text + (f" and {len(checksums) - _FOOTER_WEIGHTS} more" if len(checksums) > _FOOTER_WEIGHTS else "")


def f1_cells(report: Report) -> Cells:
    """Return F1 in the paper's layout: published rows, then those of the evaluation."""
    published = [(row.name, row.f1, row.mean) for row in report.published]
    evaluated = [(row.name, _by_au(row.metrics, "f1"), row.metrics.mean("f1")) for row in report.rows]
    return f1_table.f1_cells([*published, *evaluated])


def _by_au(metrics: MeasuredMetrics, name: str) -> dict[int, float]:
    return dict(zip(metrics.aus, metrics.values[name].tolist(), strict=True))


def metric_cells(row: ReportRow) -> Cells:
    """Return all metrics of a row in percent, a line per AU and one for the mean; some with their interval."""
    metrics = row.metrics
    head = ["%", *(TITLES[name] for name in METRICS), "frames", "positive"]
    lines = []
    for k, au in enumerate(metrics.aus):
        cells = []
        for name in METRICS:
            low, high = metrics.interval(name)
            cells.append(_with_interval(name, metrics.values[name][k], low[k], high[k]))
        lines.append([au_label(au), *cells, f"{metrics.frames[k]:,}", f"{metrics.positives[k]:,}"])
    means = [_with_interval(name, metrics.mean(name), *metrics.mean_interval(name)) for name in METRICS]
    return [head, *lines, ["mean", *means, "-", "-"]]


def _with_interval(name: str, value: float, low: float, high: float) -> str:
    text = f1_table.percent(value)
    if name not in _WITH_INTERVAL or math.isnan(low):
        return text
    return f"{text} [{f1_table.percent(low)}, {f1_table.percent(high)}]"


def long_cells(report: Report) -> Cells:
    """Return every metric of every row and AU with both ends of its interval, as fractions with all digits, for CSV."""
    lines = [["row", "au", "figure", "value", "low", "high", "frames", "positives"]]
    for row in report.rows:
        lines += _long_lines(row.name, row.metrics)
        lines += _long_lines(row.name, row.agreement) if row.agreement else []
    return lines


def _long_lines(row: str, metrics: MeasuredMetrics) -> Cells:
    """Return the lines of one row of a report: of every metric that was measured, by AU and in the mean."""
    lines = []
    for name in metrics.values:
        low, high = metrics.interval(name)
        for k, au in enumerate(metrics.aus):
            numbers = [_digits(x) for x in (metrics.values[name][k], low[k], high[k])]
            counts = [str(metrics.frames[k]), str(metrics.positives[k])]
            lines.append([row, au_label(au), name, *numbers, *counts])
        numbers = [_digits(x) for x in (metrics.mean(name), *metrics.mean_interval(name))]
        lines.append([row, "mean", name, *numbers, str(metrics.frames.sum()), str(metrics.positives.sum())])
    return lines


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else repr(float(value))


def as_text(report: Report) -> str:
    """Return the report as the terminal shows it."""
    parts = [report.title, f1_table.as_text(f1_cells(report))]
    parts += [f"{caption}:\n\n{f1_table.as_text(cells)}" for caption, (_, cells) in report.tables.items()]
    parts.append(f"{report.main.name}:")
    parts.append(f1_table.as_text(metric_cells(report.main)))
    parts += [f1_table.as_text(intensity.cells(report.main.agreement))] if report.main.agreement else []
    parts.append("\n".join([*_corpora(report), *report.notes]))
    if report.warnings:
        parts.append("\n".join(f"WARNING: {line}" for line in report.warnings))
    return "\n\n".join(parts)


def as_markdown(report: Report) -> str:
    """Return the report as Markdown, with its images and where the metrics come from."""
    parts = [f"# {report.title}", f1_table.as_markdown(f1_cells(report))]
    parts += [f"{caption}:\n\n{f1_table.as_markdown(cells)}" for caption, (_, cells) in report.tables.items()]
    parts.append(f"## {report.main.name}")
    lines = [f"**Warning:** {line}" for line in report.warnings] + [*_corpora(report), *report.notes]
    parts.append(f1_table.as_markdown(metric_cells(report.main)))
    parts += [f1_table.as_markdown(intensity.cells(report.main.agreement))] if report.main.agreement else []
    parts.append("\n".join(f"- {line}" for line in lines))
    parts += [f"![{caption}]({file})\n\n*{caption}*" for caption, file in report.images.items()]
    parts += ["## Provenance", _provenance(report)]
    return "\n\n".join(parts) + "\n"


def _corpora(report: Report) -> list[str]:
    return [f"Corpus: {corpus.describe()}." for corpus in report.corpora]


def _provenance(report: Report) -> str:
    cells = [["run", "weights, SHA-256", "selection"]]
    for row in report.rows:
        for run in row.details.get("runs", ()):
            line = [run["run"], f"`{run['weights_sha256'][:16]}…`", run["selection"]]
            if line not in cells:
                cells.append(line)
    return f1_table.as_markdown(cells).replace("---:", "---")


def as_json(report: Report) -> dict[str, Any]:
    """Return the contents of report.json: fractions, None where a metric has no value.

    Returns:
      `title`, `mean_f1`, `aus` ({"AU01": {"f1": …, "f1_interval": [low, high], …, "frames", "positives"}}), `mean` (the
      same metrics), `intensity` (`aus` and `mean` with `icc`, `mae` and `pearson`, where they are known), `rows` (all
      rows in the same form, with where they come from), `published`, `notes`, `warnings`, `corpora`
      (`CorpusIdentity.to_dict`), `provenance`, and the report's extra fields.
    """
    main = _row_json(report.main)
    rows = [{"name": row.name} | _row_json(row) | row.details for row in report.rows]
    published = [
        {"name": row.name, "mean_f1": row.mean, "f1": {au_label(au): f1 for au, f1 in row.f1.items()}}
        for row in report.published
    ]
    head = {"title": report.title, "row": report.main.name} | main
    tail = {"rows": rows, "published": published, "notes": list(report.notes), "interval_level": LEVEL}
    tail |= {"warnings": list(report.warnings), "corpora": [corpus.to_dict() for corpus in report.corpora]}
    return head | tail | report.extra | {"provenance": provenance.provenance()}


def _row_json(row: ReportRow) -> dict[str, Any]:
    return _metrics_json(row.metrics) | intensity.to_json(row.agreement)


def _metrics_json(metrics: MeasuredMetrics) -> dict[str, Any]:
    by_au: dict[str, dict[str, Any]] = {au_label(au): {} for au in metrics.aus}
    mean: dict[str, Any] = {}
    for name in METRICS:
        low, high = metrics.interval(name)
        for k, entry in enumerate(by_au.values()):
            entry[name] = _or_none(metrics.values[name][k])
            entry[f"{name}_interval"] = _interval_or_none(low[k], high[k])
        mean[name] = _or_none(metrics.mean(name))
        mean[f"{name}_interval"] = _interval_or_none(*metrics.mean_interval(name))
    for k, entry in enumerate(by_au.values()):
        entry |= {"frames": int(metrics.frames[k]), "positives": int(metrics.positives[k])}
    return {"mean_f1": mean["f1"], "aus": by_au, "mean": mean}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _interval_or_none(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [float(low), float(high)]


def write(report: Report, folder: Path) -> None:
    """Write report.json, report.md, table.csv and figures.csv; images are in the folder already.

    report.json has the SHA-256 of all of these, and of its own other content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "table.csv", f1_table.as_csv(f1_cells(report)))
    files.write_text(folder / "figures.csv", f1_table.as_csv(long_cells(report)))
    files.write_text(folder / "report.md", as_markdown(report))
    for stem, cells in report.tables.values():
        files.write_text(folder / f"{stem}.csv", f1_table.as_csv(cells))
    tables = ("table.csv", "figures.csv", *(f"{stem}.csv" for stem, _ in report.tables.values()))
    write_json(as_json(report), folder, (*tables, "report.md", *report.images.values()))


def write_json(content: Mapping[str, Any], folder: Path, names: Sequence[str]) -> None:
    """Write report.json, with the SHA-256 of its own content and of files beside it, which are written already.

    Args:
      content: The content, as JSON has it.
      folder: The report's folder.
      names: The files; those that do not exist are left out.
    """
    sums = {name: files.sha256(folder / name) for name in names if (folder / name).exists()}
    content = dict(content) | {FILES: sums}
    text = json.dumps(content | {SHA256: _checksum(content)}, indent=1, allow_nan=False)
    files.write_text(folder / "report.json", text + "\n")  # last: where it exists, so do the others


def damage(folder: Path, content: Mapping[str, Any]) -> list[str]:
    """Return which files of a report are not as they were written, a line each.

    Args:
      folder: The report's folder.
      content: The contents of its report.json; of an earlier version, which has no sums, nothing is found.
    """
    rest = {key: value for key, value in content.items() if key != SHA256}
    found = [f"{folder / 'report.json'} was changed"] if content.get(SHA256, _checksum(rest)) != _checksum(rest) else []
    for name, sha256 in content.get(FILES, {}).items():
        path = folder / name
        if not path.exists():
            found.append(f"{path} is missing")
        elif files.sha256(path) != sha256:
            found.append(f"{path} was changed (its SHA-256 is another)")
    return found


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def notes(*, thresholds: str, selections: Sequence[str], resamples: int, seed: int) -> tuple[str, ...]:
    """Return the statements that every report makes."""
    rules = " / ".join(dict.fromkeys(selections))
    intervals = f"Intervals: {100 * LEVEL:.0f} %, percentiles over {resamples:,} draws of subjects (seed {seed})."
    means = "Means are plain means over AUs; F1, weighted: by the frames in which the AU is present and absent."
    return (f"Thresholds: {thresholds}.", f"Selection: {rules}.", intervals, means)

"""Tables and report.json: their layout, and that their metrics are those that were measured."""

import csv
import json

import numpy as np
import pytest

from fgnet_jax.evaluate import published
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.report import Report, ReportRow
from fgnet_jax.metrics import bootstrap, f1_table

RUN = {"run": "disfa_f0", "weights_sha256": 64 * "a", "selection": "held out"}


def _measured(seed: int = 0, aus=(1, 2, 4, 6, 12)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (90, len(aus)))
    labels[:, 1] = 0  # AU02 is never present: no ROC curve
    subjects = np.repeat(["a", "b", "c"], 30)
    return bootstrap.measure(
        labels + rng.normal(size=labels.shape) - 0.5, labels, subjects=subjects, aus=aus, resamples=30
    )


@pytest.fixture(scope="module")
def report() -> Report:
    """Two rows, the second the headline, beside a published one."""
    rows = (ReportRow("fold 0", _measured(), {"runs": [RUN]}), ReportRow("mean", _measured(1), {"runs": [RUN]}))
    paper = published.row("bp4d", "disfa")
    assert paper
    return Report(
        title="BP4D to DISFA",
        rows=rows,
        headline=1,
        published=(paper,),
        notes=("Thresholds: 0.",),
        images={"F1 by AU": "per_au.png"},
        extra={"curve": []},
    )


def test_the_papers_layout(report):
    """Show published rows first, in percent; an AU without a value as a dash."""
    cells = report_lib.f1_cells(report)
    assert cells[0] == ["F1, %", "AU01", "AU02", "AU04", "AU06", "AU12", "mean"]
    assert cells[1] == ["FG-Net, BP4D to DISFA", "61.3", "70.5", "36.3", "42.2", "61.5", "54.4"]
    assert cells[3][-1] == f"{100 * report.main.metrics.mean('f1'):.1f}"


def test_files_of_a_report(report, tmp_path):
    """Write Markdown with tables and images, CSV in both forms, JSON; all agree with what was measured."""
    report_lib.write(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.json", "table.csv", "figures.csv"}
    text = (tmp_path / "report.md").read_text()
    assert "| FG-Net, BP4D to DISFA | 61.3 |" in text and "![F1 by AU](per_au.png)" in text
    assert "`aaaaaaaaaaaaaaaa…`" in text and "Thresholds: 0." in text
    with open(tmp_path / "figures.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    (line,) = [x for x in lines if (x["row"], x["au"], x["figure"]) == ("mean", "AU04", "auc")]
    low, high = report.main.metrics.interval("auc")
    expected = [report.main.metrics.values["auc"][2], low[2], high[2]]
    assert [float(line[key]) for key in ("value", "low", "high")] == expected
    (without,) = [x for x in lines if (x["row"], x["au"], x["figure"]) == ("mean", "AU02", "auc")]
    assert without["value"] == "" and without["positives"] == "0"


def test_report_json(report, tmp_path):
    """Check `mean_f1`, and per AU every metric with its interval, None without a value; and where they come from."""
    report_lib.write(report, tmp_path)
    saved = json.loads((tmp_path / "report.json").read_text())
    metrics = report.main.metrics
    assert saved["mean_f1"] == metrics.mean("f1") == saved["mean"]["f1"]
    assert set(saved["aus"]) == {"AU01", "AU02", "AU04", "AU06", "AU12"}
    au04 = saved["aus"]["AU04"]
    for name in bootstrap.METRICS:
        assert au04[name] == metrics.values[name][2]
        assert au04[f"{name}_interval"] == [end[2] for end in metrics.interval(name)]
    assert saved["aus"]["AU02"]["auc"] is None and saved["aus"]["AU02"]["auc_interval"] is None
    assert au04["frames"] == 90 and au04["positives"] == metrics.positives[2]
    assert saved["rows"][0]["runs"] == [RUN] and saved["rows"][1]["mean_f1"] == saved["mean_f1"]
    assert saved["published"][0]["f1"]["AU02"] == 0.705
    assert saved["provenance"]["versions"]["jax"] and saved["curve"] == []


def test_the_terminal_table_is_aligned(report):
    """Check that every line of a table is as wide as its head."""
    for table in (report_lib.f1_cells(report), report_lib.metric_cells(report.main)):
        widths = {len(line) for line in f1_table.as_text(table).splitlines()}
        assert len(widths) == 1
    assert "[" in report_lib.as_text(report) and "Thresholds: 0." in report_lib.as_text(report)

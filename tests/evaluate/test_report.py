"""Tables and report.json: what stands where, and that figures are those that were measured."""

import csv
import json

import numpy as np
import pytest

from fgnet_jax.evaluate import published, report
from fgnet_jax.evaluate.report import Report, ReportRow
from fgnet_jax.metrics import bootstrap, f1_table

RUN = {"run": "disfa_f0", "weights_sha256": 64 * "a", "selection": "held out"}


def _measured(seed: int = 0, aus=(1, 2, 4, 6, 12)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (90, len(aus)))
    labels[:, 1] = 0  # AU02 is never present: no ROC curve
    subjects = np.repeat(["a", "b", "c"], 30)
    return bootstrap.measure(labels + rng.normal(size=labels.shape) - 0.5, labels, subjects, aus, resamples=30)


@pytest.fixture(scope="module")
def made() -> Report:
    """Two rows, the second the headline, beside a published one."""
    rows = (ReportRow("fold 0", _measured(), {"runs": [RUN]}), ReportRow("mean", _measured(1), {"runs": [RUN]}))
    paper = published.row("bp4d", "disfa")
    assert paper
    return Report("BP4D to DISFA", rows, 1, (paper,), ("Thresholds: 0.",), {"F1 by AU": "per_au.png"}, {"curve": []})


def test_the_papers_layout(made):
    """Published rows first, in percent; an AU without a figure is a dash."""
    cells = report.f1_cells(made)
    assert cells[0] == ["F1, %", "AU01", "AU02", "AU04", "AU06", "AU12", "mean"]
    assert cells[1] == ["FG-Net, BP4D to DISFA", "61.3", "70.5", "36.3", "42.2", "61.5", "54.4"]
    assert cells[3][-1] == f"{100 * made.main.measured.mean('f1'):.1f}"


def test_the_published_mean_is_that_of_its_aus():
    """To the digit that the paper prints."""
    for source, target in (("bp4d", "disfa"), ("disfa", "bp4d")):
        paper = published.row(source, target)
        assert paper and np.mean(list(paper.f1.values())) == pytest.approx(paper.mean, abs=6e-4)
    twin = published.row("synthetic_bp4d/frames3600_seed0_1", "synthetic_disfa")
    assert twin and twin.name == "FG-Net, BP4D to DISFA (real faces)"
    assert published.row("synthetic_bp4d", "csv") is None


def test_files_of_a_report(made, tmp_path):
    """Markdown with tables and images, CSV in both forms, JSON; all agree with what was measured."""
    report.write(made, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.json", "table.csv", "figures.csv"}
    text = (tmp_path / "report.md").read_text()
    assert "| FG-Net, BP4D to DISFA | 61.3 |" in text and "![F1 by AU](per_au.png)" in text
    assert "`aaaaaaaaaaaaaaaa…`" in text and "Thresholds: 0." in text
    with open(tmp_path / "figures.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    (line,) = [x for x in lines if (x["row"], x["au"], x["figure"]) == ("mean", "AU04", "auc")]
    low, high = made.main.measured.interval("auc")
    wanted = [made.main.measured.values["auc"][2], low[2], high[2]]
    assert [float(line[key]) for key in ("value", "low", "high")] == wanted
    (nothing,) = [x for x in lines if (x["row"], x["au"], x["figure"]) == ("mean", "AU02", "auc")]
    assert nothing["value"] == "" and nothing["positives"] == "0"


def test_report_json(made, tmp_path):
    """`mean_f1`, and per AU every figure with its interval; None where there is none; where it comes from."""
    report.write(made, tmp_path)
    saved = json.loads((tmp_path / "report.json").read_text())
    measured = made.main.measured
    assert saved["mean_f1"] == measured.mean("f1") == saved["mean"]["f1"]
    assert set(saved["aus"]) == {"AU01", "AU02", "AU04", "AU06", "AU12"}
    one = saved["aus"]["AU04"]
    for name in bootstrap.METRICS:
        assert one[name] == measured.values[name][2]
        assert one[f"{name}_interval"] == [end[2] for end in measured.interval(name)]
    assert saved["aus"]["AU02"]["auc"] is None and saved["aus"]["AU02"]["auc_interval"] is None
    assert one["frames"] == 90 and one["positives"] == measured.positives[2]
    assert saved["rows"][0]["runs"] == [RUN] and saved["rows"][1]["mean_f1"] == saved["mean_f1"]
    assert saved["published"][0]["f1"]["AU02"] == 0.705
    assert saved["provenance"]["versions"]["jax"] and saved["curve"] == []


def test_the_terminal_table_is_aligned(made):
    """Every line of a table is as wide as its head."""
    for table in (report.f1_cells(made), report.metric_cells(made.main)):
        widths = {len(line) for line in f1_table.as_text(table).splitlines()}
        assert len(widths) == 1
    assert "[" in report.as_text(made) and "Thresholds: 0." in report.as_text(made)

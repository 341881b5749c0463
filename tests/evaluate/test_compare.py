"""Two methods compared, whatever their predictions are read from."""

import csv
import json
from collections.abc import Sequence

import numpy as np
import pytest

from fgnet_jax.evaluate import __main__ as evaluate
from fgnet_jax.evaluate import compare, comparison_report, leakage
from fgnet_jax.evaluate.compare import CompareOptions
from fgnet_jax.evaluate.inspected import inspect
from fgnet_jax.evaluate.methods import MethodOptions
from fgnet_jax.metrics import bootstrap
from tests.evaluate import compared

OWN = (MethodOptions(), MethodOptions())
INPUTS = "video_(?P<subject>s[0-9]+)"


def _compare(first, second, read_by: Sequence[MethodOptions] = OWN, **options):
    settings = CompareOptions(**{"resamples": 50, **options})
    return compare.compare((str(first), str(second)), read_by, settings)


@pytest.fixture
def folders(tmp_path):
    """Kept predictions of a weak and a strong method."""
    return [
        compared.keep(tmp_path / name, noise=n, seed=k) for k, (name, n) in enumerate((("weak", 1.2), ("strong", 0.4)))
    ]


def test_kept_predictions_of_two_methods(folders):
    """Figures are those of the methods' own reports, in the order of AU numbers; AU4 is never present."""
    done = _compare(*folders)
    assert done.names == ("weak", "strong") and done.title == "strong compared with weak on mine"
    assert done.result.aus == (1, 4, 12) and done.frames == 160 and len(done.result.subjects) == 8
    found = done.result.differences["f1"]
    for values, seed, noise in ((found.first, 0, 1.2), (found.second, 1, 0.4)):
        measured = bootstrap.measure(
            compared.scores(noise, seed), compared.labels(), subjects=np.repeat(compared.SUBJECTS, 20), aus=compared.AUS
        )
        np.testing.assert_allclose(values, measured.values["f1"][[1, 2, 0]])
    assert found.tests == 2 and found.mean_difference > 0 and found.mean_p < 0.05
    assert "Present in no frame, and not tested: AU04." in done.notes
    assert any(line.startswith("8 subjects: intervals from so few") for line in done.warnings)


def test_a_method_and_itself_are_alike(folders):
    """No difference, p is 1, and the two have different names."""
    done = _compare(folders[0], folders[0])
    assert done.names == ("weak A", "weak B")
    for found in done.result.differences.values():
        assert (
            not np.nan_to_num(found.difference).any() and found.mean_p == 1 and not np.array(found.mean_interval).any()
        )


def test_means_over_folds(folders):
    """As in a report's row of that name."""
    done = _compare(*folders, over_folds=True, metrics=("f1",))
    parts = []
    for fold in (0, 1):
        part = compared.predictions(compared.scores(0.4, 1), fold)
        parts.append(
            bootstrap.measure(part.scores, part.labels, subjects=part.subjects, aus=compared.AUS, resamples=50)
        )
    expected = bootstrap.average(parts).values["f1"][[1, 2, 0]]
    np.testing.assert_allclose(done.result.differences["f1"].second, expected)
    assert "Metrics are means over folds." in done.notes


def test_tables_of_another_tool(folders, tmp_path):
    """Labels and recordings are the other method's; a frame without a face is left out, counted, and flagged."""
    tables = compared.openface(tmp_path / "openface", compared.scores(0.8, 3), lost=("s2", 5))
    done = _compare(folders[1], tables, (MethodOptions(), MethodOptions(inputs=INPUTS)))
    assert done.frames == 159 and done.result.frames.tolist() == [159] * 3
    assert "1 of 160 frames are without a result of openface, and left out." in done.notes
    assert "1 of 160 frames of strong are left out, which are not in openface." in done.notes
    assert any("openface: read from a table" in line for line in done.notes)
    assert any(line.startswith("Frames are left out") for line in done.warnings)
    rows = np.arange(160) != 2 * compared.FRAMES + 4
    measured = bootstrap.measure(
        compared.scores(0.8, 3)[rows],
        compared.labels()[rows],
        subjects=np.repeat(compared.SUBJECTS, 20)[rows],
        aus=(12, 1, 4),
    )
    for name in ("f1", "auc", "average_precision", "balanced_accuracy"):
        np.testing.assert_allclose(
            done.result.differences[name].second, measured.values[name][[1, 2, 0]], err_msg=name, atol=1e-12
        )


def test_aus_of_one_method_alone_are_named(folders, tmp_path):
    """They are not in its mean either, which is then not that of its own report."""
    tables = compared.openface(tmp_path / "openface", compared.scores(0.8, 3))
    for path in tables.glob("*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        columns = [k for k, name in enumerate(rows[0]) if "AU04" not in name]
        path.write_text("".join(",".join(row[k] for k in columns) + "\n" for row in rows))
    done = _compare(folders[1], tables, (MethodOptions(), MethodOptions(inputs=INPUTS)))
    assert done.result.aus == (1, 12)
    assert "strong: left out, also of the mean, for want of the other's or of labels: AU04." in done.notes


def test_thresholds_that_are_given(folders, tmp_path):
    """A number, or a file; a file that was fitted on the subjects is refused."""
    moved = _compare(folders[0], folders[1], (MethodOptions(threshold="0.3"), MethodOptions()), metrics=("f1",))
    scores, present = compared.scores(1.2, 0)[:, 1], compared.labels()[:, 1] == 1
    hits = ((scores > 0.3) & present).sum()
    assert moved.result.differences["f1"].first[0] == pytest.approx(2 * hits / ((scores > 0.3).sum() + present.sum()))
    assert "weak: present above 0.3." in moved.notes
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"thresholds": {"AU01": 0.3, "AU04": 0, "AU12": 0}, "fitted_on": {"mine": ["s1"]}}))
    with pytest.raises(ValueError, match="were fitted on 1 of the subjects that are tested: s1"):
        _compare(folders[0], folders[1], (MethodOptions(threshold=str(file)), MethodOptions()))
    file.write_text(file.read_text().replace("s1", "someone"))
    again = _compare(folders[0], folders[1], (MethodOptions(threshold=str(file)), MethodOptions()), metrics=("f1",))
    assert again.result.differences["f1"].first[0] == moved.result.differences["f1"].first[0]


def test_thresholds_of_a_table_are_of_others(folders, tmp_path):
    """Refuse those that were fitted on a tested subject of any corpus: whose recordings a table shows is not known."""
    tables = compared.openface(tmp_path / "openface", compared.scores(0.8, 3))
    file = tmp_path / "thresholds.json"
    file.write_text(json.dumps({"thresholds": {"AU01": 0.3, "AU04": 0, "AU12": 0}, "fitted_on": {"mine": ["s1"]}}))
    with pytest.raises(leakage.LeakageError, match="fitted on 1 of the subjects that are tested: s1"):
        _compare(tables, folders[1], (MethodOptions(inputs=INPUTS, threshold=str(file)), MethodOptions(inputs=INPUTS)))


def test_seeds_are_one_method(folders, tmp_path):
    """Counts of networks of other seeds are added; networks of other settings are no one method."""
    both = compared.keep(tmp_path / "seeds", noise=1.2, seed=0, name="a", settings={"seed": 0, "lr": 1})
    compared.keep(both, noise=1.0, seed=9, name="b", settings={"seed": 1, "lr": 1})
    done = _compare(folders[1], both)
    assert "seeds: 2 predictions of each frame, whose counts are added." in done.notes and done.frames == 160
    compared.keep(both, noise=1.0, seed=9, name="b", settings={"seed": 1, "lr": 2})
    with pytest.raises(ValueError, match="seeds holds several methods, which differ in lr: name the files of one"):
        _compare(folders[1], both)


def test_few_subjects_are_said_to_be_few(folders, tmp_path):
    """What no difference can reach is a warning; a single subject is refused."""
    tables = compared.openface(tmp_path / "openface", compared.scores(0.8, 3))
    for path in sorted(tables.iterdir())[4:]:
        path.unlink()
    read_by = (MethodOptions(), MethodOptions(inputs=INPUTS))
    assert "4 subjects are too few: no p value can be below 0.125, however large a difference is." in (
        _compare(folders[1], tables, read_by).warnings
    )
    for path in sorted(tables.iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match="all 20 common frames are of s0: expected two subjects or more"):
        _compare(folders[1], tables, read_by)


def test_a_report_is_written(folders, tmp_path, capsys):
    """Tables, charts and JSON with sums, by the command; `inspect` finds them intact."""
    words = [
        str(folders[0]),
        str(folders[1]),
        "--names",
        "old",
        "new",
        "--resamples",
        "50",
        "--output",
        str(tmp_path / "out"),
    ]
    assert evaluate.main(["compare", *words]) == 0
    printed = capsys.readouterr().out
    assert "new compared with old on mine" in printed and "F1, %" in printed and "WARNING: 8 subjects" in printed
    content = json.loads((tmp_path / "out/report.json").read_text())
    assert content["methods"][0]["name"] == "old" and content["frames"] == 160 and content["is_exact"]
    entry = content["comparison"]["f1"]["aus"]["AU01"]
    assert entry["difference"] == pytest.approx(entry["second"] - entry["first"]) and entry["frames"] == 160
    with (tmp_path / "out/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["au"] for row in rows[:4]] == ["AU01", "AU04", "AU12", "mean"]
    assert float(rows[0]["difference"]) == entry["difference"] and float(rows[0]["p_holm"]) == entry["p_holm"]
    markdown = (tmp_path / "out/report.md").read_text()
    for metric in ("f1", "auc", "average_precision", "balanced_accuracy"):
        assert f"difference_{metric}.png" in markdown and (tmp_path / f"out/difference_{metric}.png").exists()
    assert inspect(tmp_path / "out").intact == (str(tmp_path / "out"),)
    (tmp_path / "out/table.csv").write_text("")
    assert inspect(tmp_path / "out").damaged


def test_tables_are_in_percent(folders):
    """Differences in points, with their sign; what has no value is a dash."""
    done = _compare(*folders, metrics=("f1",))
    head, *lines = comparison_report.cells(done, "f1")
    assert head == ["F1, %", "weak", "strong", "difference", "95 % interval", "together", "p", "p, Holm"]
    found = done.result.differences["f1"]
    assert lines[0][:4] == [
        "AU01",
        f"{100 * found.first[0]:.1f}",
        f"{100 * found.second[0]:.1f}",
        f"{100 * found.difference[0]:+.1f}",
    ]
    assert lines[1][6:] == ["-", "-"] and lines[-1][0] == "mean" and lines[-1][7] == "-"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "{strong}"], "nowhere: no such file or folder"),
        (["{strong}", "{strong}", "--threshold", "nosuch.json"], "nosuch.json: cannot read thresholds"),
        (["{strong}", "{strong}", "--threshold", "nan"], "--threshold nan: expected a finite number"),
        (
            ["{tables}", "{weak}", "--inputs", INPUTS, "--threshold", "0.5", "--threshold", "0"],
            "openface: there are no scores of AU12 to apply a threshold to",
        ),
        (
            ["{strong}", "{weak}", "--inputs", "a", "--inputs", "b", "--inputs", "c"],
            "--inputs: expected one, or one for each",
        ),
        (["{tables}", "{tables}"], "no column subject: say with --inputs"),
        (["{tables}", "{tables}", "--inputs", INPUTS], "neither method has labels: name their corpus with --corpus"),
        (["{tables}", "{weak}", "--inputs", "("], "--inputs '(': no regular expression"),
        (["{tables}", "{weak}", "--inputs", "video"], "expected a group (?P<subject>…)"),
        (["{tables}", "{weak}", "--inputs", "(?P<subject>nobody)"], "finds no subject in"),
        (
            ["{tables}", "{weak}", "--inputs", "(?P<subject>video)"],
            "both have frame 1 of video: tell them apart by a group",
        ),
        (
            ["{tables}", "{weak}", "--inputs", "_s(?P<subject>.)"],
            "no frame is common to openface and weak: openface has 0 ",
        ),
        (["{tables}", "{weak}", "--inputs", INPUTS, "--corpus", "nosuch"], "no prepared corpus 'nosuch'"),
    ],
)
def test_what_cannot_be_compared_is_refused(folders, tmp_path, capsys, words, message):
    """In one line, with status 2."""
    tables = compared.openface(tmp_path / "openface", compared.scores(0.8, 3))
    if "--threshold" in words:
        for path in tables.iterdir():
            path.write_text(path.read_text().replace("AU12_r", "gaze"))
    places = {"weak": folders[0], "strong": folders[1], "tables": tables}
    assert evaluate.main(["compare", *(word.format(**places) for word in words)]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]

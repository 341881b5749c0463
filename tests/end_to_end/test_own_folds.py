"""A corpus of one's own with a fold for each subject: prepared, trained, evaluated and compared by the commands."""

import json

import numpy as np
import pytest

from fgnet_jax.evaluate import __main__ as evaluate
from fgnet_jax.prepare import __main__ as prepare
from tests.prepare.corpora import own_arguments, own_table

pytestmark = pytest.mark.slow  # three trainings

SUBJECTS = 3


@pytest.fixture(scope="module")
def runs(train, tmp_path_factory):
    """Train a run for each subject, who is left out; return the folder of the runs."""
    root = own_table(tmp_path_factory.mktemp("own"), subjects=SUBJECTS, frames=8)
    assert prepare.main(own_arguments(root, train.shared / "data", "--folds", "subjects", name="left_out")) == 0
    folder = tmp_path_factory.mktemp("runs")
    for fold in range(SUBJECTS):
        changes = {"data.corpus": "left_out", "data.fold": fold, "train.epochs": 1, "train.steps_per_epoch": 2}
        train(folder / f"left_out_f{fold}", *(f"--config.{key}={value}" for key, value in changes.items()))
    return folder


def _within(train, runs, output, *more: str) -> int:
    words = ["--corpus", "left_out", "--runs", str(runs / "left_out_f*"), "--data_dir", str(train.shared / "data")]
    return evaluate.main(["protocol", "within", *words, "--output", str(output), "--resamples", "50", *more])


def test_every_subject_is_left_out_once(train, runs, tmp_path, capsys):
    """Reports are about all frames at once; from kept predictions they are the same."""
    assert _within(train, runs, tmp_path / "within") == 0
    report = json.loads((tmp_path / "within/report.json").read_text())
    assert report["title"] == "Within left_out, three folds" and report["row"] == "all frames at once"
    assert [row["subjects"] for row in (r["runs"][0] for r in report["rows"][:SUBJECTS])] == [["p0"], ["p1"], ["p2"]]
    assert report["rows"][0]["mean"]["f1_interval"] is None and report["mean"]["f1_interval"] is not None
    assert evaluate.main(["from-predictions", str(tmp_path / "within"), "--output", str(tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again/report.json").read_text())
    assert all(again[key] == report[key] for key in ("title", "row", "aus", "mean", "notes"))
    single = ["--weights", str(runs / "left_out_f0"), "--corpus", "left_out", "--data_dir", str(train.shared / "data")]
    assert evaluate.main([*single, "--split", "fold_1"]) == 2
    error = capsys.readouterr().err
    assert (
        "trained or selected on 1 of the subjects of this split of left_out: p1" in error and "--split fold_0" in error
    )


def test_two_reports_are_compared(train, runs, tmp_path, capsys):
    """At another threshold, frame by frame; labels of the corpus itself are the same."""
    assert _within(train, runs, tmp_path / "within") == 0
    words = [str(tmp_path / "within"), str(tmp_path / "within"), "--threshold", "0", "--threshold", "-2"]
    words += ["--names", "as_published", "always", "--resamples", "50", "--output", str(tmp_path / "compared")]
    assert evaluate.main(["compare", *words, "--corpus", "left_out", "--data_dir", str(train.shared / "data")]) == 0
    content = json.loads((tmp_path / "compared/report.json").read_text())
    assert content["frames"] == 24 and content["subjects"] == ["p0", "p1", "p2"] and content["corpus"] == "left_out"
    always = [entry["second"] for entry in content["comparison"]["f1"]["aus"].values()]
    np.testing.assert_allclose(always, [2 * 12 / (12 + 24), 2 * 8 / (8 + 24)])  # present in 12 and in 8 of 24 frames
    assert any("3 subjects are too few: no p value can be below 0.25" in line for line in content["warnings"])
    assert evaluate.main(["compare", *words[:2], "--over_folds"]) == 2
    assert "--over_folds: fold_0 has one subject, who cannot be resampled" in capsys.readouterr().err

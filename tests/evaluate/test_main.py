"""All protocols on two small synthetic corpora, by the command's main: what is trained, tested, refused and written."""

import csv
import dataclasses
import json

import numpy as np
import pyarrow.parquet
import pytest
import sklearn.metrics as sk

from fgnet_jax.aus import CORPUS_AUS, SHARED_AUS
from fgnet_jax.aus import label as au_label
from fgnet_jax.data import folds
from fgnet_jax.evaluate import __main__ as evaluate
from fgnet_jax.evaluate import frame_predictions, partial_scores, reproduce, runs
from fgnet_jax.metrics import bootstrap, thresholds
from fgnet_jax.models import weights
from fgnet_jax.train import loop

pytestmark = pytest.mark.slow  # whole protocols

CONFIG = """
from fgnet_jax.train import defaults

def get_config(arguments=None):
    config = defaults.load_config_file("synthetic").get_config(f"frames=240,steps=4,{arguments}")
    config.model.image_size, config.model.heatmap_size = 16, 8
    config.model.encoder_channels, config.model.generator_channels = (16, 16, 16), (16, 16, 8, 8)
    config.model.style_dim, config.model.mapping_layers = 16, 1
    config.train.batch_size, config.train.epochs = 16, 2
    return config
"""
FEW_RESAMPLES = ["--resamples", "20"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder that `protocol all` wrote."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "small.py").write_text(CONFIG)
    words = ["protocol", "all", "--config", str(folder / "small.py"), "--output", str(folder)]
    assert evaluate.main([*words, *FEW_RESAMPLES]) == 0
    return folder


def _data(results) -> list[str]:
    return ["--data_dir", str(results / "data"), *FEW_RESAMPLES]


def _report(folder) -> dict:
    return json.loads((folder / "report.json").read_text())


def _single(results, *more: str, run: str = "synthetic_bp4d_f0") -> int:
    words = ["--weights", str(results / "runs" / run), "--corpus", "synthetic_bp4d", *_data(results), *more]
    return evaluate.main(words)


def test_all_protocols_are_written(results):
    """Write a folder each, with tables, images and predictions; one summary."""
    names = {path.name for path in results.iterdir() if path.is_dir()} - {"runs", "data"}
    corpora = ("synthetic_bp4d", "synthetic_disfa")
    assert names == {
        *(f"within_{corpus}" for corpus in corpora),
        "cross_synthetic_bp4d_to_synthetic_disfa",
        "cross_synthetic_disfa_to_synthetic_bp4d",
        "efficiency_synthetic_bp4d",
    }
    files = {"report.json", "report.md", "table.csv", "figures.csv", "per_au.png", "reliability.png", "predictions"}
    for name in names:
        assert files <= {path.name for path in (results / name).iterdir()}
        assert f"]({name}/report.md)" in (results / "summary.md").read_text()
    assert len(list((results / "within_synthetic_bp4d").glob("mistakes_synthetic_bp4d_f?.png"))) == 3
    assert (results / "efficiency_synthetic_bp4d/efficiency.png").exists()


def test_metrics_agree_with_those_of_training(results):
    """Compare with training's results.json: the same weights on the same fold, computed in another way."""
    saved = _report(results / "within_synthetic_bp4d")
    for fold in range(3):
        training = json.loads((results / f"runs/synthetic_bp4d_f{fold}/results.json").read_text())["f1"]
        evaluation = saved["rows"][fold]["aus"]
        assert {name: evaluation[name]["f1"] for name in training} == pytest.approx(training, abs=1e-9)
    means = [row["mean_f1"] for row in saved["rows"][:3]]
    assert saved["row"] == "mean of folds" and saved["mean_f1"] == pytest.approx(np.mean(means))


def test_every_subject_is_tested_once_by_a_network_not_trained_on_it(results):
    """Check within a corpus, over the folds."""
    saved = _report(results / "within_synthetic_disfa")
    tested = [row["runs"][0] for row in saved["rows"][:3]]
    assert sorted(s for run in tested for s in run["subjects"]) == sorted(folds.subjects("disfa"))
    for run in tested:
        trained = {s for group in ("subjects", "held_out") for s in run["trained_on"][group]["synthetic_disfa"]}
        assert not trained & set(run["subjects"]) and len(run["weights_sha256"]) == 64
        assert (
            "held-out training subjects" in run["selection"]
            and run["configuration"]["data"]["fold"] == run["left_out_fold"]
        )


def test_across_corpora_by_name(results):
    """Test the five AUs that both have: fold 0 on fold 0, and each fold on all subjects."""
    for source, target in (("bp4d", "disfa"), ("disfa", "bp4d")):
        saved = _report(results / f"cross_synthetic_{source}_to_synthetic_{target}")
        assert list(saved["aus"]) == [au_label(au) for au in SHARED_AUS]
        first, *each, mean = saved["rows"]
        assert saved["row"] == first["name"] == "fold 0 on fold 0, as published"
        assert set(first["runs"][0]["subjects"]) == set(folds.subjects(target, [0]))
        assert [set(row["runs"][0]["subjects"]) for row in each] == [set(folds.subjects(target))] * 3
        assert mean["mean_f1"] == pytest.approx(np.mean([row["mean_f1"] for row in each]))
        assert saved["published"][0]["name"].endswith("(real faces)")


def test_any_statistic_follows_from_the_predictions(results):
    """Compute F1 and AUC of the report from Parquet by scikit-learn."""
    folder = results / "cross_synthetic_disfa_to_synthetic_bp4d"
    file = folder / "predictions/synthetic_disfa_f0-on-synthetic_bp4d-fold_0.parquet"
    columns = pyarrow.parquet.read_table(file).to_pydict()
    for au, metrics in _report(folder)["aus"].items():
        truth, predicted = columns[f"{au}_label"], columns[f"{au}_c"]
        assert metrics["f1"] == pytest.approx(sk.f1_score(truth, predicted, zero_division=0), abs=1e-9)  # pyright: ignore
        assert metrics["auc"] == pytest.approx(sk.roc_auc_score(truth, columns[f"{au}_score"]), abs=1e-9)


def test_the_data_efficiency_curve(results):
    """Make points for 100 samples, with fewer updates and with equal ones, and for all."""
    curve = _report(results / "efficiency_synthetic_bp4d")["curve"]
    points = {(point["line"], point["samples"]): point for point in curve}
    assert set(points) == {(line, n) for line in ("published updates", "equal updates") for n in (100, 0)}
    assert points["published updates", 100]["updates"] == 8, "100 frames make 6 batches of 16, an epoch has 4"
    assert {point["frames"] for point in curve if point["samples"]} == {100}


def test_one_network_on_its_fold(results, tmp_path, capsys):
    """Report fitted thresholds, save them in a form that can be read back, and use them."""
    assert _single(results, "--split", "fold_0", "--output", str(tmp_path / "a"), "--fit_thresholds") == 0
    output = capsys.readouterr().out
    assert "Thresholds: fitted, per AU, the threshold of the highest F1 on held-out training subjects" in output
    values = thresholds.load(tmp_path / "a/thresholds.json", CORPUS_AUS["bp4d"])
    assert values.any()
    fitted = _report(tmp_path / "a")
    assert list(fitted["rows"][0]["runs"][0]["thresholds"].values()) == values.tolist()
    [file] = (tmp_path / "a/predictions").glob("*.parquet")
    table = pyarrow.parquet.read_table(file)
    for au, threshold in zip(CORPUS_AUS["bp4d"], values, strict=True):
        predicted, scores = (np.asarray(table[f"{au_label(au)}_{kind}"]) for kind in ("c", "score"))
        np.testing.assert_array_equal(predicted, scores > threshold, err_msg="the report is of these predictions")
    again = ["--thresholds", str(tmp_path / "a/thresholds.json"), "--output", str(tmp_path / "b")]
    assert _single(results, *again) == 0
    assert _report(tmp_path / "b")["aus"] == fitted["aus"]
    with open(tmp_path / "b/table.csv", newline="") as file:
        assert next(csv.reader(file)) == ["F1, %", *map(au_label, CORPUS_AUS["bp4d"]), "mean"]
    assert set(fitted["aus"]["AU01"]) >= set(bootstrap.METRICS)


def test_published_weights_are_enough_across_corpora(results, tmp_path):
    """Test weights whose metadata have no fold, as converted ones, as published, once the fold is given."""
    config, variables, meta = weights.load(results / "runs/synthetic_disfa_f0/best")
    weights.save(tmp_path / "converted", config, variables, dataclasses.replace(meta, extra={}))
    words = ["protocol", "cross", "--source", "synthetic_disfa", "--target", "synthetic_bp4d"]
    words += ["--runs", str(tmp_path / "converted"), "--output", str(tmp_path / "out"), *_data(results)]
    assert evaluate.main(words) == 2
    assert evaluate.main([*words, "--trained_fold", "0"]) == 0
    one_run, all_runs = _report(tmp_path / "out"), _report(results / "cross_synthetic_disfa_to_synthetic_bp4d")
    assert one_run["aus"] == all_runs["aus"] and len(one_run["rows"]) == 2
    assert one_run["rows"][0]["runs"][0]["weights_sha256"] == all_runs["rows"][0]["runs"][0]["weights_sha256"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "fold_1"], "was trained or selected on 14 of the subjects of this split of synthetic_bp4d: F00"),
        (["--split", "fold_0+fold_2"], "of this split of synthetic_bp4d: F004"),
        (["--split", "fold_7"], "has no split 'fold_7'"),
        (["--thresholds", "none.json"], "none.json: cannot read thresholds"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(results, capsys, words, message):
    """Report it in one line, with status 2."""
    assert _single(results, *words) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("fgnet_jax.evaluate: error: ")]
    assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["within", "--corpus", "synthetic_bp4d", "--runs", "synthetic_bp4d_f[01]"], "no run left out fold 2"),
        (["within", "--corpus", "synthetic_bp4d", "--runs", "synthetic_disfa_f*"], "trained on synthetic_disfa, not"),
        (["within", "--corpus", "synthetic_bp4d", "--runs", "none*"], "no trained run matches"),
        (
            ["cross", "--source", "synthetic_bp4d", "--target", "synthetic_disfa", "--runs", "synthetic_bp4d_f[12]"],
            "no run left out fold 0 of synthetic_bp4d; there is: 1 (synthetic_bp4d_f1), 2 (synthetic_bp4d_f2)",
        ),
        (["efficiency", "--corpus", "synthetic_bp4d", "--runs", "synthetic_bp4d_f0"], "needs runs on few and on all"),
    ],
)
def test_runs_that_make_no_protocol_are_refused(results, capsys, words, message):
    """Report which are missing, or wrong."""
    words = [str(results / "runs" / word) if words[k - 1] == "--runs" else word for k, word in enumerate(words)]
    assert evaluate.main(["protocol", *words, *_data(results)]) == 2
    assert message in capsys.readouterr().err


def test_what_is_finished_is_not_done_again(results, monkeypatch):
    """Neither train nor predict again: predictions are of the same weights and faces."""

    def fail(*_, **__):
        raise AssertionError("done again")

    before = _report(results / "within_synthetic_bp4d")
    monkeypatch.setattr(loop, "train", fail)
    monkeypatch.setattr(partial_scores, "score", fail)
    words = ["protocol", "all", "--config", str(results / "small.py"), "--output", str(results), *FEW_RESAMPLES]
    assert evaluate.main(words) == 0
    assert _report(results / "within_synthetic_bp4d")["aus"] == before["aus"]


def test_a_report_again_bit_for_bit(results, tmp_path, capsys):
    """Predict anew from what a report records; report every figure that differs, and other weights, by exit status."""
    for name in ("within_synthetic_disfa", "efficiency_synthetic_bp4d", "cross_synthetic_bp4d_to_synthetic_disfa"):
        assert evaluate.main(["reproduce", str(results / name)]) == 0
        assert f"{results / name}: every figure again, bit for bit" in capsys.readouterr().out
    saved = _report(results / "within_synthetic_disfa")
    first = saved["aus"]["AU12"]["auc"]
    saved["aus"]["AU12"]["auc"] = float(np.nextafter(first, 1))
    (tmp_path / "report.json").write_text(json.dumps(saved))
    assert evaluate.main(["reproduce", str(tmp_path)]) == 1
    assert f"aus.AU12.auc: {saved['aus']['AU12']['auc']!r} then, {first!r} now" in capsys.readouterr().out
    saved["request"]["runs"][0]["weights_sha256"] = "0" * 64
    (tmp_path / "report.json").write_text(json.dumps(saved))
    assert evaluate.main(["reproduce", str(tmp_path)]) == 2
    assert "other weights than the report's" in capsys.readouterr().err


def test_a_report_from_predictions_alone(results, tmp_path, capsys, monkeypatch):
    """Make the same figures and plots for every protocol; without sheets of mistakes, and say so."""
    monkeypatch.setattr(partial_scores, "score", None)
    monkeypatch.setattr(runs, "load", None)
    for folder in (path.parent for path in sorted(results.glob("*/report.json"))):
        words = ["from-predictions", str(folder), "--output", str(tmp_path / folder.name)]
        assert evaluate.main(words) == 0
        assert "Without sheets of mistakes" in capsys.readouterr().out
        first, again = _report(folder), _report(tmp_path / folder.name)
        assert reproduce.compare(first, again) == [] and first["warnings"] == again["warnings"]
        for plot in ("per_au.png", "reliability.png"):
            assert (folder / plot).read_bytes() == (tmp_path / folder.name / plot).read_bytes()


def test_a_report_names_the_corpus_as_it_was_prepared(results, capsys):
    """Name the fingerprint in every file of the report, and in the terminal."""
    folder = results / "within_synthetic_disfa"
    [corpus] = _report(folder)["corpora"]
    fingerprint = corpus["fingerprint"]
    assert len(fingerprint) == 12 and f"fingerprint {fingerprint}" in (folder / "report.md").read_text()
    for file in (folder / "predictions").iterdir():
        assert frame_predictions.read(file)[1]["corpora"] == [corpus]
    assert _single(results) == 0
    assert "fingerprint " in capsys.readouterr().out


def test_a_bad_configuration_leaves_no_folder(tmp_path, capsys):
    """Refuse it before anything is created."""
    assert evaluate.main(["protocol", "all", "--config", "nosuch.py", "--output", str(tmp_path / "out")]) != 0
    assert "nosuch.py" in capsys.readouterr().err and not (tmp_path / "out").exists()

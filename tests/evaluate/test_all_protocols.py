"""All protocols by one command: the runs that are planned.

That they are trained, evaluated, resumed and summarised is tested in test_main.py.
"""

import json
from pathlib import Path

import pytest

from fgnet_jax.data import corpus
from fgnet_jax.evaluate import all_protocols, evaluation, report_folder
from fgnet_jax.evaluate.request import EvalOptions
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.train.config import ConfigError
from fgnet_jax.train.study import Outcome
from tests.evaluate import untrained


def test_every_run_that_the_protocols_need_is_planned():
    """Plan three folds of each corpus, and few samples with fewer updates and with equal ones."""
    plan = all_protocols.make_plan(["synthetic:frames=3600,steps=4"], Path("out"), Path("data"))
    assert list(plan.study.configs) == [
        *(f"synthetic_{corpus}_f{fold}" for corpus in ("bp4d", "disfa") for fold in range(3)),
        *("synthetic_bp4d_f0_n100", "synthetic_bp4d_f0_n100_equal", "synthetic_bp4d_f0_n1000"),
    ]
    assert plan.study.folder == Path("out/runs") and plan.corpora == ("synthetic_bp4d", "synthetic_disfa")
    assert plan.curve == ("synthetic_bp4d_f0", *list(plan.study.configs)[6:])
    assert {config.data.dir for config in plan.configs} == {"data"}


def test_samples_that_a_corpus_does_not_have_are_left_out():
    """Plan no run on more samples than two folds have without the held-out subjects."""
    names = list(all_protocols.make_plan(["synthetic:frames=240"], Path("out"), None).study.configs)
    assert names[6:] == ["synthetic_bp4d_f0_n100", "synthetic_bp4d_f0_n100_equal"]


def test_real_corpora_with_seeds():
    """Every seed of every fold of both, then few samples of the first one; in the configurations' own data.dir."""
    plan = all_protocols.make_plan(["disfa:seeds=2", "bp4d:seed=4"], Path("out"), None)
    few = [f"disfa_f0_n{samples}{end}" for samples in (100, 1000, 5000) for end in ("", "_equal")] + ["disfa_f0_n10000"]
    assert list(plan.study.configs) == [
        *("disfa_f0", "disfa_f1", "disfa_f2", "disfa_f0_s1", "disfa_f1_s1", "disfa_f2_s1"),
        *("bp4d_f0_s4", "bp4d_f1_s4", "bp4d_f2_s4"),
        *few,
    ]
    assert plan.curve == ("disfa_f0", *few) and plan.data_dir == Path("data")


def test_a_configuration_without_samples_has_no_curve():
    """Whatever its corpus is, and whether it takes one."""
    plan = all_protocols.make_plan(["tiny"], Path("out"), None)
    assert list(plan.study.configs) == ["tiny", "tiny_f1", "tiny_f2"] and plan.curve == ()
    assert plan.data_dir == Path("out/data"), "rendered beside the runs"


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        (["absent.py"], "--config absent.py: there is no such file"),
        (["synthetic:colour=1"], "colour"),
        (["synthetic:steps=many"], "steps"),
        (["disfa:fold=0"], "all protocols need all folds; leave fold=… out"),
        (["disfa", "disfa:seeds=2"], "expected configurations of different corpora, got those of disfa, disfa"),
        (["disfa:seed=x"], "seed=x: expected numbers"),
        (["disfa:samples=100"], "all protocols need all samples; leave samples=… out"),
    ],
)
def test_configurations_of_other_arguments_are_refused(configs, message):
    """Report the configuration or the argument."""
    with pytest.raises(ConfigError, match=message):
        all_protocols.make_plan(configs, Path("out"), None)


def test_folds_are_those_of_the_corpus_in_the_folder_that_is_given(tmp_path, monkeypatch):
    """Of one's own corpus, which is not replaced by synthetic ones although its name is an argument."""
    places = []
    monkeypatch.setattr(corpus, "corpus_folds", lambda name, folder: places.append((name, str(folder))) or (0, 1, 2, 3))
    plan = all_protocols.make_plan(["own"], Path("out"), tmp_path)
    assert list(plan.study.configs) == [f"my_corpus_f{fold}" for fold in range(4)]
    assert places == [("my_corpus", str(tmp_path))]


def test_configurations_with_corpora_in_several_folders_are_refused(tmp_path):
    """Reports are of one folder."""
    text = "from fgnet_jax.train import defaults\n\ndef get_config(arguments=None):\n"
    text += "    config = defaults.published('bp4d', arguments)\n    config.data.dir = 'other'\n    return config\n"
    (tmp_path / "elsewhere.py").write_text(text)
    with pytest.raises(ConfigError, match="the configurations have data and other: give --data_dir"):
        all_protocols.make_plan(["disfa", str(tmp_path / "elsewhere.py")], Path("out"), None)
    assert (
        all_protocols.make_plan(["disfa", str(tmp_path / "elsewhere.py")], Path("out"), tmp_path).data_dir == tmp_path
    )


def _reports(tmp_path, monkeypatch, configs):
    """Evaluate runs that are taken for trained; return the names of their reports with their content."""
    plan = all_protocols.make_plan(configs, tmp_path, None)
    monkeypatch.setattr(all_protocols.study, "train", lambda *_: Outcome())
    monkeypatch.setattr(all_protocols, "open_run", lambda path: untrained.run(plan.study.configs[path.name]))

    def by_networks(_, spec):
        return evaluation.evaluate(untrained.Predictor(), spec)

    monkeypatch.setattr(all_protocols.evaluation, "by_networks", by_networks)
    monkeypatch.setattr(report_folder, "_draw_sheets", lambda *_: {})
    line = all_protocols.run(plan, output=tmp_path, options=EvalOptions(resamples=10))
    assert line.startswith(f"\n{tmp_path}/summary.md after ")
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(tmp_path.glob("*/report.json"))}


def test_reports_of_several_seeds_are_those_of_studies(tmp_path, monkeypatch):
    """Within each corpus and from each to the other; the curve is of the first seed alone."""
    reports = _reports(tmp_path, monkeypatch, ["disfa:seeds=2", "bp4d:seeds=2"])
    assert {name: report["title"] for name, report in reports.items()} == {
        "within_disfa": "Study of disfa: 3 folds, 2 seeds",
        "within_bp4d": "Study of bp4d: 3 folds, 2 seeds",
        "cross_disfa_to_bp4d": "Study of disfa to bp4d: 3 folds, 2 seeds",
        "cross_bp4d_to_disfa": "Study of bp4d to disfa: 3 folds, 2 seeds",
        "efficiency_disfa": "Data efficiency on disfa, fold 0",
    }
    assert [point["samples"] for point in reports["efficiency_disfa"]["curve"]].count(0) == 2, "a point of both lines"
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("# All protocols on disfa, bp4d\n") and summary.count(" ± ") >= 4 * 3
    assert all(f"]({name}/report.md)" in summary for name in reports)


def test_reports_of_one_seed_are_those_of_the_protocols(tmp_path, monkeypatch):
    """As published."""
    reports = _reports(tmp_path, monkeypatch, ["disfa", "bp4d"])
    assert reports["within_bp4d"]["title"] == "Within bp4d, three folds"
    assert reports["cross_disfa_to_bp4d"]["rows"][0]["name"] == "fold 0 on fold 0, as published"


def test_a_run_that_diverged_is_not_evaluated(tmp_path, monkeypatch):
    """The others are trained; what their means would be of is not there."""
    plan = all_protocols.make_plan(["disfa"], tmp_path, None)
    monkeypatch.setattr(all_protocols.study, "train", lambda *_: Outcome(diverged={"disfa_f1": "not finite"}))
    with pytest.raises(EvaluationError, match="not evaluated, since the loss is not finite in disfa_f1"):
        all_protocols.run(plan, output=tmp_path, options=EvalOptions())

"""A student of a corpus' training faces: labels beside heatmaps, the test at the end, and whom it is not tested on."""

from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.data import folds
from fgnet_jax.distill import loop, record
from fgnet_jax.distill.cache import CachedFaces
from fgnet_jax.distill.run import prepare
from fgnet_jax.evaluate import inspected, leakage, protocols, runs
from fgnet_jax.evaluate.leakage import LeakageError
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.models import lineage
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.metrics_writer import read_metrics
from tests.distill import small

CORPUS = "synthetic_disfa"


def trained_on(fold, corpus=CORPUS):
    """What a teacher records that left a fold out, as training writes it."""
    others = folds.subjects(corpus, [k for k in range(3) if k != fold])
    return {"trained_on": {"corpus": corpus, "fold": fold, "subjects": {corpus: others[:2]}, "held_out": {}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with teachers of folds 0 and 1 of the corpus, and of another one."""
    path = tmp_path_factory.mktemp("corpus")
    for fold in (0, 1):
        small.teacher(path / f"f{fold}", corpus=CORPUS, extra=trained_on(fold))
    small.teacher(path / "other", aus=(7, 12, 4), seed=1, corpus="bp4d", extra=trained_on(2, "bp4d"))
    return path


def request(folder, output, *teachers, **changes):
    """Return the request of a student of the corpus' faces, by labels too."""
    corpus = {"data__corpus": CORPUS, "data__frames": 60, "data__dir": folder / "data", "distill__label_weight": 0.5}
    return small.request([folder / name for name in teachers], [], folder / output, **corpus | changes)


@pytest.fixture(scope="module")
def run(folder):
    """Return the workdir and results of a student of two teachers."""
    return folder / "student", loop.distill(request(folder, "student", "f0", "other"))


def test_student_and_teachers_are_tested_on_the_fold_that_is_left_out(run):
    """Beside each other, each on the AUs that the corpus codes."""
    _, results = run
    assert results["split"] == f"{CORPUS} fold_0"
    tested = results["tested"][f"{CORPUS} fold_0"]
    assert set(tested) == {"student", "f0", "other"}
    assert set(tested["student"]["f1"]) == {"AU01", "AU04", "AU12", "AU25"} and set(tested["other"]["f1"]) < set(
        tested["student"]["f1"]
    )
    assert results["mean_f1"] == tested["student"]["mean_f1"]


def test_its_faces_have_their_labels(run, folder):
    """Of the corpus' AUs; held-out subjects come last, and are those that it is compared with its teachers on."""
    workdir, results = run
    faces = CachedFaces(workdir / "faces")
    opened = prepare(request(folder, "student", "f0", "other")).inputs
    assert len(faces) == len(opened.corpus_faces) and opened.aus == (1, 4, 7, 12, 25)
    assert opened.data is not None and results["faces"]["held_out"] == len(opened.data.select.indices)
    labels = np.stack([faces.load(k)["labels"] for k in range(len(faces))])
    assert (labels[:, 2] == -1).all() and (labels[:, [0, 1, 3, 4]] >= 0).all()
    expected = opened.data.train.labels(opened.aus)
    np.testing.assert_array_equal(labels[: len(expected)], expected)
    points = faces.load(0)["landmarks"]
    assert points.shape == (68, 2) and 0 < points.min() and points.max() < 32, "in pixels of the student's face"
    assert {"loss/labels", "loss/teachers"} <= set(read_metrics(workdir / "metrics.jsonl")[0])


def test_it_is_not_tested_on_whom_it_or_a_teacher_has_learnt_from(run):
    """Teachers' subjects, and those whose faces it has seen; the fold that was left out is offered."""
    opened = runs.open_run(run[0])
    assert opened.fold == 0 and opened.meta.corpus == CORPUS
    chain = lineage.links(opened.meta)
    assert [link.kind for link in chain] == ["trained", "trained", "distilled"]
    test = {"meta": opened.meta, "corpus": CORPUS, "name": opened.name}
    leakage.check_no_leakage(**test, subjects=folds.subjects(CORPUS, [0]))
    with pytest.raises(LeakageError, match="Test it on the fold that was left out: --split fold_0"):
        leakage.check_no_leakage(**test, subjects=folds.subjects(CORPUS, [1]))
    learnt = leakage.training_subjects(opened.meta, corpus=CORPUS, name="student")
    assert learnt > set(chain[-1].subjects[CORPUS]) and set(chain[0].subjects[CORPUS]) <= learnt
    with pytest.raises(LeakageError, match="1 of the subjects"):
        leakage.check_no_leakage(meta=opened.meta, corpus="bp4d", subjects=folds.subjects("bp4d", [0])[:1], name="s")


def test_protocols_take_it_for_the_corpora_of_its_teachers(run):
    """With the fold that was left out of each; of a corpus that no teacher knows, it is no run."""
    opened = runs.open_run(run[0])
    assert protocols.by_fold([opened], CORPUS, needed=[0]).keys() == {0}
    assert protocols.by_fold([opened], "bp4d", needed=[2]).keys() == {2}
    with pytest.raises(EvaluationError, match="was trained on synthetic_disfa, not on disfa"):
        protocols.by_fold([opened], "disfa")


def test_a_fold_that_is_said_counts_for_every_teacher():
    """Of published files, which do not record it: also of those of the second corpus."""
    chain = [lineage.Link(kind=lineage.CONVERTED, corpus=corpus, aus=(12,)) for corpus in ("disfa", "bp4d")]
    chain.append(lineage.Link(kind=lineage.DISTILLED, aus=(12,)))
    meta = WeightsMeta(aus=(12,), corpus="disfa", extra={lineage.KEY: [link.to_dict() for link in chain]})
    student = runs.EvaluatedRun("s", Path("s"), meta, config=None, fold=0, trained_fold=0)
    assert [protocols.left_out(student, corpus) for corpus in ("disfa", "bp4d")] == [0, 0]


def test_it_says_what_its_labels_are_from(run, folder):
    """With labels of rendered faces and a teacher of real ones: both; without labels and that teacher, rendered."""
    opened = runs.open_run(run[0])
    assert lineage.learnt_from(opened.meta) == [CORPUS, "bp4d"]
    assert "faces of synthetic_disfa (fold 0 left out) with labels" in "\n".join(inspected.inspect(run[0]).lines())
    unlabelled = prepare(request(folder, "unlabelled", "f0", distill__label_weight=0.0))
    chain = record.chain(unlabelled, 0, None)
    assert (chain[-1].corpus, chain[-1].fold) == (None, 0) and chain[-1].subjects and not chain[-1].label_corpora
    again = record.chain(prepare(request(folder, "twice", "f0", "f0")), 0, None)
    assert len(again) == 2, "each link once"


def test_a_teacher_of_another_fold_is_refused(folder):
    """The student would be tested on its subjects; nothing is written."""
    with pytest.raises(
        ConfigError, match=r"after f1: .*was trained or selected on 2 of its subjects.*--config.data.fold=1"
    ):
        loop.distill(request(folder, "wrong", "f1"))
    assert not (folder / "wrong").exists()


def test_a_teacher_that_does_not_say_its_fold_needs_it(folder, tmp_path):
    """By the key that the message names; its lineage then records it."""
    small.teacher(tmp_path / "t", corpus=CORPUS)
    with pytest.raises(ConfigError, match="does not say on which folds.*--config.distill.teacher_fold=N"):
        prepare(request(folder, "unsaid", str(tmp_path / "t")))
    given = prepare(request(folder, "unsaid", str(tmp_path / "t"), distill__teacher_fold=0))
    assert record.chain(given, 0, None)[0].fold == 0

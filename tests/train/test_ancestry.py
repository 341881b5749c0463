"""What a run's first weights have learnt from: no run is tested on the same subjects, through any number of steps."""

import json
import shutil
from pathlib import Path

import pytest

from fgnet_jax.data import folds
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.config import TINY
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsError, WeightsMeta
from fgnet_jax.train import ancestry
from fgnet_jax.train.ancestry import UnknownSubjectsError
from fgnet_jax.train.config import ConfigError
from tests.train import tiny

PRETRAINED = Link(kind=lineage.CONVERTED, files=({"file": "psp_ffhq_encode.pt", "sha256": "ab"},))
PUBLISHED = Link(kind=lineage.CONVERTED, corpus="disfa", aus=(1, 2), files=({"file": "model.pth", "sha256": "cd"},))
RUN = Link(
    kind=lineage.TRAINED,
    name="disfa_f1",
    corpus="disfa/left",
    fold=1,
    aus=(1, 2),
    subjects={"disfa": ["SN001", "SN003"]},
    held_out={"disfa": ["SN002"]},
)
OWN = Link(kind=lineage.TRAINED, name="own", corpus="own", fold=0, aus=(1,), subjects={"own": ["SN004"]})


def _run(subjects, corpus="disfa"):
    return tiny.run_data(tiny.faces("own", ["1"]), tiny.faces(corpus, subjects))


def test_every_kind_of_link_says_whom_it_has_learnt_from():
    """Pretrained weights from nobody; a run from whom it was trained and selected on, under any preparation's name."""
    assert ancestry.learnt_subjects(PRETRAINED, "disfa") == set()
    for name in ("disfa", "disfa/right"):
        assert ancestry.learnt_subjects(RUN, name) == {"SN001", "SN002", "SN003"}
    assert ancestry.learnt_subjects(RUN, "synthetic_disfa") == set()
    assert ancestry.learnt_subjects(PUBLISHED, "bp4d") == set()
    (published,) = ancestry.with_fold([PUBLISHED], 0)
    assert ancestry.learnt_subjects(published, "disfa") == set(folds.subjects("disfa", [1, 2]))


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (PUBLISHED, "was trained on disfa but does not say on which folds"),
        (Link(kind=lineage.UNKNOWN, aus=(1,)), "does not say which corpus"),
        (Link(kind=lineage.LOST, name="runs/a/best"), "was gone before it was recorded whom"),
    ],
)
def test_what_is_not_known_is_not_guessed(link, message):
    """Neither that it is nobody nor that it is everybody."""
    with pytest.raises(UnknownSubjectsError, match=message):
        ancestry.learnt_subjects(link, "disfa")


def test_a_run_is_not_tested_on_whom_its_weights_have_learnt_from():
    """Whichever step it was: the message names it, the subjects, and the fold to use."""
    for links in ([RUN], [PRETRAINED, RUN, OWN]):
        ancestry.check_tests(links, _run(["SN006", "SN011"]), "runs/own/best")
        ancestry.check_tests(links, _run(["SN001"], "synthetic_disfa"), "runs/own/best")
        for leaked in (["SN006", "SN003"], ["SN006", "SN002"]):
            message = rf"disfa_f1 \(disfa/left, fold 1 left out\) .* 1 of its subjects: {leaked[1]}\. .*data\.fold=1"
            with pytest.raises(ConfigError, match=message):
                ancestry.check_tests(links, _run(leaked), "runs/own/best")


def test_further_tests_are_refused_too():
    """`also_test` on the corpus that the first weights have learnt from."""
    data = tiny.run_data(
        tiny.faces("own", ["1"]), tiny.faces("own", ["2"]), also_test=(tiny.faces("disfa", ["SN003"]),)
    )
    with pytest.raises(ConfigError, match="disfa fold_0 after weights: disfa_f1"):
        ancestry.check_tests([RUN], data, "weights")


def test_two_steps_that_left_out_different_folds_leave_none():
    """Then there is nothing to advise but other weights."""
    other = Link(kind=lineage.TRAINED, name="f0", corpus="disfa", fold=0, subjects={"disfa": ["SN006"]})
    with pytest.raises(ConfigError, match="No fold of disfa is left that it has not learnt from: begin with other"):
        ancestry.check_tests([RUN, other], _run(["SN003"]), "weights")


def test_published_weights_need_the_fold_that_they_left_out():
    """To be tested within their corpus; elsewhere a line says what cannot be tested."""
    with pytest.raises(ConfigError, match=r"model\.pth .*does not say on which folds; give .*--config\.init_fold=N"):
        ancestry.check_tests([PUBLISHED], _run(["SN001"]), "weights/disfa")
    own = _run(["SN001"], "own")
    ancestry.check_tests([PUBLISHED], own, "weights/disfa")
    assert any("nothing of disfa can be tested within" in line for line in ancestry.remarks([PUBLISHED], own))
    assert not list(ancestry.remarks(ancestry.with_fold([PUBLISHED], 0), own))


def test_an_epoch_selected_on_subjects_of_earlier_steps_is_said():
    """In the rule of selection and in the log; it is not refused."""
    data = tiny.run_data(tiny.faces("disfa", ["SN009"]), tiny.faces("disfa", ["SN006"]),
                         select=tiny.faces("disfa", ["SN001", "SN007"]))  # fmt: skip
    ancestry.check_tests([RUN], data, "weights")
    text = ", 1 of whom earlier steps were trained on (SN001)"
    assert ancestry.selected_on_learnt([PRETRAINED, RUN], data.select) == text
    assert any(text in line for line in ancestry.remarks([RUN], data))
    assert ancestry.selected_on_learnt([OWN], data.select) == ""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Save weights as the converter writes them: of a corpus, without a fold."""
    folder = tmp_path_factory.mktemp("weights") / "disfa"
    meta = WeightsMeta(aus=(1, 2), corpus="disfa", sources=({"file": "model.pth", "sha256": "cd"},))
    weights.save(folder, TINY, fgnet.init(TINY), meta)
    return folder


def test_the_lineage_of_first_weights_is_read(published, tmp_path):
    """With `init_fold` where they need it; nothing from scratch; weights that are not there are named."""
    config = tiny.config(init_from=str(published))
    assert ancestry.earlier_links(config, tmp_path) == (PUBLISHED,)
    config.init_fold = 2
    assert [link.fold for link in ancestry.earlier_links(config, tmp_path)] == [2]
    assert ancestry.earlier_links(tiny.config(), tmp_path) == ()
    with pytest.raises(WeightsError, match="/none: no such weights directory"):
        ancestry.earlier_links(tiny.config(init_from=str(tmp_path / "none")), tmp_path)


@pytest.mark.parametrize(
    ("fold", "message"), [(3, "init_fold must be 0 to 2, or -1"), (0, "init_fold 0: leave it out")]
)
def test_a_fold_that_cannot_be_meant_is_refused(tmp_path, fold, message):
    """One that does not exist, or one for a run from scratch."""
    with pytest.raises(ConfigError, match=message):
        ancestry.earlier_links(tiny.config(init_fold=fold), tmp_path)


def _save_as_before(best: Path, *, init_from: str, subjects: list[str]) -> None:
    """Save weights as runs did before lineages were recorded."""
    record = {"corpus": "disfa", "fold": 0, "subjects": {"disfa": subjects}, "held_out": {}}
    weights.save(best, TINY, fgnet.init(TINY), WeightsMeta(aus=(1,), corpus="disfa", extra={"trained_on": record}))
    (best.parent / "config.json").write_text(json.dumps({"init_from": init_from}))


def test_runs_of_earlier_versions_are_followed_through_their_configurations(tmp_path):
    """They recorded no lineage, but what they began with: its subjects count, and where it is gone, that is said."""
    first, second = tmp_path / "first/best", tmp_path / "second/best"
    _save_as_before(first, init_from="", subjects=["SN001"])
    _save_as_before(second, init_from=str(first), subjects=["SN003"])
    chain = lineage.links(ancestry.load_meta(second))
    assert [link.subjects for link in chain] == [{"disfa": ["SN001"]}, {"disfa": ["SN003"]}]
    assert lineage.links(ancestry.load_meta(first)) == chain[:1]
    shutil.rmtree(first.parent)
    lost, own = lineage.links(ancestry.load_meta(second))
    assert (lost.kind, lost.name, own) == (lineage.UNKNOWN, str(first), chain[1])

"""Lineage of weights: every step from published files on, and whether any of them has learnt from real faces."""

import pytest

from fgnet_jax.models import lineage
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.weights import WeightsMeta

SOURCES = ({"file": "model.pth", "sha256": "ab"},)
RENDERED = Link(
    kind=lineage.TRAINED, name="demo", corpus="synthetic_bp4d", fold=0, subjects={"synthetic_bp4d": ["F001"]}
)
REAL = Link(kind=lineage.TRAINED, name="disfa_f0", corpus="disfa", fold=0, subjects={"disfa": ["SN001"]})
PRETRAINED = Link(kind=lineage.CONVERTED, files=SOURCES)
STUDENT = Link(kind=lineage.DISTILLED, fold=0, aus=(1,), subjects={"disfa": ["SN001"]}, faces={"corpus": 9})


def _meta(*links):
    return WeightsMeta(aus=(1,), corpus=links[-1].corpus, extra={lineage.KEY: [link.to_dict() for link in links]})


def test_a_lineage_is_read_as_it_was_written():
    """The oldest link first; keys of later versions are ignored."""
    links = (PRETRAINED, RENDERED, REAL)
    meta = WeightsMeta.from_dict(_meta(*links).to_dict())
    assert lineage.links(meta) == links
    meta.extra[lineage.KEY][0]["of_a_later_version"] = 3
    assert lineage.links(meta) == links


def test_weights_of_earlier_versions_have_one_link():
    """What they do record: of a run, of converted files, or nothing."""
    record = {"corpus": "disfa", "fold": 1, "subjects": {"disfa": ["SN002"]}, "held_out": {"disfa": ["SN003"]}}
    (run,) = lineage.links(WeightsMeta(aus=(1,), corpus="disfa", extra={"trained_on": record, "step": 40}))
    assert (run.kind, run.corpus, run.fold, run.steps) == (lineage.TRAINED, "disfa", 1, 40)
    assert (run.subjects, run.held_out) == (record["subjects"], record["held_out"])
    (converted,) = lineage.links(WeightsMeta(aus=(1,), corpus="disfa", sources=SOURCES))
    assert (converted.kind, converted.corpus, converted.fold) == (lineage.CONVERTED, "disfa", None)
    assert [link.kind for link in lineage.links(WeightsMeta())] == [lineage.UNKNOWN]


@pytest.mark.parametrize(
    ("links", "learnt_from"),
    [
        ((PRETRAINED, RENDERED), lineage.RENDERED_ONLY),
        ((RENDERED, REAL), ["synthetic_bp4d", "disfa"]),
        ((REAL, RENDERED), ["disfa", "synthetic_bp4d"]),
        ((PRETRAINED,), []),
        ((RENDERED, STUDENT), lineage.RENDERED_ONLY),
        ((REAL, RENDERED, STUDENT), ["disfa", "synthetic_bp4d"]),
        ((Link(kind=lineage.UNKNOWN, aus=(1,)), STUDENT), []),
        ((Link(kind=lineage.UNKNOWN, aus=(1,)), RENDERED), ["synthetic_bp4d"]),
        ((Link(kind=lineage.LOST, name="gone"), RENDERED), ["synthetic_bp4d"]),
    ],
)
def test_weights_that_know_rendered_faces_only_say_so(links, learnt_from):
    """Any step on real faces, or of which that is not known, makes it untrue."""
    meta = _meta(*links)
    is_rendered_only = learnt_from == lineage.RENDERED_ONLY
    assert lineage.learnt_from(meta) == learnt_from
    assert lineage.learnt_from_synthetic_only(meta) == is_rendered_only
    assert ("scores of real faces mean nothing" in lineage.notice(meta)) == is_rendered_only


def test_a_students_own_step_has_no_labels_unless_it_names_their_corpus():
    """Faces that it has seen count as learnt from, and hide no corpus: its teachers' links have theirs."""
    assert STUDENT.learnt_corpora == ("disfa",) and STUDENT.label_corpora == () and not STUDENT.hides_corpora
    labelled = Link(kind=lineage.DISTILLED, corpus="disfa", fold=0, aus=(1,), subjects={"disfa": ["SN001"]})
    assert labelled.label_corpora == ("disfa",)
    assert (
        not Link(kind=lineage.DISTILLED, aus=(1,)).hides_corpora and Link(kind=lineage.UNKNOWN, aus=(1,)).hides_corpora
    )
    assert lineage.is_student(_meta(RENDERED, STUDENT)) and not lineage.is_student(_meta(STUDENT, RENDERED))

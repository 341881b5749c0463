"""Reports: every awkward case of the miniatures is listed, and the counts are those of the dataset."""

import numpy as np
import pytest

from fgnet_jax.data import folds as folds_lib
from fgnet_jax.data.corpus import open_corpus
from fgnet_jax.prepare.layouts import records
from tests.prepare.corpora import report_of

AWKWARD = {
    "no face": records.NO_FACE,
    "truncated image": records.UNREADABLE,
    "label without image": records.NO_IMAGE,
    "video too short": records.NO_IMAGE,
    "video too long": records.NO_LABEL,
    "bad label file": records.BAD_FILE,
    "bad label lines": records.BAD_LINE,
    "not known": records.NOT_KNOWN,
}
"""The report's names of the miniatures' awkward cases."""


@pytest.mark.parametrize("corpus", ["disfa", "bp4d"])
def test_every_awkward_case_ends_in_thereport_of(owners, prepared, corpus):
    """In JSON and in the text; a wrong frame count also as a problem of its own."""
    problems = report_of(prepared, corpus)["problems"]
    text = (prepared / "reports" / corpus / "report.txt").read_text()
    assert owners[corpus].awkward, "the miniature has awkward cases"
    for case, places in owners[corpus].awkward.items():
        listed = [f"{problem['where']} {problem['detail']}" for problem in problems[AWKWARD[case]]["list"]]
        for place in places:
            assert any(place in line for line in listed), (case, place, listed)
            assert place in text
    if corpus == "disfa":
        off = [problem["where"] for problem in problems[records.FRAME_COUNT]["list"]]
        assert off == ["SN002/left", "SN011/left"]


def test_the_report_counts_what_the_dataset_has(prepared):
    """Positives and known labels per fold and AU, beside what was published."""
    values = report_of(prepared, "disfa")
    for split, fold in values["folds"].items():
        corpus = open_corpus("disfa", prepared, split)
        labels = np.stack([corpus.record(k)["labels"] for k in range(len(corpus))])
        assert fold["frames"] == len(labels)
        assert list(fold["positives"].values()) == (labels == 1).sum(0).tolist()
        assert list(fold["known"].values()) == (labels >= 0).sum(0).tolist()
        assert fold["published_frames"] == folds_lib.PUBLISHED_FRAMES["disfa"][int(split[-1])]
    assert values["published_rates"]["AU25"] == 0.278
    text = (prepared / "reports/disfa/report.txt").read_text()
    assert "130,311" in text and "0.278" in text and "a second, 1 workers, landmarks on disk" in text

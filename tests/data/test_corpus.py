"""Corpora that are joined to one."""

import numpy as np
import pytest

from fgnet_jax.data.corpus import Corpus, join


class Source(list):
    """A data source of records with labels and intensities 10 + column."""

    def __init__(self, subjects, columns):
        image = {"image": b"", "landmarks": np.zeros((68, 2), np.float32), "sequence": b"s", "frame": 1}
        values = {"labels": np.arange(columns, dtype=np.int8), "intensities": 10 + np.arange(columns, dtype=np.float32)}
        super().__init__({**image, **values, "subject": name.encode()} for name in subjects)


@pytest.fixture
def pair():
    """Return corpora of AUs 1, 6, 12 and 43, 6; both have a subject "a"."""
    first = Corpus("one", (1, 6, 12), ("fold_0", "fold_1"), (Source("ab", 3), Source("c", 3)))
    return first, Corpus("two", (43, 6), ("fold_0",), (Source("ad", 2),))


def test_joined_corpora_have_the_union_of_their_aus(pair):
    """Known labels in their columns, -1 in those that a face's corpus lacks."""
    both = join(pair)
    assert (both.name, both.aus, len(both)) == ("one+two", (1, 6, 12, 43), 5)
    assert both.splits == ("one fold_0", "one fold_1", "two fold_0")
    assert both.record(2)["labels"].tolist() == [0, 1, 2, -1] and both.record(2)["labels"].dtype == np.int8
    assert both.record(3)["labels"].tolist() == [-1, 1, -1, 0]
    assert both.record(3)["intensities"].tolist() == [-1, 11, -1, 10]


def test_subjects_of_joined_corpora_are_told_apart(pair):
    """By their corpus."""
    both = join(pair)
    assert both.subjects().tolist() == ["one/a", "one/b", "one/c", "two/a", "two/d"]
    assert both.record(3)["subject"] == "two/a"
    assert both.subjects_by_corpus(np.array([0, 3, 4])) == {"one": ["a"], "two": ["a", "d"]}
    assert both.subjects_by_corpus(np.array([1])) == {"one": ["b"]}
    assert [both.recordings_of(k) for k in (0, 3, 4)] == ["one", "two", "two"]
    assert pair[0].recordings_of(0) == "one"


def test_a_single_corpus_is_left_as_it_is(pair):
    """Its subjects under their own names."""
    assert join(pair[:1]) is pair[0]
    assert pair[0].subjects_by_corpus(np.array([0, 1, 0])) == {"one": ["a", "b"]}

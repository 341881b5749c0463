"""Frames that two methods share, and labels that they must agree on."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.evaluate import paired_frames
from fgnet_jax.evaluate.method import Method
from fgnet_jax.evaluate.runs import EvaluationError


def _method(name, rows, aus=(1, 12), **fields):
    """Rows of subject, sequence, frame, label of both AUs, presence of both."""
    subjects, sequences, frames = (np.array([row[k] for row in rows]) for k in range(3))
    labels, present = (np.array([[row[k]] * len(aus) for row in rows], np.int8) for k in (3, 4))
    scores = present.astype(float)
    return Method(aus, subjects, sequences, frames, present, scores, labels, name=name, **fields)


ROWS = [("a", "x", 1, 1, 1), ("a", "x", 2, 0, 1), ("b", "x", 1, 1, 0), ("b", "x", 2, -1, 0)]


def test_frames_are_paired_whatever_their_order():
    """Each has its own label and predictions in both."""
    first, second = _method("A", ROWS), _method("B", [(*row[:4], 1 - row[4]) for row in ROWS[::-1]])
    paired = paired_frames.pair(first, second)
    assert paired.frames == 4 and paired.left_out == () and paired.aus == (1, 12)
    one, two = paired.methods
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.subjects, two.subjects)
    np.testing.assert_array_equal(one.present, ~two.present)
    assert sorted(zip(one.subjects.tolist(), one.labels[:, 0].tolist(), one.present[:, 0].tolist(), strict=True)) == [
        ("a", 0, True),
        ("a", 1, True),
        ("b", -1, False),
        ("b", 1, False),
    ]


def test_aus_that_both_have():
    """In ascending order."""
    paired = paired_frames.pair(_method("A", ROWS, (12, 4, 1)), _method("B", ROWS, (1, 25, 12)))
    assert paired.aus == (1, 12)
    with pytest.raises(EvaluationError, match="no AU is common: A: 4; B: 25"):
        paired_frames.pair(_method("A", ROWS, (4,)), _method("B", ROWS, (25,)))


def test_frames_of_one_method_alone_are_counted():
    """And those of which one has no result; of an AU alone, its label is as if unknown."""
    more = [*ROWS, ("c", "x", 1, 1, 1), ("c", "x", 2, 1, -1)]
    paired = paired_frames.pair(_method("A", ROWS), _method("B", more))
    assert paired.frames == 4
    assert paired.left_out == (
        "1 of 6 frames are without a result of B, and left out",
        "1 of 5 frames of B are left out, which are not in A",
    )
    first = _method("A", ROWS)
    first.present[0, 1] = -1
    paired = paired_frames.pair(first, _method("B", ROWS))
    assert paired.left_out == ("AU12: 1 frames more are left out, without its result",)
    assert (paired.methods[1].labels == 1).sum(0).tolist() == [2, 1]


def test_labels_that_differ_are_refused():
    """With the frame and the AU; where one does not know them, too."""
    for label, word in ((0, "absent"), (-1, "not known")):
        other = [ROWS[0], ROWS[1], (*ROWS[2][:3], label, 0), ROWS[3]]
        with pytest.raises(
            EvaluationError, match=f"labels differ: AU01 is present in b/x frame 1 by A, and {word} by B"
        ):
            paired_frames.pair(_method("A", ROWS), _method("B", other))


def test_labels_of_a_corpus():
    """For methods without any; frames that it lacks are left out."""
    first, second = (dataclasses.replace(_method(name, ROWS), labels=None) for name in "AB")
    reference = _method("mine", ROWS[:3], splits=np.array(["fold_0", "fold_0", "fold_1"]))
    paired = paired_frames.pair(first, second, reference)
    assert paired.frames == 3 and paired.splits == {"a": "fold_0", "b": "fold_1"}
    assert paired.left_out[0] == "1 of 4 frames of A are left out, which are not in the labels of mine"
    with pytest.raises(EvaluationError, match="neither method has labels"):
        paired_frames.pair(first, second)


def test_recordings_of_other_people_are_refused():
    """BP4D+ names its subjects as BP4D does."""
    with pytest.raises(EvaluationError, match="different people, whatever their names: A of bp4d, B of bp4d_plus"):
        paired_frames.pair(_method("A", ROWS, recordings="bp4d"), _method("B", ROWS, recordings="bp4d_plus"))


def test_sequences_that_a_method_does_not_name():
    """Are those of subjects who have one alone; others are asked for."""
    unnamed = [(row[0], "", *row[2:]) for row in ROWS]
    assert paired_frames.pair(_method("A", ROWS), _method("B", unnamed)).frames == 4
    both = [*ROWS, ("a", "y", 1, 1, 1)]
    with pytest.raises(EvaluationError, match=r"B does not say which recording of a a row is of \(x, y\)"):
        paired_frames.pair(_method("A", both), _method("B", unnamed))


def test_repeats_of_all_frames_or_none():
    """Predictions of several networks; where some frames have more of them, no figure can be made."""
    twice = [*ROWS, *ROWS]
    paired = paired_frames.pair(_method("A", ROWS), _method("B", twice))
    assert [method.repeats for method in paired.methods] == [1, 2] and len(paired.methods[1].labels) == 8
    with pytest.raises(EvaluationError, match="B has 2 predictions of a/x frame 1 and 1 of"):
        paired_frames.pair(_method("A", ROWS), _method("B", twice[:5]))

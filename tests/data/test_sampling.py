"""The orders of training faces, written out."""

import itertools

import numpy as np
import pytest

from fgnet_jax.data import sampling

INDICES = np.array([10, 11, 12, 13, 14, 15, 16, 17])
LABELS = np.array([[1, 0], [1, 1], [0, 0], [0, -1], [0, 0], [0, 0], [0, 0], [-1, -1]], np.int8)
"""AU A in faces 10 and 11, AU B in 11 alone; the others show none, as far as is known."""


def drawn(sampler, count, start=0):
    """Draw faces at positions, the later ones first: a position depends on nothing else."""
    return [sampler(position) for position in range(start + count - 1, start - 1, -1)][::-1]


def balanced(seed=0):
    """Return the balanced order of the faces above."""
    return sampling.balanced(INDICES, LABELS, seed=seed)


def test_the_published_order_is_a_permutation_an_epoch():
    """NumPy's, of seed and epoch; what is left over of it is not used."""
    sampler = sampling.shuffled(INDICES, per_epoch=6, seed=3)
    expected = [np.random.default_rng([3, epoch]).permutation(INDICES)[:6].tolist() for epoch in range(3)]
    assert drawn(sampler, 18) == list(itertools.chain(*expected))


def test_a_round_has_a_face_of_every_class():
    """Of A, of B, and of the faces without either; an unknown label is no AU that is present."""
    assert [group.tolist() for group in sampling.balanced_groups(LABELS)] == [[0, 1], [1], [2, 3, 4, 5, 6, 7]]
    rounds = np.array(drawn(balanced(), 300)).reshape(100, 3)
    for faces in rounds.tolist():
        without = [face for face in faces if face >= 12]
        assert len(without) == 1 and 11 in faces and faces.count(10) + faces.count(11) == 2
    assert len({tuple(np.sort(faces)) for faces in rounds.tolist()}) > 5
    assert len({faces.index(max(faces)) for faces in rounds.tolist()}) == 3, "in an order of its own"


def test_shares_are_those_of_the_formula():
    """A third of the draws for each class: A is in 1/3 + 1/3, since B's only face shows A, and B in 1/3 + 1/6."""
    faces = np.array(drawn(balanced(), 600))
    assert np.isin(faces, (10, 11)).mean() == pytest.approx(2 / 3)
    assert (faces == 11).mean() == pytest.approx(1 / 3 + 1 / 6)


def test_a_class_repeats_no_face_before_all_were_drawn():
    """The six faces without an AU, in six rounds each."""
    faces = [face for face in drawn(balanced(), 3 * 60) if face >= 12]
    groups = [faces[k : k + 6] for k in range(0, 60, 6)]
    assert all(sorted(group) == [12, 13, 14, 15, 16, 17] for group in groups)
    assert len({tuple(group) for group in groups}) > 1


def test_positions_depend_on_the_seed_alone():
    """The same again from any position on; another order by another seed."""
    expected = drawn(balanced(), 90)
    assert drawn(balanced(), 40, start=50) == expected[50:]
    assert drawn(balanced(seed=1), 90) != expected


def test_classes_without_a_face_are_left_out():
    """An AU that never occurs; faces without an AU where every face shows one. No faces at all are refused."""
    assert [group.tolist() for group in sampling.balanced_groups(np.array([[1, 0], [1, 0]]))] == [[0, 1]]
    with pytest.raises(ValueError, match="no faces to draw from"):
        sampling.balanced(INDICES[:0], LABELS[:0], seed=0)

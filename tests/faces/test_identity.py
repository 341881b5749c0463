"""Whose a face is: overlap where it is certain, else appearance, and a new number where that leaves a doubt."""

import numpy as np
import pytest

from fgnet_jax.faces import identity, recognition
from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.identity import FoundFace
from fgnet_jax.faces.recognition import Person


def _descriptor(*places):
    return np.pad(np.array(places, float), (0, 128 - len(places)))


def _face(number, width=10.0):
    return Face(np.full((68, 2), float(number), np.float32), (0.0, 0.0, width, 10.0), 1.0)


def _identify(found, people, looks):
    """Identify faces that look like these points."""
    return identity.by_appearance(
        found,
        tuple(Person(k, _descriptor(*place), 1, 0) for k, place in enumerate(people)),
        len(people),
        describe=lambda face: _descriptor(*looks[int(face.landmarks[0, 0])]),
        now=1,
    )


def test_a_new_face_that_looks_like_somebody_is_that_person():
    """And one that looks like nobody is new; of two new ones, the larger gets the lower number."""
    found = [FoundFace(_face(0)), FoundFace(_face(1)), FoundFace(_face(2, width=20.0))]
    result = _identify(found, [(0, 0), (1, 0)], [(1, 0.2), (9, 0), (0, 9)])
    assert result.face_ids == (1, 3, 2) and result.next_id == 4
    assert [person.face_id for person in result.people] == [0, 1, 2, 3]


def test_two_tracked_faces_that_have_swapped_get_their_numbers_back():
    """Though only one of them was in doubt: the holder of its number is looked at, too."""
    found = [FoundFace(_face(0), 0, is_due=True), FoundFace(_face(1), 1, is_due=False, is_continuous=True)]
    result = _identify(found, [(0, 0), (1, 0)], [(1, 0), (0, 0)])
    assert result.face_ids == (1, 0) and result.is_checked == (True, True)


def test_a_face_between_two_people_is_new():
    """It could be either; where overlap gives no reason for doubt, it stays who it was."""
    people, look = [(0, 0), (0.6, 0)], [(0.3, 0)]
    assert _identify([FoundFace(_face(0), 0)], people, look).face_ids == (2,)
    assert _identify([FoundFace(_face(0), 0, is_continuous=True)], people, look).face_ids == (0,)


@pytest.mark.parametrize(("apart", "expected"), [(0.3, 0), (0.55, 0), (0.65, 1)])
def test_a_tracked_face_is_another_only_where_it_looks_very_different(apart, expected):
    """A grimace does not make a new person while overlap goes on; another face in the same place does."""
    found = [FoundFace(_face(0), 0, is_continuous=True)]
    assert _identify(found, [(0, 0)], [(apart, 0)]).face_ids == (expected,)


def test_certain_faces_are_not_described():
    """Descriptors are expensive."""
    found = [FoundFace(_face(0), 0, is_due=False)]
    assert _identify(found, [(0, 0)], []).is_checked == (False,)


def test_the_number_of_people_is_bounded():
    """Whoever was away for longest is forgotten first."""
    people = [Person(k, _descriptor(k), 1, last=k) for k in range(5)]
    assert [person.face_id for person in recognition.remembered(people[::-1], most=3)] == [2, 3, 4]

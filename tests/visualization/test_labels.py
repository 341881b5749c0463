"""Places of labels: never over each other, near what they name, within the drawing."""

import itertools

import pytest

from fgnet_jax.visualization.labels import LabelPlaces


def overlap(a, b):
    """Return whether two rectangles have pixels in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@pytest.mark.parametrize("at", [(100, 100), (0, 0), (399, 299), (-50, 400)])
def test_labels_at_one_place_never_cover_each_other(at):
    """Place thirty labels at the same point, which may be outside of the drawing."""
    places = LabelPlaces((400, 300))
    taken = [place for _ in range(30) if (place := places.take((40, 16), [at])) is not None]
    assert len(taken) == 30 and places.taken == taken
    assert not any(overlap(a, b) for a, b in itertools.combinations(taken, 2))
    assert all(0 <= x and 0 <= y and right <= 400 and bottom <= 300 for x, y, right, bottom in taken)


def test_the_first_place_that_covers_no_face_is_taken():
    """Prefer the best place, then another of those preferred."""
    faces = [(100, 70, 160, 100)]
    assert LabelPlaces((400, 300), faces).take((40, 16), [(100, 200), (0, 0)]) == (100, 200, 140, 216)
    assert LabelPlaces((400, 300), faces).take((40, 16), [(100, 80), (100, 104)]) == (100, 104, 140, 120)


def test_a_label_covers_a_face_rather_than_being_far_away():
    """Place a name on a face where faces are everywhere."""
    places = LabelPlaces((400, 300), [(0, 0, 400, 300)])
    assert places.take((40, 16), [(100, 80)]) == (100, 80, 140, 96)


def test_there_may_be_no_place():
    """Return None in a drawing that is full, or too small."""
    assert LabelPlaces((30, 300)).take((40, 16), [(0, 0)]) is None
    assert LabelPlaces((400, 300), taken=[(0, 0, 400, 300)]).take((40, 16), [(100, 80)]) is None

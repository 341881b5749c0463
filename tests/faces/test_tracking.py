"""Following: faces keep their numbers; what is lost, new or another scene is detected at once."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, dlib_detector, tracking
from fgnet_jax.faces.detection import Face
from tests.miniature import empty, place


@dataclasses.dataclass
class Eyes:
    """Sees boxes that a test says are there; counts the looks at whole frames."""

    there: tuple[detection.Box, ...] = ()
    looks: int = 0

    def detect(self, image):
        """All of them."""
        self.looks += 1
        return [_face(box) for box in self.there]

    def nearby(self, image, box):
        """The one that overlaps."""
        best = max(self.there, key=lambda other: detection.overlap(other, box), default=None)
        return _face(best) if best and detection.overlap(best, box) > 0.3 else None


def _face(box):
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]).repeat(17, 0) * (box[2], box[3]) + box[:2]
    return Face(corners.astype(np.float32), box, 1.0)


def _scene(seed):
    return np.random.default_rng(seed).integers(0, 256, (18, 32, 3), np.uint8).repeat(10, 0).repeat(10, 1)


def _run(eyes, steps, every=10, scenes=None):
    """Faces' numbers and places after each step, and whether the detector looked."""
    track, seen = tracking.Track(), []
    for k, there in enumerate(steps):
        eyes.there, before = tuple(there), eyes.looks
        image = _scene(scenes[k] if scenes else 0)
        track = tracking.follow(track, image, eyes.detect, eyes.nearby, every)
        seen.append(([(one.face_id, one.face.box[0]) for one in track.faces], eyes.looks > before))
    return seen


def _at(*places):
    return [(float(x), 50.0, 40.0, 40.0) for x in places]


def test_the_detector_looks_every_so_many_frames():
    """And at the first."""
    seen = _run(Eyes(), [_at(10)] * 8, every=3)
    assert [looked for _, looked in seen] == [True, False, False, True, False, False, True, False]


def test_faces_keep_their_numbers_while_they_move():
    """Also where the detector gives them in another order."""
    seen = _run(Eyes(), [_at(10 + 8 * k, 200 - 8 * k)[:: (-1) ** k] for k in range(8)], every=2)
    assert seen[-1][0] == [(0, 66.0), (1, 144.0)] or seen[-1][0] == [(0, 144.0), (1, 66.0)]
    assert all(len(faces) == 2 for faces, _ in seen)


def test_a_lost_face_is_looked_for_at_once_and_once():
    """It has its number back when it comes back where it was; late, it is another."""
    gone = 4
    seen = _run(Eyes(), [_at(10), _at(10), *[[]] * gone, _at(12), _at(12)])
    assert [looked for _, looked in seen] == [True, False, True, *[False] * (gone - 1), False, False]
    assert [faces for faces, _ in seen] == [[(0, 10)], [(0, 10)], *[[]] * gone, [(0, 12)], [(0, 12)]]
    late = _run(Eyes(), [_at(10), *[[]] * (tracking.REMEMBERED + 1), *[_at(10)] * 10])
    assert late[-1][0] == [(1, 10)]


def test_a_face_that_jumps_is_found_at_once_as_another():
    """Nothing says that it is the same."""
    assert _run(Eyes(), [_at(10), _at(10), _at(200)])[-1] == ([(1, 200)], True)


def test_a_cut_makes_new_faces():
    """Though somebody is in the same place; a brighter or darker scene is no cut."""
    seen = _run(Eyes(), [_at(10)] * 4, scenes=[0, 0, 1, 1])
    assert [faces[0][0] for faces, _ in seen] == [0, 0, 1, 1]
    assert [looked for _, looked in seen] == [True, False, True, False]
    bright, dark = _scene(0), _scene(0) // 4
    eyes = Eyes(tuple(_at(10)))
    track = tracking.follow(tracking.Track(), bright, eyes.detect, eyes.nearby)
    track = tracking.follow(track, dark, eyes.detect, eyes.nearby)
    assert track.faces[0].face_id == 0 and eyes.looks == 1


def test_two_faces_that_meet_are_detected_again():
    """Two that were followed must not both sit on one."""
    eyes = Eyes()
    seen = _run(eyes, [_at(10, 60), _at(20, 50), _at(35)])
    assert len(seen[-1][0]) == 1 and seen[-1][1]


@pytest.mark.parametrize("name", ["synthetic_bp4d", "synthetic_disfa"])
def test_following_adds_little_error(name):
    """With dlib, on a face that moves, turns and grows: as near to exact landmarks as when it is detected always."""
    images, landmarks, _ = random_faces(name, 3, seed=3)
    scenes = [place(images[0], landmarks[0], (384, 288), 1, 0.7 + 0.01 * k) for k in range(12)]
    predictor = dlib_detector.find_predictor()
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    errors = {}
    for every in (1, 12):
        track, apart = tracking.Track(), []
        for scene in scenes:
            track = tracking.follow(track, scene.image, detect, nearby, every)
            assert [one.face_id for one in track.faces] == [0]
            apart.append(detection.distance(track.faces[0].face.landmarks, scene.landmarks))
        errors[every] = np.mean(apart)
    assert errors[12] < errors[1] + 0.03


def test_the_predictor_is_not_put_where_no_face_is():
    """A wall."""
    nearby = dlib_detector.load_nearby(dlib_detector.find_predictor())
    assert nearby(empty().image, (100.0, 100.0, 60.0, 60.0)) is None
    assert nearby(empty().image, (-500.0, 900.0, 60.0, 60.0)) is None

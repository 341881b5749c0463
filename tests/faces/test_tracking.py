"""Tracking: faces keep their numbers; faces are detected at once where one is lost or the scene changes."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, dlib_detector, tracking
from fgnet_jax.faces.detection import Face
from tests.miniature import empty, place


@dataclasses.dataclass
class FakeDetectors:
    """Detects the boxes that a test sets; counts detections in whole frames."""

    boxes: tuple[detection.Box, ...] = ()
    detections: int = 0

    def detect(self, image):
        """Return all faces."""
        self.detections += 1
        return [_face(box) for box in self.boxes]

    def nearby(self, image, box):
        """Return the face that overlaps the box."""
        best = max(self.boxes, key=lambda other: detection.overlap(other, box), default=None)
        return _face(best) if best and detection.overlap(best, box) > 0.3 else None


def _face(box):
    corners = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]).repeat(17, 0) * (box[2], box[3]) + box[:2]
    return Face(corners.astype(np.float32), box, 1.0)


def _scene(seed):
    return np.random.default_rng(seed).integers(0, 256, (18, 32, 3), np.uint8).repeat(10, 0).repeat(10, 1)


def _run(detectors, steps, every=10, seeds=None):
    """Return the faces' numbers and places after each step, and whether faces were detected in the whole frame."""
    track, results = tracking.Track(), []
    for k, boxes in enumerate(steps):
        detectors.boxes, before = tuple(boxes), detectors.detections
        image = _scene(seeds[k] if seeds else 0)
        track = tracking.follow(track, image, detectors.detect, detectors.nearby, every=every)
        places = [(tracked.face_id, tracked.face.box[0]) for tracked in track.faces]
        results.append((places, detectors.detections > before))
    return results


def _at(*places):
    return [(float(x), 50.0, 40.0, 40.0) for x in places]


def test_faces_are_detected_every_third_frame():
    """From the first on."""
    results = _run(FakeDetectors(), [_at(10)] * 8, every=3)
    assert [is_detected for _, is_detected in results] == [True, False, False, True, False, False, True, False]


def test_faces_keep_their_numbers_while_they_move():
    """Also where the detector returns them in another order."""
    results = _run(FakeDetectors(), [_at(10 + 8 * k, 200 - 8 * k)[:: (-1) ** k] for k in range(8)], every=2)
    assert results[-1][0] == [(0, 66.0), (1, 144.0)] or results[-1][0] == [(0, 144.0), (1, 66.0)]
    assert all(len(faces) == 2 for faces, _ in results)


def test_faces_are_detected_at_once_and_once_where_one_is_lost():
    """It gets its number back when it returns where it was; after a while, a new one."""
    gone = 4
    results = _run(FakeDetectors(), [_at(10), _at(10), *[[]] * gone, _at(12), _at(12)])
    assert [is_detected for _, is_detected in results] == [True, False, True, *[False] * (gone - 1), False, False]
    assert [faces for faces, _ in results] == [[(0, 10)], [(0, 10)], *[[]] * gone, [(0, 12)], [(0, 12)]]
    late = _run(FakeDetectors(), [_at(10), *[[]] * (tracking.FORGET_AFTER + 1), *[_at(10)] * 10])
    assert late[-1][0] == [(1, 10)]


def test_a_face_that_jumps_is_found_at_once_as_another():
    """With a new number: it may be another face."""
    assert _run(FakeDetectors(), [_at(10), _at(10), _at(200)])[-1] == ([(1, 200)], True)


def test_a_cut_makes_new_faces():
    """Even in the same place; a darker scene is no cut."""
    results = _run(FakeDetectors(), [_at(10)] * 4, seeds=[0, 0, 1, 1])
    assert [faces[0][0] for faces, _ in results] == [0, 0, 1, 1]
    assert [is_detected for _, is_detected in results] == [True, False, True, False]
    bright, dark = _scene(0), _scene(0) // 4
    detectors = FakeDetectors(tuple(_at(10)))
    track = tracking.follow(tracking.Track(), bright, detectors.detect, detectors.nearby)
    track = tracking.follow(track, dark, detectors.detect, detectors.nearby)
    assert track.faces[0].face_id == 0 and detectors.detections == 1


def test_two_faces_that_meet_are_detected_again():
    """Two tracked faces must not both be on one."""
    detectors = FakeDetectors()
    results = _run(detectors, [_at(10, 60), _at(20, 50), _at(35)])
    assert len(results[-1][0]) == 1 and results[-1][1]


@pytest.mark.parametrize("name", ["synthetic_bp4d", "synthetic_disfa"])
def test_tracking_adds_little_error(name):
    """With dlib, on a face that moves, turns and grows: about the error of detection in every frame."""
    images, landmarks, _ = random_faces(name, 3, seed=3)
    sequence = [place(images[0], landmarks[0], (384, 288), 1, 0.7 + 0.01 * k) for k in range(12)]
    predictor = dlib_detector.find_predictor()
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    errors = {}
    for every in (1, 12):
        track, distances = tracking.Track(), []
        for scene in sequence:
            track = tracking.follow(track, scene.image, detect, nearby, every=every)
            assert [tracked.face_id for tracked in track.faces] == [0]
            distances.append(detection.distance(track.faces[0].face.landmarks, scene.landmarks))
        errors[every] = np.mean(distances)
    assert errors[12] < errors[1] + 0.03


def test_no_face_is_tracked_where_there_is_none():
    """In a wall, and outside of the image."""
    nearby = dlib_detector.load_nearby(dlib_detector.find_predictor())
    assert nearby(empty().image, (100.0, 100.0, 60.0, 60.0)) is None
    assert nearby(empty().image, (-500.0, 900.0, 60.0, 60.0)) is None

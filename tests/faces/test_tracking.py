"""Tracking: faces keep their numbers, by overlap and by appearance, and are detected at once where one is lost."""

import dataclasses

import numpy as np
import pytest

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, dlib_detector, recognition, tracking
from fgnet_jax.faces.detection import Face
from tests.faces.people import crossing, people, scene
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
        for step in sequence:
            track = tracking.follow(track, step.image, detect, nearby, every=every)
            assert [tracked.face_id for tracked in track.faces] == [0]
            distances.append(detection.distance(track.faces[0].face.landmarks, step.landmarks))
        errors[every] = np.mean(distances)
    assert errors[12] < errors[1] + 0.03


def test_no_face_is_tracked_where_there_is_none():
    """In a wall, and outside of the image."""
    nearby = dlib_detector.load_nearby(dlib_detector.find_predictor())
    assert nearby(empty().image, (100.0, 100.0, 60.0, 60.0)) is None
    assert nearby(empty().image, (-500.0, 900.0, 60.0, 60.0)) is None


@pytest.fixture(scope="module")
def trio():
    """Return three people's faces."""
    return people()


def _ids(steps, every=10, **options):
    """Track rendered people with dlib, and return each frame's numbers by the people's order."""
    predictor, network = dlib_detector.find_predictor(), recognition.find_network()
    assert network is not None
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    track, results = tracking.Track(), []
    describe = recognition.load(network)
    for faces, seed in steps:
        track = tracking.follow(track, scene(faces, seed), detect, nearby, every=every, describe=describe, **options)
        middles = [left + face.shape[1] / 2 for face, left, _ in faces]
        ids: list[int | None] = [None] * len(faces)
        for tracked in track.faces:
            ids[int(np.argmin([abs(tracked.face.landmarks[:, 0].mean() - x) for x in middles]))] = tracked.face_id
        results.append(ids)
    return results


@pytest.mark.parametrize("every", [1, 10])
def test_crossing_faces_keep_their_numbers(trio, every):
    """The one behind is hidden for a while; by overlap alone, the two swap."""
    steps = [(faces, 0) for faces in crossing(trio[0], trio[1])]
    results = _ids(steps, every)
    assert set(results[0]) == {0, 1} and results[-1] == results[0]
    for ids in results[:8] + results[-4:]:
        assert ids == results[0]


def test_people_in_the_same_place_never_share_a_number(trio):
    """One replaces the other from frame to frame, without a cut; later, the first is back."""
    who = [0] * 5 + [1] * 5 + [2] * 5 + [0] * 5
    results = _ids([([(trio[k], 160, 90)], 0) for k in who])
    assert [ids[0] for ids in results] == who


def test_a_face_hidden_for_two_seconds_comes_back_with_its_number(trio):
    """Also in another place; somebody else does not get it."""
    back = [([(trio[0], 40, 90)], 0)] * 12 + [([], 0)] * 50 + [([(trio[0], 290, 80)], 0)] * 12
    results = _ids(back)
    assert {ids[0] for ids in results[:12]} == {ids[0] for ids in results[-2:]} == {0}
    results = _ids([*back[:62], *[([(trio[1], 40, 90)], 0)] * 12])
    assert results[-1] == [1]


def test_people_keep_their_numbers_across_a_cut_where_requested(trio):
    """Otherwise all numbers are new after it."""
    steps = [([(trio[0], 40, 90)], 0)] * 3 + [([(trio[1], 40, 90), (trio[0], 290, 80)], 5)] * 3
    assert _ids(steps)[-1] in ([1, 2], [2, 1])
    assert _ids(steps, keep_people=True)[-1] == [1, 0]


def test_a_stretch_ends_where_another_face_comes(trio):
    """So that no smoothing crosses from one to the other, nor over the time when a face was hidden."""
    predictor, network = dlib_detector.find_predictor(), recognition.find_network()
    assert network is not None
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    track, starts = tracking.Track(), []
    for k in (0, 0, 1, 1, 0, 0):
        image = scene([(trio[k], 160, 90)])
        track = tracking.follow(track, image, detect, nearby, describe=recognition.load(network))
        starts.append((track.faces[0].face_id, track.faces[0].start))
    assert starts == [(0, 1), (0, 1), (1, 3), (1, 3), (0, 5), (0, 5)]


def test_a_stretch_ends_where_a_face_is_hidden(trio):
    """It comes back with its number, and begins another stretch."""
    predictor, network = dlib_detector.find_predictor(), recognition.find_network()
    assert network is not None
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    track, starts = tracking.Track(), []
    for k in (0, 0, None, None, 0, 0):
        image = scene([] if k is None else [(trio[k], 160, 90)])
        track = tracking.follow(track, image, detect, nearby, describe=recognition.load(network))
        starts += [(face.face_id, face.start) for face in track.faces]
    assert starts == [(0, 1), (0, 1), (0, 5), (0, 5)]

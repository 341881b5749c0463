"""Faces of a camera: known ones are tracked without waiting, new ones are searched beside that."""

import contextlib
import threading

import numpy as np
import pytest

from fgnet_jax.faces import detectors, finder, live_finder
from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.finder import FinderOptions
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import webcam

LIMIT = 30.0  # seconds: for threads that would never come
LEFT, RIGHT = (60.0, 100.0), (240.0, 100.0)


def _face(place):
    """Return a face of 80 pixels around a place: eyes, mouth, and a circle of all other landmarks."""
    angles = np.linspace(0, 2 * np.pi, 68)
    landmarks = np.stack([np.cos(angles), np.sin(angles)], 1) * 40
    landmarks[36:42], landmarks[42:48], landmarks[48:68] = (-15, -15), (15, -15), (0, 20)
    landmarks = (landmarks + place).astype(np.float32)
    low, high = landmarks.min(0), landmarks.max(0)
    return Face(landmarks, (*low.tolist(), *(high - low).tolist()), 1.0)


class Scene:
    """Faces that are there, found by detectors that know them."""

    def __init__(self):
        self.places = [LEFT]
        self.searched, self.go = threading.Event(), threading.Event()
        self.calls = []

    def detect(self, image):
        """Find all faces, once that is allowed; the image that was searched shows those of then."""
        self.calls.append(("all", threading.current_thread().name))
        places = [*self.places]
        self.searched.set()
        assert self.go.wait(LIMIT)
        return [_face(place) for place in places]

    def largest(self, image):
        """Find the first face."""
        self.calls.append(("largest", threading.current_thread().name))
        return _face(self.places[0]) if self.places else None

    def nearby(self, image, box):
        """Find the face that is less than 40 pixels away."""
        near = [place for place in self.places if abs(_face(place).box[0] - box[0]) < 40]
        return _face(near[0]) if near else None


@pytest.fixture
def scene(monkeypatch):
    """Return a scene whose faces are found."""
    scene = Scene()
    use = finder.Detectors(scene.detect, scene.nearby, None, lambda stage: contextlib.nullcontext())
    monkeypatch.setattr(finder, "load", lambda options, timed: use)
    monkeypatch.setattr(detectors, "load_largest", lambda *arguments: scene.largest)
    return scene


def _frames(count, before):
    """Yield frames, after `before(k)` was called."""
    for k in range(count):
        before(k)
        image = np.random.default_rng(0).integers(0, 255, (240, 360, 3), np.uint8)
        yield Frame(webcam(0), 0, k + 1, k / 30, image, captured=0.0)


def _find(count, before, every=3):
    return live_finder.find(_frames(count, before), FinderOptions(size=64, detect_every=every))


def test_no_frame_waits_for_the_search_of_others(scene):
    """A second face comes; the first is in every frame, though the search does not end, and then both are."""

    def before(k):
        if k == 2:
            scene.places = [LEFT, RIGHT]
        if k == 6:
            assert scene.searched.wait(LIMIT)
            scene.go.set()

    counts, numbers = [], set()
    for detected in _find(200, before):
        counts.append(len(detected.faces))
        numbers |= {face.face_id for face in detected.faces}
        if counts[-1] == 2:
            break
    assert counts[:6] == [1] * 6 and counts[-1] == 2 and numbers == {0, 1}
    assert {name for kind, name in scene.calls if kind == "all"} == {"fgnet_jax detect_0"}


def test_a_face_that_was_searched_in_an_older_frame_is_where_it_is_now(scene):
    """It has moved since, by less than its size."""

    def before(k):
        if k == 8:
            assert scene.searched.wait(LIMIT)
            scene.places = [LEFT, (RIGHT[0] + 30, RIGHT[1])]
            scene.go.set()

    scene.places = [LEFT, RIGHT]
    found = next(detected for detected in _find(300, before) if len(detected.faces) == 2)
    assert found.faces[1].face.box[0] == pytest.approx(_face(scene.places[1]).box[0])


def test_where_no_face_is_left_the_largest_is_found_at_once(scene):
    """It jumps across the image, and is in every frame."""

    def before(k):
        if k == 5:
            scene.places = [RIGHT]

    scene.go.set()
    detected = list(_find(8, before))
    assert [len(each.faces) for each in detected] == [1] * 8
    assert detected[5].faces[0].face.box == _face(RIGHT).box


def test_an_empty_scene_is_searched_now_and_then(scene):
    """As often as is asked for."""
    scene.places = []
    scene.go.set()
    detected = list(_find(9, lambda k: None))
    assert [each.problem for each in detected] == ["no face found"] * 9
    assert len([1 for kind, _ in scene.calls if kind == "largest"]) == 1 + 3  # one to warm up


def test_a_camera_that_stops_is_reported(scene):
    """Its last frame has no image, and says why."""
    end = Frame(webcam(0), 0, 1, None, None, problem="camera 0 gave 0 frames and then no more")
    (detected,) = live_finder.find(iter([end]), FinderOptions(size=64))
    assert detected.problem == end.problem and not detected.faces

"""Finding faces: in a real photograph, in videos, and in what has none; threads end with their consumer."""

import itertools
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import alignment, cnn_detector, detection, dlib_detector, finder
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.finder import FinderOptions
from fgnet_jax.media import frames, sources
from tests.faces.people import people, scene
from tests.miniature import empty, place, write_video


@pytest.fixture(scope="module")
def moving_face():
    """Return six frames of a face that moves to the right."""
    images, landmarks, _ = random_faces("synthetic_disfa", 3)
    scene = place(images[0], landmarks[0])
    return [np.roll(scene.image, 3 * k, 1) for k in range(6)]


def _find(inputs, options=None, **reading):
    return list(finder.find(frames.read(sources.given(inputs), **reading), options or FinderOptions()))


def test_a_real_photograph_is_found_and_aligned(tmp_path):
    """Scikit-image's astronaut: her eyes and mouth lie where FFHQ's recipe puts them."""
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.jpg", quality=95)
    (frame,) = _find(tmp_path / "astronaut.jpg", FinderOptions(largest=True))
    (face,) = frame.faces
    left, top, width, height = face.face.box
    assert 150 < left < 200 and 50 < top < 100 and 80 < width < 130 and frame.problem is None
    assert face.aligned.shape == (256, 256, 3) and face.aligned.dtype == np.uint8
    points = face.alignment.to_aligned(face.face.landmarks)
    eyes, mouth = points[36:48].mean(0), points[[48, 54]].mean(0)
    np.testing.assert_allclose([eyes, mouth], [(128, 115), (128, 180)], atol=8)
    np.testing.assert_array_equal(face.aligned, alignment.align(image_of(frame), face.face.landmarks)[0])


def image_of(frame):
    """Return the image of a frame that has one."""
    assert frame.frame.image is not None
    return frame.frame.image


def test_a_video_keeps_its_faces_numbers(tmp_path, moving_face):
    """Two people side by side, each with one number throughout; tracked faces lie near detected ones."""
    images, landmarks, _ = random_faces("synthetic_bp4d", 3)
    other = place(images[1], landmarks[1]).image
    write_video(tmp_path / "v.mp4", [np.concatenate([a, other], 1) for a in moving_face], "libx264")
    results = _find(tmp_path / "v.mp4")
    assert [f.frame.number for f in results] == [1, 2, 3, 4, 5, 6]
    assert [[face.face_id for face in f.faces] for f in results] == [[0, 1]] * 6
    always = _find(tmp_path / "v.mp4", FinderOptions(detect_every=1))
    for a, b in zip(results, always, strict=True):
        boxes = [face.face.box for face in b.faces]
        for face in a.faces:
            nearest = max(range(2), key=lambda k: detection.overlap(face.face.box, boxes[k]))
            assert detection.distance(face.face.landmarks, b.faces[nearest].face.landmarks) < 0.25


def test_a_resumed_video_gives_the_same_faces(tmp_path, moving_face):
    """Frames that are done are followed again, so that the others are what they were."""
    write_video(tmp_path / "v.mp4", moving_face, "libx264")
    expected = _find(tmp_path / "v.mp4")
    rest = _find(tmp_path / "v.mp4", skip={0: 4})
    assert [f.frame.number for f in rest] == [5, 6]
    for a, b in zip(expected[4:], rest, strict=True):
        np.testing.assert_array_equal(a.faces[0].aligned, b.faces[0].aligned)
        assert a.faces[0].face.box == b.faces[0].face.box and a.faces[0].face_id == b.faces[0].face_id


def test_every_nth_frame_has_the_faces_of_the_full_run(tmp_path, moving_face):
    """Boxes, landmarks, crops and numbers: faces are tracked through the frames in between."""
    write_video(tmp_path / "v.mp4", [*moving_face, empty().image, *moving_face[::-1]], "libx264")
    everything = {f.frame.number: f for f in _find(tmp_path / "v.mp4")}
    results = _find(tmp_path / "v.mp4", every=3)
    assert [f.frame.number for f in results] == [1, 4, 7, 10, 13]
    for some in results:
        full = everything[some.frame.number]
        assert len(some.faces) == len(full.faces)
        for a, b in zip(some.faces, full.faces, strict=True):
            assert (a.face_id, a.face.box) == (b.face_id, b.face.box)
            np.testing.assert_array_equal(a.face.landmarks, b.face.landmarks)
            np.testing.assert_array_equal(a.aligned, b.aligned)


@pytest.fixture(scope="module")
def gathering(tmp_path_factory):
    """Return a photograph of two people, a video of the second and of the first after a cut, and one of the third."""
    folder, (a, b, c) = tmp_path_factory.mktemp("gathering"), people()
    Image.fromarray(scene([(a, 20, 80), (b, 300, 80)])).save(folder / "1.png")
    cut = [scene([(b, 20, 80)])] * 2 + [scene([(a, 300, 90)], 4)] * 2
    write_video(folder / "2.mp4", cut, "libx264")
    Image.fromarray(scene([(c, 150, 80)], 2)).save(folder / "3.png")
    Image.fromarray(scene([(b, 150, 80)], 3)).save(folder / "4.png")
    return [folder / name for name in ("1.png", "2.mp4", "3.png", "4.png")]


def _numbers(results):
    return [(f.frame.source.name.split("/")[-1], f.frame.number, [face.face_id for face in f.faces]) for f in results]


def test_people_have_one_number_in_all_inputs(gathering):
    """Across cuts, videos and images; a run that is resumed gives the same numbers, the former files read again."""
    everything = _numbers(_find(gathering, FinderOptions(identities=True)))
    first, second = (0, 1) if _left(gathering[0], 0) < _left(gathering[0], 1) else (1, 0)
    numbers = [ids for _, _, ids in everything]
    assert numbers == [[0, 1], [second], [second], [first], [first], [2], [second]]
    rest = _find(gathering, FinderOptions(identities=True), skip={0: sys.maxsize, 1: 3}, again=True)
    assert _numbers(rest) == everything[4:]


def _left(path, number):
    """Return where a face of an image lies."""
    (frame,) = _find(path, FinderOptions(identities=True))
    return frame.faces[number].face.box[0]


def test_without_the_recognition_network_faces_are_tracked_by_overlap(monkeypatch, tmp_path, moving_face):
    """The JSON says so; identities are refused."""
    write_video(tmp_path / "v.mp4", moving_face, "libx264")
    monkeypatch.setattr(finder.recognition, "find_network", lambda predictor=None: None)
    assert [ids for _, _, ids in _numbers(_find(tmp_path / "v.mp4"))] == [[0]] * 6
    assert FinderOptions().describe()["in_between"]["recognition"] is None
    with pytest.raises(DetectorError, match=r"people cannot be told apart: no dlib_face_recognition.*\.dat"):
        _find(tmp_path / "v.mp4", FinderOptions(identities=True))


def test_frames_without_a_face_say_why(tmp_path):
    """In its place among the others."""
    (tmp_path / "broken.jpg").write_bytes(b"text")
    wall, tiny = empty().image, np.zeros((1, 1, 3), np.uint8)
    results = _find([wall, tmp_path / "broken.jpg", tmp_path / "nowhere.png", tiny, data.astronaut()])
    problems = [f.problem and f.problem.split(" (")[0] for f in results]
    assert problems == [
        "no face found",
        "not an image in a supported format",
        "there is no such file or folder",
        "no face found",
        None,
    ]


def test_only_the_largest_face():
    """Of two people."""
    images, landmarks, _ = random_faces("synthetic_bp4d", 3)
    small, large = (place(images[k], landmarks[k], scale=s) for k, s in ((0, 0.6), (1, 0.0)))
    both = np.concatenate([small.image, large.image], 1)
    (frame,) = _find(both, FinderOptions(largest=True))
    assert [face.face.landmarks[:, 0].min() > 384 for face in frame.faces] == [True]
    (frame,) = _find(both)
    first, second = frame.faces
    assert (first.face_id, second.face_id) == (0, 1) and first.face.box[2] > second.face.box[2]


def test_a_face_that_cannot_be_aligned_beside_others_is_reported(monkeypatch):
    """The others have their rows, and the frame's problem names it."""
    good, bad = np.random.default_rng(0).uniform(100, 300, (68, 2)), np.full((68, 2), 5.0)
    faces = [detection.Face(good, (100.0, 100.0, 200.0, 200.0), 1.0), detection.Face(bad, (0.0, 0.0, 9.0, 9.0), 1.0)]
    monkeypatch.setattr(finder.detectors, "load", lambda *of: (lambda image: faces, lambda image, box: None))
    (frame,) = _find(data.astronaut())
    assert [face.face_id for face in frame.faces] == [0]
    assert frame.problem == "face 1 is left out: landmarks have no extent: eyes and mouth lie in one place"


def test_aligned_faces_are_taken_whole():
    """No detector: resized where they must be, refused where they are not square."""
    face = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    same, larger, oblong = _find(
        [face, face.repeat(2, 0).repeat(2, 1), face[:50]], FinderOptions(size=64, aligned=True)
    )
    assert same.faces[0].aligned is face and same.faces[0].face.box == (0, 0, 64, 64)
    assert larger.faces[0].aligned.shape == (64, 64, 3)
    np.testing.assert_allclose(larger.faces[0].alignment.to_image(np.array((31.5, 31.5))), 63.5)
    assert oblong.faces == () and oblong.problem and "not square" in oblong.problem


def _threads():
    return [t for t in threading.enumerate() if t.name.startswith("fgnet_jax")]


def test_closing_ends_all_threads_at_once():
    """Also in the middle of endless input, which is read only a little ahead."""
    taken = itertools.count()
    face = data.astronaut()[:256, 100:356]

    def endless():
        while True:
            next(taken)
            yield face

    results = finder.find(frames.read(sources.given(endless())), FinderOptions())
    assert [len(next(results).faces) for _ in range(3)] == [1, 1, 1]
    begin = time.perf_counter()
    results.close()
    assert time.perf_counter() - begin < 3 and not _threads()
    assert next(taken) < 30


def test_what_a_thread_raises_is_raised_by_the_iterator():
    """With its message, after the frames before it, and no thread is left."""

    def breaking():
        yield empty().image
        raise RuntimeError("the cable was pulled")

    results = finder.find(frames.read(sources.given(breaking())), FinderOptions())
    with pytest.raises(RuntimeError, match="the cable was pulled"):
        list(results)
    assert not _threads()


def test_a_missing_predictor_is_reported_before_anything_is_read(tmp_path):
    """Not in the middle of a run."""
    with pytest.raises(DetectorError, match=r"no predictor file .*nowhere\.dat"):
        finder.find(iter(()), FinderOptions(predictor=tmp_path / "nowhere.dat"))


@pytest.mark.parametrize("detector", ["yunet", "dlib"])
def test_uncertain_faces_are_left_out(detector, monkeypatch):
    """By the detector's default, or another least confidence; in images and in videos."""
    photo = data.astronaut()
    (frame,) = _find(photo, FinderOptions(detector=detector))
    assert [face.face.confidence > 0.9 for face in frame.faces] == [True]
    for module in (dlib_detector, cnn_detector):
        monkeypatch.setattr(module, "probability", lambda score: 0.3)
    (frame,) = _find(photo, FinderOptions(detector=detector))
    assert frame.faces == () and frame.problem == "no face found"
    (frame,) = _find(photo, FinderOptions(detector=detector, min_confidence=0.2, largest=True))
    assert [face.face.confidence for face in frame.faces] == [0.3]


def test_options_are_described():
    """For the JSON beside a table."""
    description = FinderOptions(detect_every=7, largest=True).describe()
    assert description["detect_every"] == 7 and description["faces"] == "the largest"
    assert description["in_between"]["added_error"] and "YuNet" in description["detector"]
    assert FinderOptions(min_confidence=0.1).describe()["min_confidence"] == 0.1
    dlib = FinderOptions(detector="dlib").describe()
    assert dlib["detector"] == "dlib's frontal face detector"
    assert dlib["in_between"]["method"] != description["in_between"]["method"]
    assert FinderOptions(aligned=True).describe() == {"detector": None, "input": "aligned faces"}

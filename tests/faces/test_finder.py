"""Faces found: a real photograph, videos, and everything that is none; threads end with who asks."""

import itertools
import threading
import time

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import alignment, detection, finder
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.faces.finder import FinderOptions
from fgnet_jax.media import frames, sources
from tests.miniature import empty, place, write_video


@pytest.fixture(scope="module")
def scenes():
    """Six frames of a face that moves to the right."""
    images, landmarks, _ = random_faces("synthetic_disfa", 3)
    scene = place(images[0], landmarks[0])
    return [np.roll(scene.image, 3 * k, 1) for k in range(6)]


def _find(inputs, how=None, **options):
    return list(finder.find(frames.read(sources.given(inputs), **options), how or FinderOptions()))


def test_a_real_photograph_is_found_and_aligned(tmp_path):
    """Scikit-image's astronaut: her eyes and mouth lie where FFHQ's recipe puts them."""
    Image.fromarray(data.astronaut()).save(tmp_path / "astronaut.jpg", quality=95)
    (found,) = _find(tmp_path / "astronaut.jpg", FinderOptions(largest=True))
    (one,) = found.faces
    left, top, width, height = one.face.box
    assert 150 < left < 200 and 50 < top < 100 and 80 < width < 130 and found.problem is None
    assert one.aligned.shape == (256, 256, 3) and one.aligned.dtype == np.uint8
    points = one.alignment.to_aligned(one.face.landmarks)
    eyes, mouth = points[36:48].mean(0), points[[48, 54]].mean(0)
    np.testing.assert_allclose([eyes, mouth], [(128, 115), (128, 180)], atol=8)
    np.testing.assert_array_equal(one.aligned, alignment.align(data_of(found), one.face.landmarks)[0])


def data_of(found):
    """The image of a frame that has one."""
    assert found.frame.image is not None
    return found.frame.image


def test_a_video_keeps_its_faces_numbers(tmp_path, scenes):
    """Two people side by side, each with one number all along; followed faces lie near detected ones."""
    images, landmarks, _ = random_faces("synthetic_bp4d", 3)
    other = place(images[1], landmarks[1]).image
    write_video(tmp_path / "v.mp4", [np.concatenate([a, other], 1) for a in scenes], "libx264")
    found = _find(tmp_path / "v.mp4")
    assert [f.frame.number for f in found] == [1, 2, 3, 4, 5, 6]
    assert [[one.face_id for one in f.faces] for f in found] == [[0, 1]] * 6
    always = _find(tmp_path / "v.mp4", FinderOptions(detect_every=1))
    for a, b in zip(found, always, strict=True):
        boxes = [one.face.box for one in b.faces]
        for one in a.faces:
            nearest = max(range(2), key=lambda k: detection.overlap(one.face.box, boxes[k]))
            assert detection.distance(one.face.landmarks, b.faces[nearest].face.landmarks) < 0.25


def test_a_video_that_goes_on_where_it_stopped_gives_the_same(tmp_path, scenes):
    """Frames that are done are followed again, so that the others are what they were."""
    write_video(tmp_path / "v.mp4", scenes, "libx264")
    whole = _find(tmp_path / "v.mp4")
    rest = _find(tmp_path / "v.mp4", skip={0: 4})
    assert [f.frame.number for f in rest] == [5, 6]
    for a, b in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(a.faces[0].aligned, b.faces[0].aligned)
        assert a.faces[0].face.box == b.faces[0].face.box and a.faces[0].face_id == b.faces[0].face_id


def test_what_has_no_face_says_why(tmp_path):
    """In its place among the others."""
    (tmp_path / "broken.jpg").write_bytes(b"text")
    wall, tiny = empty().image, np.zeros((1, 1, 3), np.uint8)
    found = _find([wall, tmp_path / "broken.jpg", tmp_path / "nowhere.png", tiny, data.astronaut()])
    problems = [f.problem and f.problem.split(" (")[0] for f in found]
    assert problems == [
        "no face found",
        "not an image of a kind that is read here",
        "there is no such file or folder",
        "no face found",
        None,
    ]


def test_only_the_largest_face():
    """Of two people."""
    images, landmarks, _ = random_faces("synthetic_bp4d", 3)
    small, large = (place(images[k], landmarks[k], scale=s) for k, s in ((0, 0.6), (1, 0.0)))
    both = np.concatenate([small.image, large.image], 1)
    (found,) = _find(both, FinderOptions(largest=True))
    assert [one.face.landmarks[:, 0].min() > 384 for one in found.faces] == [True]
    (found,) = _find(both)
    assert [one.face_id for one in found.faces] == [0, 1] and found.faces[0].face.box[2] > found.faces[1].face.box[2]


def test_a_face_that_cannot_be_aligned_beside_others_is_said(monkeypatch):
    """The others have their rows; that one was found as well is not kept quiet."""
    good, bad = np.random.default_rng(0).uniform(100, 300, (68, 2)), np.full((68, 2), 5.0)
    faces = [detection.Face(good, (100.0, 100.0, 200.0, 200.0), 1.0), detection.Face(bad, (0.0, 0.0, 9.0, 9.0), 1.0)]
    monkeypatch.setattr(finder.dlib_detector, "load", lambda predictor: lambda image: faces)
    (found,) = _find(data.astronaut())
    assert [one.face_id for one in found.faces] == [0]
    assert found.problem == "face 1 is left out: landmarks have no extent: eyes and mouth lie in one place"


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

    found = finder.find(frames.read(sources.given(endless())), FinderOptions())
    assert [len(next(found).faces) for _ in range(3)] == [1, 1, 1]
    begin = time.perf_counter()
    found.close()
    assert time.perf_counter() - begin < 3 and not _threads()
    assert next(taken) < 30


def test_what_a_thread_raises_is_raised_where_it_is_asked():
    """With its message, after what came before, and no thread is left."""

    def breaking():
        yield empty().image
        raise RuntimeError("the cable was pulled")

    found = finder.find(frames.read(sources.given(breaking())), FinderOptions())
    with pytest.raises(RuntimeError, match="the cable was pulled"):
        list(found)
    assert not _threads()


def test_a_missing_predictor_is_said_before_anything_is_read(tmp_path):
    """Not in the middle of a run."""
    with pytest.raises(DetectorError, match=r"no predictor file .*nowhere\.dat"):
        finder.find(iter(()), FinderOptions(predictor=tmp_path / "nowhere.dat"))


def test_choices_are_described():
    """For whoever reads the results."""
    about = FinderOptions(detect_every=7, largest=True).describe()
    assert about["detect_every"] == 7 and about["faces"] == "the largest" and about["in_between"]["added_error"]
    assert FinderOptions(aligned=True).describe() == {"detector": None, "input": "aligned faces"}

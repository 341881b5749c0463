"""Detectors: what they return, and the error of dlib's landmarks."""

import numpy as np
import pytest

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, dlib_detector
from fgnet_jax.faces.detection import DetectorError, Face
from tests.miniature import empty, place


@pytest.fixture(scope="module")
def detect():
    """Return dlib's detector, with the predictor of the extra `faces`."""
    return dlib_detector.load(dlib_detector.find_predictor())


@pytest.mark.parametrize("name", ["synthetic_bp4d", "synthetic_disfa"])
def test_dlib_finds_the_rendered_landmarks(detect, name):
    """Every face, within a fifth of the distance of the inner corners of the eyes; measured: 0.13."""
    images, landmarks, _ = random_faces(name, 6)
    errors = []
    for seed, (image, points) in enumerate(zip(images, landmarks, strict=True)):
        scene = place(image, points, seed=seed)
        face = detection.largest(detect(scene.image))
        assert face is not None
        errors.append(detection.distance(face.landmarks, scene.landmarks))
        left, top, width, height = face.box
        assert left < scene.landmarks[27, 0] < left + width and top < scene.landmarks[27, 1] < top + height
    assert 0.01 < np.mean(errors) < 0.2


def test_no_face_is_found_where_there_is_none(detect):
    """In a wall."""
    assert detect(empty().image) == []


def test_the_largest_face_is_taken(detect):
    """Of two side by side."""
    images, landmarks, _ = random_faces("synthetic_bp4d", 3)
    small = place(images[0], landmarks[0], scale=0.6)
    large = place(images[1], landmarks[1])
    faces = detect(np.concatenate([small.image, large.image], 1))
    assert len(faces) == 2
    largest = detection.largest(faces)
    assert largest is not None and largest.landmarks[:, 0].min() > 384
    assert detection.largest([]) is None


def test_distance_is_a_share_of_the_eyes_distance():
    """The distance between the inner corners of the exact landmarks."""
    exact = np.zeros((68, 2))
    exact[42, 0] = 10
    assert detection.distance(exact + [3, 4], exact) == pytest.approx(0.5)


def test_landmarks_make_a_face():
    """With their bounding box; missing ones (NaN) make none."""
    points = np.arange(136.0).reshape(68, 2)
    face = detection.from_landmarks(points)
    assert isinstance(face, Face) and face.box == (0, 1, 134, 134)
    points[5, 1] = np.nan
    assert detection.from_landmarks(points) is None


def test_a_missing_predictor_is_reported(tmp_path, monkeypatch):
    """By name, with what to do; so is a file that is no predictor."""
    with pytest.raises(DetectorError, match="no predictor file .*nowhere.dat: expected dlib's shape_predictor_68"):
        dlib_detector.find_predictor(tmp_path / "nowhere.dat")
    (tmp_path / "wrong.dat").write_bytes(b"no predictor")
    with pytest.raises(DetectorError, match="wrong.dat is not a dlib shape predictor"):
        dlib_detector.load(tmp_path / "wrong.dat")
    monkeypatch.setattr(dlib_detector, "_PACKAGE", "a_package_that_is_not_here")
    with pytest.raises(DetectorError, match="pip install 'fgnet_jax\\[faces\\]', or name the file with --predictor"):
        dlib_detector.find_predictor()


def test_the_predictor_is_found_without_importing_its_package():
    """Importing it would fail: it needs pkg_resources."""
    import sys

    assert dlib_detector.find_predictor().name == dlib_detector.PREDICTOR
    assert "face_recognition_models" not in sys.modules

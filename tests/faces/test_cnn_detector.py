"""The default detector: small and turned faces, false ones, threads, and landmarks on what is turned upright."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import cnn_detector, detection, detectors, dlib_detector, yunet
from fgnet_jax.faces.detection import DETECTORS, MIN_CONFIDENCE, DetectorError, Face
from tests.miniature import empty, place


@pytest.fixture(scope="module")
def predictor():
    """Return dlib's data file."""
    return dlib_detector.find_predictor()


@pytest.fixture(scope="module")
def detect(predictor):
    """Return the default detector of whole images."""
    return detectors.load("yunet", predictor)[0]


@pytest.fixture(scope="module")
def nearby(predictor):
    """Return the default detector of a face that is expected somewhere."""
    return detectors.load("yunet", predictor)[1]


@pytest.fixture(scope="module")
def her_face(predictor):
    """Return the landmarks of the astronaut's face, as dlib detects it."""
    (face,) = dlib_detector.load(predictor)(data.astronaut())
    return face.landmarks


def _turned(image, points, degrees):
    """Turn an image by degrees, to the right, without losing a corner of it; returns its points, too."""
    turned = np.asarray(Image.fromarray(image).rotate(-degrees, Image.Resampling.BICUBIC, expand=True))
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before, after = ((np.array(each.shape[1::-1]) - 1) / 2 for each in (image, turned))
    return turned, (points - before) @ matrix.T + after


def test_the_default_detector_is_the_better_one():
    """What a table without options is made with."""
    assert DETECTORS[0] == "yunet" and MIN_CONFIDENCE.keys() == set(DETECTORS)


@pytest.mark.parametrize("degrees", [45, 90, 180, 290])
def test_faces_are_turned_upright_whatever_way_up_they_are(detect, nearby, her_face, degrees):
    """One face, and landmarks as on the upright image; dlib's detector finds none of these."""
    image, points = _turned(data.astronaut(), her_face, degrees)
    (face,) = detect(image)
    assert detection.distance(face.landmarks, points) < 0.06 and face.confidence > 0.9
    again = nearby(image, face.box)
    assert again is not None and detection.distance(again.landmarks, points) < 0.06


@pytest.mark.parametrize("name", DETECTORS)
def test_the_largest_face_is_found_without_searching_everything(predictor, name):
    """The one that a search for all faces has as its largest, of two; a small one by that search."""
    photo = data.astronaut()
    both = np.concatenate([photo, np.asarray(Image.fromarray(photo).resize((1024, 1024)))[:512]], 1)
    every, find = detectors.load(name, predictor)[0], detectors.load_largest(name, predictor)
    small = np.asarray(Image.fromarray(photo).resize((200, 200)))
    for image in (photo, both, small):
        face, expected = find(image), detection.largest(every(image))
        assert face is not None and expected is not None
        assert detection.distance(face.landmarks, expected.landmarks) < 0.05
        assert detection.overlap(face.box, expected.box) > 0.7
    assert find(np.zeros((300, 300, 3), np.uint8)) is None


def test_a_certain_face_is_not_searched_for_elsewhere(predictor, monkeypatch):
    """Nor in other sizes and orientations; one that is turned is."""
    searched = []
    monkeypatch.setattr(cnn_detector, "_detect", lambda predictor, image: searched.append(image.shape) or [])
    find = detectors.load_largest("yunet", predictor)
    assert find(data.astronaut()) is not None and not searched
    assert find(np.rot90(data.astronaut(), 2)) is None and searched == [(512, 512, 3)]


@pytest.mark.parametrize(("name", "module"), [("yunet", cnn_detector), ("dlib", dlib_detector)])
def test_what_is_hardly_a_face_hides_no_smaller_one(predictor, monkeypatch, name, module):
    """As in a search for all faces, the largest is that of those that are certain enough."""
    landmarks = np.zeros((68, 2), np.float32)
    doubtful, certain = Face(landmarks, (0, 0, 200, 200), 0.3), Face(landmarks, (0, 0, 80, 80), 0.99)
    monkeypatch.setattr(module, "_detect", lambda *arguments: [doubtful, certain])
    image = np.zeros((300, 300, 3), np.uint8)
    assert detectors.load_largest(name, predictor)(image) == certain
    assert detectors.load_largest(name, predictor, 0.0)(image) == doubtful
    assert detectors.load_largest(name, predictor, 1.0)(image) is None


@pytest.mark.parametrize("height", [24, 60, 150])
def test_small_faces_are_found(detect, height):
    """A photograph's, shrunk until her face is so high; at 24 pixels dlib's detector finds none."""
    photo = data.astronaut()
    side = round(512 * height / 120)
    image = np.zeros((max(side, 100), max(side, 200), 3), np.uint8)
    image[:side, :side] = np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS))
    (face,) = detect(image)
    left, top, width, high = np.array(face.box) * 512 / side
    assert 160 < left + width / 2 < 290 and 80 < top + high / 2 < 150


def test_landmarks_are_as_exact_as_in_dlibs_own_box(detect, predictor):
    """On rendered faces, whose landmarks are known; the box follows from five points. Measured: 0.122 against 0.131."""
    own, errors = dlib_detector.load(predictor), {"dlib": [], "yunet": []}
    for name in ("synthetic_bp4d", "synthetic_disfa"):
        for seed, (image, points) in enumerate(zip(*random_faces(name, 8)[:2], strict=True)):
            scene = place(image, points, seed=seed)
            for key, which in (("dlib", own), ("yunet", detect)):
                face = detection.largest(which(scene.image))
                assert face is not None
                errors[key].append(detection.distance(face.landmarks, scene.landmarks))
    assert np.mean(errors["yunet"]) < np.mean(errors["dlib"]) + 0.005


def test_what_is_no_face_is_none(detect, nearby):
    """A spacesuit, a cat, coins, a wall; and nowhere near a place without a face, inside or outside of the image."""
    suit = data.astronaut().copy()
    suit[40:190, 150:290] = 128
    for image in (suit, data.chelsea(), np.stack([data.coins()] * 3, -1), empty().image):
        assert detect(image) == []
    for box in ((10.0, 300.0, 80.0, 100.0), (-500.0, 40.0, 60.0, 60.0), (0.0, 0.0, 0.0, 0.0)):
        assert nearby(data.astronaut(), box) is None


def test_dlibs_spacesuit_has_no_row(predictor):
    """It scored 0.023 of its own scale: a probability below the default minimum, which can be lowered."""
    assert dlib_detector.probability(0.023) < MIN_CONFIDENCE["dlib"] < dlib_detector.probability(0.5)
    photo = data.astronaut()
    (certain,) = detectors.load("dlib", predictor)[0](photo)
    assert 0.9 < certain.confidence <= 1


@pytest.mark.parametrize("name", DETECTORS)
def test_confidence_is_a_probability_in_every_detector(predictor, monkeypatch, name):
    """From 0 to 1, higher for a clear face; what is below the minimum is left out, near a face, too."""
    photo = data.astronaut()
    every, near = detectors.load(name, predictor, 0.0)
    faces = every(photo)
    assert all(0 <= face.confidence <= 1 for face in faces)
    best = max(faces, key=lambda face: face.confidence)
    assert best.confidence > 0.95
    again = near(photo, best.box)
    assert again is not None and 0.9 < again.confidence <= 1
    for module in (dlib_detector, cnn_detector):
        monkeypatch.setattr(module, "MIDDLE", 5.0)  # so that her face is hardly one
    certain, near_certain = detectors.load(name, predictor, 0.001)
    assert certain(photo) == [] and near_certain(photo, best.box) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2000, 5)])
def test_images_of_any_shape_are_searched(detect, size):
    """Tiny and narrow ones, without a face."""
    assert detect(np.zeros((*size, 3), np.uint8)) == []


def test_threads_find_the_same_faces(detect, nearby):
    """Each has a network of its own: OpenCV's cannot be shared."""
    photo = data.astronaut()
    (face,) = detect(photo)
    with ThreadPoolExecutor(4) as pool:
        whole = list(pool.map(detect, [photo] * 8))
        near = list(pool.map(lambda box: nearby(photo, box), [face.box] * 8))
    for (other,) in whole:
        assert other.box == face.box and other.confidence == face.confidence
        np.testing.assert_array_equal(other.landmarks, face.landmarks)
    assert len({found.confidence for found in near if found}) == 1 and None not in near


def test_the_network_is_the_recorded_one(monkeypatch, tmp_path):
    """Its SHA-256, in a file of less than 8 MB with its licence beside it; a missing or broken file is named."""
    content = yunet.FILE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == yunet.SHA256 and len(content) < 8e6
    terms = yunet.FILE.with_suffix(".txt").read_text()
    assert yunet.SHA256 in terms and "MIT License" in terms
    monkeypatch.setattr(yunet, "FILE", tmp_path / "broken.onnx")
    with pytest.raises(DetectorError, match=r"no .*broken\.onnx: the installation of fgnet_jax is not complete"):
        yunet.propose(empty().image)
    yunet.FILE.write_bytes(b"no network")
    with pytest.raises(DetectorError, match=r"ONNX Runtime .* cannot read .*broken\.onnx"):
        yunet.propose(empty().image)


def test_detectors_are_described():
    """What finds faces, what its confidence means and the least one, the licence."""
    default, dlib = detectors.describe("yunet"), detectors.describe("dlib", 0.3)
    assert default["detector_sha256"] == yunet.SHA256 and "WIDER FACE" in default["detector_licence"]
    assert default["detector_run_by"] == "ONNX Runtime"  # so that no table that OpenCV began is resumed
    assert dlib["detector"] == "dlib's frontal face detector" and dlib["min_confidence"] == 0.3
    assert all(each["confidence"].startswith("probability of a face: 1 / (1 + exp((") for each in (default, dlib))

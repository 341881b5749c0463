"""The network that proposes faces: ONNX Runtime and OpenCV's own class give the same ones."""

import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from fgnet_jax.faces import yunet
from fgnet_jax.faces.detection import DetectorError


def opencv(image: np.ndarray) -> yunet.Proposals:
    """Propose faces with OpenCV's `FaceDetectorYN`, at the same thresholds."""
    network = cv2.FaceDetectorYN.create(str(yunet.FILE), "", image.shape[1::-1], yunet.LEAST_SCORE, 0.3, 1000)
    found = network.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]
    values = np.zeros((0, 15)) if found is None else np.asarray(found, np.float64)
    boxes = np.concatenate([values[:, :2] - 0.5, values[:, 2:4]], 1)
    return yunet.Proposals(boxes, values[:, 4:14].reshape(-1, 5, 2) - 0.5, values[:, 14])


@pytest.mark.parametrize("size", [(512, 512), (395, 333), (160, 160), (777, 1000)], ids=str)
@pytest.mark.parametrize("quarters", [0, 1])
def test_faces_are_those_of_opencv(size, quarters):
    """Of a photograph upright and turned, whatever its sides: the same ones in the same order, but for rounding."""
    photo = np.rot90(np.asarray(Image.fromarray(data.astronaut()).resize(size)), quarters)
    expected, found = opencv(photo), yunet.propose(photo)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.points, expected.points, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (31, 33)], ids=str)
def test_images_of_a_few_pixels(shape):
    """They show no face, and are no error."""
    assert len(yunet.propose(np.full((*shape, 3), 90, np.uint8))) == 0


def test_the_weaker_of_two_that_overlap_is_dropped():
    """Of the proposals of one search, and of several searches together."""
    photo = data.astronaut()
    once = yunet.propose(photo)
    twice = yunet.together([once, once])
    assert len(twice) == len(once)
    np.testing.assert_array_equal(twice.scores, np.sort(once.scores)[::-1])


@pytest.mark.parametrize(("module", "name"), [("onnxruntime", "ONNX Runtime"), ("cv2", "OpenCV")])
def test_what_is_not_installed_is_named(monkeypatch, module, name):
    """With how to install it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DetectorError, match=rf"{name}, which is not installed: pip install 'fgnet_jax\[faces\]'"):
        yunet.check()

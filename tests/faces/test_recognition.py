"""The recognition network, on a photograph and on rendered faces; and what a missing file means."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fgnet_jax.faces import detection, dlib_detector, recognition
from fgnet_jax.faces.detection import DetectorError
from tests.faces.people import people, scene


def _descriptor(image):
    network = recognition.find_network()
    assert network is not None
    face = detection.largest(dlib_detector.load(dlib_detector.find_predictor())(image))
    assert face is not None
    return recognition.load(network)(image, face)


def test_a_face_is_near_itself_and_far_from_another():
    """A photograph, half as large, and darker; a rendered face is somebody else."""
    photograph = data.astronaut()
    small = np.asarray(Image.fromarray(photograph).resize((256, 256), Image.Resampling.LANCZOS))
    known = _descriptor(photograph)
    assert known.shape == (128,)
    for same in (small, photograph // 2):
        assert np.linalg.norm(_descriptor(same) - known) < recognition.SAME
    assert np.linalg.norm(_descriptor(scene([(people(1)[0], 150, 90)])) - known) > recognition.OTHER


def test_a_missing_network_is_found_out_at_once(monkeypatch, tmp_path):
    """It may lie beside the predictor instead."""
    monkeypatch.setattr(recognition.dlib_detector, "installed", lambda name: None)
    predictor = tmp_path / dlib_detector.PREDICTOR
    assert recognition.is_missing() and recognition.is_missing(predictor)
    (tmp_path / recognition.NETWORK).write_bytes(b"")
    assert recognition.find_network(predictor) == tmp_path / recognition.NETWORK


def test_a_file_that_is_no_network_is_refused(tmp_path):
    """By its name."""
    (tmp_path / "network.dat").write_bytes(b"text")
    with pytest.raises(DetectorError, match=r"network\.dat is not dlib's recognition network"):
        recognition.load(tmp_path / "network.dat")

"""The fingerprint of a source: it covers whatever decides a face or a label, and nothing that differs by machine."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from fgnet_jax.faces import dlib_detector, yunet
from fgnet_jax.prepare import settings
from fgnet_jax.prepare.layouts import bp4d, disfa


@pytest.fixture
def copy(owners, tmp_path):
    """Copy DISFA's miniature with its landmarks; returns a function that gives its preparation now, by keyword."""
    root = shutil.copytree(owners["disfa"].root, tmp_path / "DISFA")
    landmarks = shutil.copytree(owners["disfa"].landmarks, tmp_path / "landmarks")

    def preparation(function=settings.preparation, partition=None, **options):
        corpus = disfa.read(root, partition=partition)
        chosen = settings.settings(corpus, landmarks=landmarks, predictor=None, aligned_landmarks=None)
        return function(corpus, dataclasses.replace(chosen, **options), {"layout": "disfa"})

    preparation.root, preparation.landmarks = root, landmarks
    return preparation


def test_landmarks_that_moved_are_another_source(copy):
    """By nine pixels, in files of the same names and sizes; an earlier version did not see it."""
    before, former = copy(), copy(settings.former_preparation)
    for path in copy.landmarks.rglob("*.npy"):
        np.save(path, np.load(path) + np.float32(9))
    assert copy()["source"] != before["source"]
    assert copy(settings.former_preparation) == former
    assert before.keys() - {"source", "recipe", "dlib"} == former.keys() - {"source", "recipe"}


def test_labels_and_folds_are_part_of_the_source(copy):
    """A single intensity, and a subject in another fold."""
    before = copy()["source"]
    partition = {"SN001": 0, "SN002": 1, "SN003": 2, "SN004": 0, "SN006": 1, "SN011": 2}
    assert copy(partition=partition)["source"] != copy(partition=partition | {"SN001": 1})["source"]
    file = copy.root / "ActionUnit_Labels/SN001/SN001_au1.txt"
    lines = file.read_text().splitlines()
    number, value = lines[3].split(",")
    lines[3] = f"{number},{(int(value) + 1) % 6}"
    file.write_text("\n".join(lines) + "\n")
    assert copy()["source"] != before


@pytest.mark.parametrize("place", [100, 0.5, -100])
def test_a_sample_of_media_is_part_of_the_source(copy, place):
    """Their beginning, middle and end; their size does not change."""
    before = copy()["source"]
    video = next((copy.root / "Videos_LeftCamera").glob("*.avi"))
    content = bytearray(video.read_bytes())
    content[int(len(content) * place) if isinstance(place, float) else place] ^= 1
    video.write_bytes(content)
    assert copy()["source"] != before


def test_samples_of_large_files_are_three_blocks(tmp_path):
    """Of a video of gigabytes, no more is read."""
    path = tmp_path / "video"
    path.write_bytes(b"a" * settings._BLOCK + b"x" * 7 * settings._BLOCK + b"b" * settings._BLOCK)
    sample = settings._sampled(path)
    assert (
        len(sample) == 3 * settings._BLOCK
        and sample[0:1] + sample[-1:] == b"ab"
        and sample.count(b"x") == len(sample) // 3
    )


def test_a_copy_at_another_time_and_place_is_the_same_source(copy, owners):
    """Neither paths nor times of files are part of it."""
    corpus = disfa.read(owners["disfa"].root)
    landmarks = owners["disfa"].landmarks
    chosen = settings.settings(corpus, landmarks=landmarks, predictor=None, aligned_landmarks=None)
    for path in copy.root.rglob("*"):
        os.utime(path, (1, 1))
    assert settings.preparation(corpus, chosen, {"layout": "disfa"}) == copy()


def test_the_detector_and_its_version_are_named(copy, monkeypatch):
    """Where one is used."""
    assert copy()["dlib"] is None and copy()["detector"] is None
    detected = copy(predictor=dlib_detector.find_predictor())
    assert detected["dlib"] == dlib_detector.version() and len(detected["detector"]) == 64
    monkeypatch.setattr(dlib_detector, "version", lambda: "19.0")
    assert copy(predictor=dlib_detector.find_predictor())["source"] != detected["source"]


def test_another_detector_is_another_source(copy):
    """Its network is recorded; with dlib's, the default, nothing is, so that datasets of before stay what they are."""
    predictor = dlib_detector.find_predictor()
    published, other = copy(predictor=predictor), copy(predictor=predictor, face_detector="yunet")
    assert published == copy(predictor=predictor, face_detector="dlib") and "face_detector" not in published
    assert other["face_detector"] == "yunet" and other["network"] == yunet.SHA256
    assert other["source"] != published["source"]
    assert copy(face_detector="yunet") == copy()  # landmarks are on disk, and no detector is used


def test_another_search_is_another_source(copy):
    """As another detector is; searched as published, nothing is recorded of it."""
    predictor = dlib_detector.find_predictor()
    published, other = copy(predictor=predictor), copy(predictor=predictor, search="largest")
    assert other["search"] == "largest" and other["source"] != published["source"] and "search" not in published
    assert copy(search="largest") == copy()  # landmarks are on disk, and nothing is searched


def test_images_are_part_of_the_source(owners, tmp_path):
    """BP4D's: one of them replaced by another of the same size."""
    root = shutil.copytree(owners["bp4d"].root, tmp_path / "BP4D")

    def source():
        corpus = bp4d.read(root)
        chosen = settings.settings(corpus, landmarks=owners["bp4d"].landmarks, predictor=None, aligned_landmarks=None)
        return settings.preparation(corpus, chosen, {})["source"]

    before = source()
    image = next(path for path in settings.media(bp4d.read(root)))
    content = bytearray(image.read_bytes())
    content[-10] ^= 1
    image.write_bytes(content)
    assert source() != before

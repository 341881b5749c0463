"""The JSON of a run: software, date, and of each input its SHA-256, its size and what the decoder found."""

import hashlib
import json
import os
import re
from importlib import metadata

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import camera, images, video
from fgnet_jax.models.config import TINY
from fgnet_jax.predict import __main__ as predict
from fgnet_jax.predict import recording
from fgnet_jax.runtime import provenance
from tests.media.test_video import write_video
from tests.predict.test_main import patient_camera


@pytest.fixture
def run(directory, tmp_path):
    """Return a function that predicts aligned inputs, and returns the table's JSON."""

    def run(*inputs, flags=(), status=0):
        words = ["--weights", directory, "--aligned", "--csv", tmp_path / "r.csv", *flags, *inputs]
        assert predict.main([str(word) for word in words]) == status
        return json.loads((tmp_path / "r.csv.json").read_text())

    return run


def image(path):
    """Write an image, and return its path."""
    Image.new("RGB", (TINY.image_size, TINY.image_size), (90, 90, 120)).save(path)
    return path


def test_the_software_and_the_date_are_recorded(run, tmp_path):
    """Versions of what decodes and finds faces, too; the commit is that of the checkout."""
    record = run(image(tmp_path / "a.png"))
    versions = record["versions"]
    for name, package in {"jax": "jax", "numpy": "numpy", "pillow": "pillow", "av": "av", "dlib": "dlib-bin"}.items():
        assert versions[name] == metadata.version(package)
    assert versions["opencv"] == metadata.version("opencv-python-headless")
    assert re.match(r"\d+\.\d+", versions["ffmpeg"]) and re.match(r"\d+\.\d+", versions["python"])
    assert record["git"] == provenance.git_state(recording.Path(recording.__file__).parent)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["time"])


def test_each_input_has_its_sum_and_size(run, tmp_path):
    """Also one that cannot be decoded, and a video; none for what is no file."""
    (tmp_path / "text.jpg").write_text("not an image")
    write_video(tmp_path / "v.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 3)
    paths = [image(tmp_path / "a.png"), tmp_path / "text.jpg", tmp_path / "absent.png", tmp_path / "v.mp4"]
    inputs = run(*paths)["inputs"]
    assert list(inputs) == [str(path) for path in paths]
    for path in paths:
        if path.name == "absent.png":
            assert inputs[str(path)] == {}
        else:
            content = path.read_bytes()
            assert inputs[str(path)]["sha256"] == hashlib.sha256(content).hexdigest()
            assert inputs[str(path)]["bytes"] == len(content)


def test_what_the_decoder_found_is_recorded(run, tmp_path, monkeypatch):
    """As of the last frame."""
    pixels = np.full((TINY.image_size, TINY.image_size, 3), 90, np.uint8)
    facts = [{"first_frame_seconds": 0.8}, {"first_frame_seconds": 0.8, "discontinuities": 1}]
    frames = [video.VideoFrame(k + 1, k / 10, pixels, facts=fact) for k, fact in enumerate(facts)]
    monkeypatch.setattr(camera, "frames", patient_camera(tmp_path / "r.csv", frames))
    record = run(flags=("--webcam", "0"))
    assert record["inputs"] == {"webcam 0": facts[-1]} and record["frame_rates"] == {"webcam 0": 10.0}
    assert record["arguments"]["webcam"] == 0


def test_a_cameras_password_is_not_recorded(run, tmp_path, monkeypatch):
    """Nor is it in the table."""
    pixels = np.full((TINY.image_size, TINY.image_size, 3), 90, np.uint8)
    monkeypatch.setattr(camera, "frames", patient_camera(tmp_path / "r.csv", [video.VideoFrame(1, 0.0, pixels)]))
    record = run(flags=("--webcam", "rtsp://anna:secret@host/x"))
    assert record["arguments"]["webcam"] == "rtsp://host/x"
    assert not any("secret" in path.read_text() for path in tmp_path.iterdir())


def test_reading_inputs_again_does_not_delay_the_first_row(run, tmp_path, monkeypatch):
    """Sums are computed after an input was read, each once."""
    order = []
    read, total = images.load, recording.FileHasher.add
    monkeypatch.setattr(images, "load", lambda path: order.append(("read", path)) or read(path))
    monkeypatch.setattr(
        recording.FileHasher, "add", lambda self, path: order.append(("sum", path)) or total(self, path)
    )
    paths = [str(image(tmp_path / name)) for name in ("a.png", "b.png")]
    run(*paths, paths[0])
    for path in paths:
        assert order.index(("read", path)) < order.index(("sum", path))


def test_ten_thousand_inputs_are_written_once(run, tmp_path, monkeypatch):
    """At the beginning and at the end: not with each."""
    path, written = image(tmp_path / "a.png"), []
    write = recording.RecordFiles.write
    monkeypatch.setattr(
        recording.RecordFiles,
        "write",
        lambda self, record, **options: written.append(1) or write(self, record, **options),
    )
    links = [tmp_path / f"{k}.png" for k in range(50)]
    for link in links:
        os.link(path, link)
    assert len(run(*links)["inputs"]) == 50 and len(written) == 2

"""Identities on the way from frames to rows: what is refused, what a resumed run reads again, what is not smoothed."""

import numpy as np
import pytest
from PIL import Image

from fgnet_jax.faces import alignment, detection, recognition
from fgnet_jax.faces.finder import DetectedFace, DetectedFrame
from fgnet_jax.media import sources
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import __main__ as command
from fgnet_jax.predict import pipeline, request
from fgnet_jax.predict.batching import ResumePoint
from fgnet_jax.predict.pipeline import FrameResult, PredictOptions
from fgnet_jax.predict.smoothing import Smoothing
from tests.miniature import empty, write_video


@pytest.fixture
def image(tmp_path):
    """Write an image, and return its path."""
    Image.fromarray(empty().image).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def video(tmp_path):
    """Write a video of four frames, and return its path."""
    write_video(tmp_path / "v.mp4", [empty().image] * 4, "libx264")
    return tmp_path / "v.mp4"


def _checked(*words):
    return request.checked(command.parser().parse_args(["--weights", "weights", *map(str, words)]))


@pytest.fixture
def no_network(monkeypatch):
    """Take the recognition network away."""
    monkeypatch.setattr(recognition, "find_network", lambda predictor=None: None)


def test_identities_are_refused_where_people_cannot_be_told_apart(image, no_network):
    """In words, before anything is read."""
    with pytest.raises(request.RequestError, match=r"--identities needs the recognition network: no dlib_.*\.dat"):
        _checked("--identities", image)


def test_identities_are_refused_for_aligned_faces(image):
    """From Python, too."""
    with pytest.raises(request.RequestError, match="--identities .* does not apply to --aligned"):
        _checked("--aligned", "--identities", image)
    with pytest.raises(ValueError, match="identities need whole images"):
        PredictOptions(aligned=True, identities=True)


def test_videos_without_the_recognition_network_are_reported(image, video, no_network, capfd):
    """Once; images, whose faces are not tracked, are not."""
    assert not _checked(image).options.identities
    assert recognition.MISSING not in capfd.readouterr().err
    _checked(video, video)
    assert capfd.readouterr().err.count(recognition.MISSING) == 1


def test_a_resumed_run_reads_again_what_gives_people_their_numbers(image, video):
    """Of a video its frames before; with identities, all inputs before it, too."""
    inputs = sources.find([str(image), str(video), str(image)])
    point = ResumePoint(source=1, done=3)
    plain = pipeline.read_frames(inputs, PredictOptions(), point)
    numbers = [(frame.index, frame.number, frame.is_done) for frame in plain]
    assert numbers == [(1, 1, True), (1, 2, True), (1, 3, True), (1, 4, False), (2, 1, False)]
    again = pipeline.read_frames(inputs, PredictOptions(identities=True), point)
    assert [(frame.index, frame.number, frame.is_done) for frame in again] == [(0, 1, True), *numbers]


def test_a_resumed_run_with_identities_needs_the_files_before(directory, image, capfd):
    """Without the faces that were in them, people would get other numbers."""
    other = image.with_name("b.png")
    Image.fromarray(empty(seed=1).image).save(other)
    words = ["--weights", directory, "--identities", "--csv", image.with_name("r.csv")]
    assert command.main([*map(str, words), str(image)]) == 1  # no face in it
    image.unlink()
    assert command.main([*map(str, words), "--resume", str(image), str(other)]) == 2
    assert "a.png is gone, and with --identities its faces are needed" in capfd.readouterr().err


def _result(number, start, score):
    """Return a frame of a video with one face, tracked since `start`."""
    frame = Frame(source=Source("v.mp4", "video"), index=0, number=number, seconds=number / 25, image=None)
    points = np.zeros((68, 2), np.float32)
    face = DetectedFace(
        face=detection.Face(points, (0.0, 0.0, 9.0, 9.0), 1.0),
        face_id=0,
        aligned=np.zeros((8, 8, 3), np.uint8),
        alignment=alignment.identity(8, 8),
        start=start,
    )
    return FrameResult(DetectedFrame(frame, (face,)), np.full((1, 1), score, np.float32), None)


def test_scores_are_smoothed_only_while_a_face_is_tracked_without_a_gap():
    """Not from before a cut to after it, though the face has the same number."""
    results = [_result(1, 1, 0.0), _result(2, 1, 1.0), _result(3, 3, 0.5), _result(4, 3, 0.5)]
    smoothed = [float(r.scores[0, 0]) for r in pipeline.smoothed(iter(results), Smoothing(1.0))]
    assert 0 < smoothed[0] < smoothed[1] < 1 and smoothed[2:] == [0.5, 0.5]

"""Cameras: what they are named by, and frames at their own pace, of devices as of files that pose as cameras."""

import itertools

import numpy as np
import pytest

from fgnet_jax.media import camera, video
from tests.media.test_frames import _grey
from tests.miniature import write_video


class Clock:
    """A clock that moves when somebody sleeps, and a little whenever it is read."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def monotonic(self):
        """Return the time."""
        return self.now

    def sleep(self, seconds):
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """Return the clock that cameras go by."""
    clock = Clock()
    monkeypatch.setattr(camera, "time", clock)
    return clock


def test_a_camera_is_named_by_number_device_address_graph_or_file(tmp_path):
    """A number is one; all else stays as it was written."""
    (tmp_path / "clip.mp4").touch()
    assert camera.parse("2") == 2
    for text in ("rtsp://host/stream", "http://host:8080/video", "lavfi:testsrc", str(tmp_path / "clip.mp4")):
        assert camera.parse(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("front", "must be a camera's number, from 0, its device such as /dev/video2, .* got 'front'"),
        ("-1", "must be a camera's number, from 0"),
        ("lavfi:", "or lavfi:GRAPH, FFmpeg's test input; got 'lavfi:'"),
        ("gone.mp4", "a video file that is played at its own pace, .* got 'gone.mp4'"),
        ("/dev/video93", "there is no device /dev/video93"),
    ],
)
def test_what_names_no_camera_is_refused_in_a_line(text, message):
    """With what would."""
    with pytest.raises(ValueError, match=message):
        camera.parse(text)


def test_a_password_is_in_no_name():
    """Results are given to others, and have the name of their input."""
    assert camera.name("rtsp://anna:secret@10.0.0.7/stream?x=1") == "rtsp://10.0.0.7/stream?x=1"
    assert camera.name("rtsp://anna:s3cr@t@10.0.0.7/stream@1") == "rtsp://10.0.0.7/stream@1"
    assert camera.name(0) == "0"


def test_a_file_is_played_at_its_own_pace(tmp_path, clock):
    """Each frame comes at its time in the file, which it keeps; a reader that is late waits no longer."""
    write_video(tmp_path / "v.avi", _grey(4))
    frames = camera.frames(str(tmp_path / "v.avi"))
    first = next(frames)
    clock.now += 0.12  # the second and third frame are late then
    rest = list(frames)
    assert [frame.number for frame in (first, *rest)] == [1, 2, 3, 4]
    np.testing.assert_allclose([frame.seconds for frame in (first, *rest)], [0, 0.05, 0.1, 0.15])
    np.testing.assert_allclose([frame.captured or np.nan for frame in (first, *rest)], [100, 100.12, 100.12, 100.15])
    np.testing.assert_allclose(clock.slept, [0, 0, 0, 0.03])


def test_ffmpegs_test_input_poses_as_a_camera(clock):
    """Endless, at the rate that its graph names."""
    frames = list(itertools.islice(camera.frames("lavfi:testsrc=size=64x48:rate=10"), 3))
    assert [frame.number for frame in frames] == [1, 2, 3]
    np.testing.assert_allclose([frame.seconds for frame in frames], [0, 0.1, 0.2])
    np.testing.assert_allclose([frame.captured or np.nan for frame in frames], [100, 100.1, 100.2])
    assert {frame.image.shape for frame in frames if frame.image is not None} == {(48, 64, 3)}


def test_a_graph_that_is_none_is_reported():
    """In FFmpeg's words."""
    with pytest.raises(video.VideoError, match="lavfi:nonsense=1 cannot be read: "):
        next(camera.frames("lavfi:nonsense=1"))


@pytest.fixture
def device(monkeypatch):
    """Stand in for OpenCV's capture: a device that gives three images and then no more; returns what was called."""
    cv2 = pytest.importorskip("cv2")
    calls = []

    class Capture:
        def __init__(self, device):
            calls.append(device)
            self.images = iter(_grey(3))

        def isOpened(self):  # noqa: N802 - OpenCV's name
            return True

        def set(self, *values):
            return False

        def read(self):
            image = next(self.images, None)
            return (False, None) if image is None else (True, image)

        def release(self):
            calls.append("released")

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return calls


def test_a_device_counts_its_frames_and_times_from_the_first(device, clock):
    """When it stops, that is said, and it is released."""
    frames, read = camera.frames("/dev/video7"), []
    with pytest.raises(video.VideoError, match="camera /dev/video7 gave 3 frames and then no more"):
        for frame in frames:
            read.append((frame.number, frame.seconds, frame.captured))
            clock.now += 0.5
    assert read == [(1, 0.0, 100.0), (2, 0.5, 100.5), (3, 1.0, 101.0)]
    assert device == [7, "released"]

"""Frames: in order, with true times; a broken source has a frame that says so, and stops nothing."""

import struct
from fractions import Fraction
from typing import cast

import av
import numpy as np
import pytest
from PIL import Image

from fgnet_jax.media import camera, frames, sources, video
from tests.miniature import write_video


def _grey(count=12):
    return [np.full((48, 64, 3), 20 * k + 10, np.uint8) for k in range(count)]


def _read(*words, **options):
    return list(frames.read(sources.find([str(word) for word in words]), **options))


def test_frames_come_in_the_order_of_the_sources(tmp_path):
    """Images without times, videos with them, and what is missing in its place."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    write_video(tmp_path / "v.avi", _grey(3))
    results = _read(tmp_path / "v.avi", "nowhere.png", tmp_path / "a.png")
    assert [(f.index, f.number, f.seconds, f.total) for f in results] == [
        (0, 1, 0.0, 3),
        (0, 2, 0.05, 3),
        (0, 3, 0.1, 3),
        (1, 1, None, 1),
        (2, 1, None, 1),
    ]
    assert [f.image is None for f in results] == [False, False, False, True, False]
    assert results[3].problem == "there is no such file or folder"


def test_every_fifth_frame_and_frames_that_are_done(tmp_path):
    """Images that are done are not read; a video's frames are, as are those in between, and say so."""
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    write_video(tmp_path / "v.avi", _grey())
    results = _read(tmp_path / "a.png", tmp_path / "v.avi", every=5, skip={0: 1, 1: 6})
    assert [(f.index, f.number) for f in results] == [(1, number) for number in range(1, 13)]
    assert [f.number for f in results if not f.is_done] == [11]


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_video_is_read_upright(tmp_path, turn):
    """By the display matrix, as a phone writes it: degrees clockwise to be turned by."""
    path = tmp_path / "v.mp4"
    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :32] = 250  # light at the top left
    write_video(path, [np.ascontiguousarray(np.rot90(upright, turn // 90))] * 3, "libx264")
    content = bytearray(path.read_bytes())
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", *(65536 * v for v in (cos, sin, 0, -sin, cos, 0, 0, 0)), 1 << 30)
    path.write_bytes(content)
    image = _read(path)[0].image
    assert image is not None and image.shape == (48, 64, 3)
    np.testing.assert_allclose(image[8:40:16, 8:64:16, 0] > 128, upright[8:40:16, 8:64:16, 0] > 128)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_times_are_those_of_the_file(tmp_path, suffix):
    """A variable frame rate: neither evened out nor computed from the mean rate."""
    path, times = tmp_path / f"v.{suffix}", [0, 40, 80, 500, 510, 1730]
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream("libx264", rate=25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for milliseconds, image in zip(times, _grey(), strict=False):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    results = _read(path)
    np.testing.assert_allclose(np.array([f.seconds for f in results], float), np.array(times) / 1000, atol=1.1e-3)


def test_damaged_frames_among_every_fifth_frame(tmp_path):
    """Damage between the frames that are read is not reported."""
    path = tmp_path / "v.avi"
    write_video(path, _grey())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for packet in packets[5:8]:  # frames 6 to 8
        content[packet.pos or 0 : (packet.pos or 0) + packet.size] = bytes(packet.size)
    path.write_bytes(content)
    assert [f.number for f in _read(path) if f.image is None] == [6, 7, 8]
    fifths = [(f.number, f.image is None) for f in _read(path, every=5) if not f.is_done]
    assert fifths == [(1, False), (6, True), (11, False)]


def _noise(count=60):
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (48, 64, 3), np.uint8)
    return [np.roll(base, k, 1) for k in range(count)]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_video_cut_off_in_the_middle_says_where(tmp_path, suffix):
    """Intact frames, then one that says what happened, then the next source."""
    path = tmp_path / f"v.{suffix}"
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = cast(av.VideoStream, container.add_stream("libx264", rate=20))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in _noise():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *results, last, after = _read(path, "nowhere.png")
    assert last.problem and len(results) > 5 and [f.number for f in results] == list(range(1, len(results) + 1))
    assert results[0].image is not None and results[0].total == 60
    assert last.image is None and last.number == len(results) + 1
    assert last.problem and last.problem.startswith("cut off at ") and last.problem.endswith("of 3.0 seconds")
    assert after.index == 1


def test_damage_ends_at_the_next_key_frame(tmp_path):
    """Frames in between are damaged, and all keep their numbers."""
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream("libx264", rate=20))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "10", "sc_threshold": "0"}
        for image in _noise(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    intact = list(video.read(path))
    with av.open(str(path)) as container:
        times = {(p.pts or 0) * (p.time_base or 0): p for p in container.demux(video=0) if p.size}
        packet = times[Fraction(13, 20)]
        where = slice(packet.pos, (packet.pos or 0) + packet.size)
    content = bytearray(path.read_bytes())
    content[where] = bytes(packet.size)
    path.write_bytes(content)
    results = _read(path)
    damaged = [f.number for f in results if f.image is None]
    assert len(results) == 40 and 14 in damaged and set(damaged) <= set(range(8, 21)) and damaged
    assert {f.problem for f in results} == {None, "a damaged frame"}
    for before, now in zip(intact, results, strict=True):
        assert now.seconds == pytest.approx(before.seconds, abs=1e-6)
        if now.image is not None and now.number > 20:
            np.testing.assert_array_equal(now.image, before.image)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.mp4", b"", "cannot be read as video: the file is empty"),
        ("a.mp4", b"text" * 100, "cannot be read as video: Invalid data found"),
        ("a.jpg", b"", "the file is empty"),
        ("a.jpg", b"text", "not an image in a supported format"),
    ],
)
def test_broken_files_have_one_frame_that_says_so(tmp_path, name, content, problem):
    """Empty files, and text that is named like a video or an image."""
    (tmp_path / name).write_bytes(content)
    (frame,) = _read(tmp_path / name)
    assert frame.image is None and frame.problem and frame.problem.startswith(problem) and frame.number == 1


@pytest.mark.parametrize(("name", "is_any"), [("a.y5m", True), ("a", True), ("a.png", False)])
def test_a_file_of_any_name_was_to_be_an_image_or_a_video(tmp_path, name, is_any):
    """The reason names both."""
    (tmp_path / name).write_bytes(b"any bytes" * 9)
    (frame,) = _read(tmp_path / name)
    assert frame.problem and frame.problem.startswith("not an image in a supported format (JPEG, ")
    assert frame.problem.endswith("), nor a video in one") == is_any


def test_a_file_poses_as_a_camera(tmp_path):
    """Frames come at its own pace, each with the time when it came; its end is no problem."""
    write_video(tmp_path / "v.avi", _grey(3))
    results = list(frames.read([sources.webcam(str(tmp_path / "v.avi"))]))
    assert [round((float(f.image.mean()) - 10) / 20) for f in results if f.image is not None] == [0, 1, 2]
    assert [(f.number, f.seconds, f.problem, f.total) for f in results] == [
        (1, 0.0, None, None),
        (2, 0.05, None, None),
        (3, 0.1, None, None),
    ]
    captured = [f.captured for f in results if f.captured is not None]
    assert captured == sorted(captured) and captured[-1] - captured[0] > 0.09


def test_a_camera_that_stops_has_a_last_frame_that_says_so(monkeypatch):
    """After those that it gave."""

    def stopping(device):
        yield video.VideoFrame(1, 0.0, _grey(1)[0], captured=5.0)
        raise video.VideoError(f"camera {device} gave 1 frames and then no more")

    monkeypatch.setattr(camera, "frames", stopping)
    first, last = frames.read([sources.webcam(3)])
    assert first.captured == 5.0 and last.image is None and last.number == 2
    assert last.problem == "camera 3 gave 1 frames and then no more"


def test_a_missing_camera_is_reported():
    """With its number."""
    (frame,) = frames.read([sources.webcam(97)])
    assert frame.problem == "camera 97 cannot be opened"

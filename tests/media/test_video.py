"""Video: every frame in its place, also beside damaged ones; only video is opened."""

import numpy as np
import pytest

from fgnet_jax.media import video
from tests.miniature import write_video


def _grey(count=12, size=(64, 48)):
    """Frame k is grey, and the lighter the larger k."""
    return [np.full((size[1], size[0], 3), 20 * k + 10, np.uint8) for k in range(count)]


def _numbers(frames):
    """Which of `_grey`'s frames these are."""
    return [None if f.image is None else round((float(f.image.mean()) - 10) / 20) + 1 for f in frames]


@pytest.mark.parametrize(("codec", "suffix"), [("mjpeg", ".avi"), ("mpeg4", ".avi"), ("libx264", ".mp4")])
def test_frames_come_in_the_order_of_showing(tmp_path, codec, suffix):
    """All of them, numbered from 1, with their times; also where frames are coded out of order."""
    path = tmp_path / f"video{suffix}"
    write_video(path, _grey(), codec)
    frames = list(video.read(path))
    assert [f.number for f in frames] == _numbers(frames) == list(range(1, 13))
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(12) / 20, atol=1e-6)
    assert all(f.image is not None and f.image.shape == (48, 64, 3) for f in frames)
    assert _numbers(video.read(path, start=9)) == [9, 10, 11, 12]


def test_a_damaged_frame_keeps_its_place(tmp_path):
    """Those after it keep their numbers."""
    path = tmp_path / "video.avi"
    write_video(path, _grey())
    data = bytearray(path.read_bytes())
    chunks = [k for k in range(len(data)) if data[k : k + 4] == b"00dc" and data[k + 8 : k + 10] == b"\xff\xd8"]
    length = int.from_bytes(data[chunks[4] + 4 : chunks[4] + 8], "little")
    data[chunks[4] + 8 : chunks[4] + 8 + length] = bytes(length)
    path.write_bytes(data)
    frames = list(video.read(path))
    assert _numbers(frames) == [1, 2, 3, 4, None, 6, 7, 8, 9, 10, 11, 12]
    assert [f.number for f in frames] == list(range(1, 13))


def test_a_video_that_was_cut_off_gives_what_is_whole(tmp_path):
    """The frame that was cut through is not taken for an image."""
    path = tmp_path / "video.avi"
    noise = [np.random.default_rng(k).integers(0, 255, (48, 64, 3), np.uint8) for k in range(6)]
    write_video(path, noise)
    whole = list(video.read(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = list(video.read(path))
    assert 1 <= len(cut) < 6 and cut[-1].image is None
    for a, b in zip(cut[:-1], whole, strict=False):
        np.testing.assert_array_equal(a.image, b.image)


def test_a_damaged_video_that_cannot_be_counted_stops(tmp_path):
    """Where frames are coded by their neighbours, those after the damage are not known; those before are given."""
    path = tmp_path / "video.mp4"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)], "libx264")
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 4000)
    data[middle] = b"\xff" * 4000
    path.write_bytes(data)
    seen = []
    try:
        seen += list(video.read(path))
    except video.VideoError as error:
        assert "damaged after frame" in str(error)
        return
    assert any(frame.image is None for frame in seen), "damage must not pass unseen"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as video"),
        (b"no video" * 500, "cannot be read as video"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "cannot be read as video"),
        (None, "No such file"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, content, message):
    """Playlists, which name other files, among it."""
    path = tmp_path / "video.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(video.VideoError, match=message):
        list(video.read(path))


def test_frames_that_are_too_large_are_refused(tmp_path, monkeypatch):
    """By what the file says, before one is decoded."""
    path = tmp_path / "video.avi"
    write_video(path, _grey(2))
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    with pytest.raises(video.VideoError, match="64x48 are larger than 1,000 pixels"):
        next(video.read(path))

"""Reading video: every frame has its number, also beside damaged ones; nothing but video is opened."""

import av
import numpy as np
import pytest

from fgnet_jax.media import display, video
from tests.media import numbered
from tests.miniature import write_video


def _grey(count=12, size=(64, 48)):
    """Make grey frames, each lighter than the one before."""
    return [np.full((size[1], size[0], 3), 20 * k + 10, np.uint8) for k in range(count)]


def _numbers(frames):
    """Return which of `_grey`'s frames these are, from 1."""
    return [None if f.image is None else round((float(f.image.mean()) - 10) / 20) + 1 for f in frames]


@pytest.mark.parametrize(("codec", "suffix"), [("mjpeg", ".avi"), ("mpeg4", ".avi"), ("libx264", ".mp4")])
def test_frames_are_in_display_order(tmp_path, codec, suffix):
    """All of them, numbered from 1, with their times; also where frames are coded out of order."""
    path = tmp_path / f"video{suffix}"
    write_video(path, _grey(), codec)
    frames = list(video.read(path))
    assert [f.number for f in frames] == _numbers(frames) == list(range(1, 13))
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(12) / 20, atol=1e-6)
    assert all(f.image is not None and f.image.shape == (48, 64, 3) for f in frames)
    assert _numbers(video.read(path, start=9)) == [9, 10, 11, 12]


@pytest.mark.parametrize(("codec", "name"), [("mjpeg", "video.mjpeg"), ("mjpeg", "video.mjpg"), ("rawvideo", "a.y4m")])
def test_streams_of_images_are_videos(tmp_path, codec, name):
    """JPEGs one after the other, without a container, and images without compression."""
    numbered.write(tmp_path / name, codec)
    frames = list(video.read(tmp_path / name))
    assert [numbered.read_number(_image(f)) for f in frames] == [f.number for f in frames] == list(range(1, 61))


def test_a_damaged_frame_keeps_its_number(tmp_path):
    """So do those after it."""
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


def test_a_video_that_was_cut_off_gives_its_intact_frames(tmp_path):
    """The frame in which it was cut has no image."""
    path = tmp_path / "video.avi"
    noise = [np.random.default_rng(k).integers(0, 255, (48, 64, 3), np.uint8) for k in range(6)]
    write_video(path, noise)
    intact = list(video.read(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    truncated = list(video.read(path))
    assert 1 <= len(truncated) < 6 and truncated[-1].image is None
    for a, b in zip(truncated[:-1], intact, strict=False):
        np.testing.assert_array_equal(a.image, b.image)


def test_a_damaged_video_stops_where_frames_cannot_be_counted(tmp_path):
    """Where frames depend on each other, those after the damage are unknown; those before are read."""
    path = tmp_path / "video.mp4"
    rng = np.random.default_rng(0)
    write_video(path, [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)], "libx264")
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 4000)
    data[middle] = b"\xff" * 4000
    path.write_bytes(data)
    frames = []
    try:
        frames += list(video.read(path))
    except video.VideoError as error:
        assert "damaged after frame" in str(error)
        return
    assert any(frame.image is None for frame in frames), "damage must be reported"


CODINGS = [
    ("mpeg4", ".avi", 0),
    ("mpeg4", ".avi", 2),
    ("libx264", ".avi", 0),
    ("libx264", ".avi", 2),
    ("libx264", ".mp4", 2),
    ("libx264", ".mkv", 2),
    ("libx264", ".ts", 2),
    ("mpeg2video", ".mpg", 0),
]


@pytest.mark.parametrize(("codec", "suffix", "max_b_frames"), CODINGS)
def test_frames_after_damage_have_their_own_numbers_or_say_that_they_may_not(tmp_path, codec, suffix, max_b_frames):
    """Also where the file's reader leaves frames out in silence, and where the decoder repeats or mixes others."""
    intact = tmp_path / f"intact{suffix}"
    numbered.write(intact, codec, max_b_frames=max_b_frames)
    frames = list(video.read(intact))
    assert [numbered.read_number(_image(f)) for f in frames] == [f.number for f in frames] == list(range(1, 61))
    assert all(frame.is_certain for frame in frames)
    stored = left_out = 0
    for seed in range(24):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(intact.read_bytes())
        numbered.damage(path, seed)
        for frame in video.read(path):
            if frame.image is not None and frame.is_certain:
                number = numbered.read_number(frame.image)
                assert number in (frame.number, None), (seed, frame.number, number)
                stored += number is not None
            else:
                left_out += 1
    assert stored > 480 and left_out > 100


def test_a_frame_that_the_decoder_leaves_out_in_silence_keeps_its_number(tmp_path):
    """A bit of MPEG-4 says that a frame is not coded: here, that of a frame with content, between two others."""
    path = tmp_path / "video.mkv"
    numbered.write(path, "mpeg4", max_b_frames=2)
    with av.open(str(path)) as container:
        (packet,) = [p for p in container.demux(video=0) if p.pts is not None and round(p.pts * 30 / 1000) == 26]
        place = path.read_bytes().index(bytes(packet))
    bits = "".join(f"{byte:08b}" for byte in bytes(packet)[4:8])
    coded = bits.index("0", 2) + 1 + 1 + 5 + 1  # after type, seconds, marker, 30 ticks a second, marker
    assert bytes(packet)[:4] == b"\0\0\1\xb6" and bits[coded] == "1"
    content = bytearray(path.read_bytes())
    content[place + 4 + coded // 8] ^= 0x80 >> coded % 8
    path.write_bytes(content)
    frames = list(video.read(path))
    assert [f.number for f in frames if f.image is None] == [27] and all(f.is_certain for f in frames)
    assert [numbered.read_number(_image(f)) for f in frames if f.number != 27] == [*range(1, 27), *range(28, 61)]


def test_an_index_tells_the_numbers_after_lost_frames(tmp_path):
    """In an AVI whose chunk headers are overwritten: three frames are lost, the last ones have their own numbers."""
    path = tmp_path / "video.avi"
    numbered.write(path, "mpeg4")
    content = bytearray(path.read_bytes())
    headers = [k for k in range(4000, len(content) - 2000) if content[k : k + 4] == b"00dc"]
    content[headers[26] : headers[29]] = bytes(headers[29] - headers[26])
    path.write_bytes(content)
    frames = list(video.read(path))
    assert [f.number for f in frames] == list(range(1, 61)) and all(f.is_certain for f in frames)
    shown = [f.number for f in frames if f.image is not None]
    assert shown == [*range(1, 27), *range(37, 61)], "those in between depend on the lost ones"
    assert [numbered.read_number(_image(f)) for f in frames if f.image is not None] == shown


def _image(frame):
    """Return the image of a frame that has one."""
    assert frame.image is not None
    return frame.image


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as video"),
        (b"no video" * 500, "cannot be read as video"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "cannot be read as video"),
        (None, "No such file"),
    ],
)
def test_files_that_are_no_video_are_refused(tmp_path, content, message):
    """Among them playlists, which name other files."""
    path = tmp_path / "video.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(video.VideoError, match=message):
        list(video.read(path))


def test_frames_that_are_too_large_are_refused(tmp_path, monkeypatch):
    """By the file's header, before one is decoded."""
    path = tmp_path / "video.avi"
    write_video(path, _grey(2))
    monkeypatch.setattr(display, "MAX_PIXELS", 1000)
    with pytest.raises(video.VideoError, match="64x48 are larger than 1,000 pixels"):
        next(video.read(path))


def test_a_path_of_a_subclass_of_str_is_read(tmp_path):
    """As Gradio has them: PyAV 19 takes none."""

    class Name(str):
        __slots__ = ()

    write_video(tmp_path / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2)
    assert len(list(video.read(Name(tmp_path / "clip.mp4")))) == 2

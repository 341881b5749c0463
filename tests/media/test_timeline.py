"""When frames are shown: media time, whatever the container's clock does, and counted where it has none."""

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fgnet_jax.media import video, video_writer
from fgnet_jax.media.video import VideoFrame
from tests.media import numbered

RATE = 16000


def write(
    path: Path, codec: str = "libx264", *, begin: int = 0, seconds: int = 3, late: int = 0, quiet: range = range(0)
) -> Path:
    """Write a video with sound, 25 numbered frames a second.

    Args:
      path: The file.
      codec: Of the frames, which are stored out of their order.
      begin: The second at which the sound begins.
      seconds: Of the sound.
      late: Number of frames by which the pictures begin later than the sound.
      quiet: Seconds in which there is no sound.
    """
    with av.open(str(path), "w") as container:
        stream, sound = container.add_stream(codec, rate=25), container.add_stream("mp2", rate=RATE)
        assert isinstance(stream, av.VideoStream) and isinstance(sound, av.AudioStream)
        stream.height, stream.width, _ = numbered.draw(1).shape
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        stream.codec_context.max_b_frames, sound.layout = 2, "mono"
        for k in range(25 * seconds):
            samples = av.AudioFrame.from_ndarray(np.full((1, RATE // 25), 999, np.int16), format="s16", layout="mono")
            samples.sample_rate, samples.pts = RATE, (25 * begin + k) * RATE // 25
            samples.time_base = Fraction(1, RATE)
            if k // 25 not in quiet:
                container.mux(sound.encode(samples))
            if k >= late:
                image = av.VideoFrame.from_ndarray(numbered.draw(k - late + 1), format="rgb24")
                image.pts, image.time_base = 25 * begin + k, Fraction(1, 25)
                container.mux(stream.encode(image))
        container.mux(stream.encode())
        container.mux(sound.encode())
    return path


def times(frames: Sequence[VideoFrame]) -> list[float]:
    """Return the times of frames, in seconds."""
    return [frame.seconds for frame in frames]


def facts(frames: Sequence[VideoFrame]) -> dict:
    """Return what is known at the last frame."""
    last = frames[-1].facts
    assert last is not None
    return dict(last)


def shown(frames: Sequence[VideoFrame]) -> list[int | None]:
    """Return the numbers that frames show."""
    return [None if frame.image is None else numbered.read_number(frame.image) for frame in frames]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_times_of_avi_whose_frames_are_stored_out_of_order_are_put_in_order(tmp_path, codec):
    """That in which they are shown, from 0 on; the facts say so."""
    numbered.write(tmp_path / "video.avi", codec, max_b_frames=2)
    frames = list(video.read(tmp_path / "video.avi"))
    assert shown(frames) == list(range(1, 61)) and all(frame.is_certain for frame in frames)
    np.testing.assert_allclose(times(frames), np.arange(60) / 30, atol=1e-6)
    assert facts(frames)["times"] == "those at which frames are stored, put in order: AVI has no others"


def write_with_pauses(path: Path, codec: str, max_b_frames: int = 0) -> list[int]:
    """Write 60 numbered frames, five left out after every seventh; returns their places, at 25 a second."""
    places = [k + k // 7 * 5 for k in range(60)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = numbered.draw(1).shape
        stream.pix_fmt, stream.bit_rate = "yuvj420p" if codec == "mjpeg" else "yuv420p", 2_000_000
        stream.codec_context.gop_size = 12
        if codec != "mjpeg":
            stream.codec_context.max_b_frames = max_b_frames
        for number, place in enumerate(places, start=1):
            image = av.VideoFrame.from_ndarray(numbered.draw(number), format="rgb24")
            image.pts, image.time_base = place, Fraction(1, 25)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return places


@pytest.mark.parametrize("max_b_frames", [0, 2])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
def test_frames_of_avi_are_shown_where_they_are_stored(tmp_path, codec, max_b_frames):
    """Also around pauses, in which a camera dropped frames: the file has empty ones there, and its index lists them."""
    places = write_with_pauses(tmp_path / "video.avi", codec, max_b_frames)
    frames = list(video.read(tmp_path / "video.avi"))
    assert shown(frames) == list(range(1, 61)) and all(frame.is_certain for frame in frames)
    assert times(frames)[0] == 0
    if max_b_frames == 0 or codec == "mjpeg":
        np.testing.assert_allclose(times(frames), np.array(places) / 25, atol=1e-6)
        assert facts(frames)["times"] == "container"
    else:  # frames are stored earlier than they are shown
        assert facts(frames)["times"].startswith("those at which frames are stored, put in order")
        assert (np.diff(times(frames)) > 0.03).all() and times(frames)[-1] > 3.5


@pytest.mark.parametrize("seed", range(12))
def test_an_index_with_pauses_that_is_damaged_gives_no_wrong_numbers(tmp_path, seed):
    """Neither where a pause seems to be a frame, nor where a frame seems to be a pause."""
    path, chance = tmp_path / "video.avi", random.Random(seed)
    write_with_pauses(path, "mpeg4")
    content = bytearray(path.read_bytes())
    index = content.rindex(b"idx1") + 8
    entries = range(index, len(content), 16)
    sizes = [int.from_bytes(content[entry + 12 : entry + 16], "little") for entry in entries]
    damaged = chance.choice([entry for entry, size in zip(entries, sizes, strict=True) if (size == 0) == seed % 2])
    content[damaged + 12 : damaged + 16] = (500 * (seed % 2)).to_bytes(4, "little")
    path.write_bytes(content)
    frames = list(video.read(path))
    assert sum(frame.image is not None for frame in frames) > 40
    numbers = zip(frames, shown(frames), strict=True)
    assert all(number in (frame.number, None) for frame, number in numbers if frame.is_certain)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "h264"), ("mpeg2video", "m2v"), ("mpeg1video", "m1v"), ("mjpeg", "mjpeg")]
)
def test_frames_of_a_stream_without_container_are_counted(tmp_path, codec, suffix):
    """It has no times, though FFmpeg makes some up."""
    numbered.write(tmp_path / f"video.{suffix}", codec, max_b_frames=0 if codec == "mjpeg" else 2)
    frames = list(video.read(tmp_path / f"video.{suffix}"))
    assert shown(frames) == list(range(1, 61)) and facts(frames)["times"].startswith("counted at ")
    rate = float(facts(frames)["times"].split()[2])
    np.testing.assert_allclose(times(frames), np.arange(60) / rate, atol=1e-6)


def test_times_of_storing_are_put_in_the_order_of_showing(tmp_path):
    """As in an MP4 whose frames were copied from an AVI, with the times that these had there."""
    numbered.write(tmp_path / "video.avi", "libx264", max_b_frames=2)
    with av.open(str(tmp_path / "video.avi")) as source, av.open(str(tmp_path / "copy.mp4"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.pts, packet.stream = packet.dts, stream
                copy.mux(packet)
    frames = list(video.read(tmp_path / "copy.mp4"))
    assert shown(frames) == list(range(1, 61)) and facts(frames)["times"] == "container, put in order"
    np.testing.assert_allclose(times(frames), np.arange(60) / 30, atol=1e-3)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", ".ts"), ("mpeg2video", ".ts"), ("mpeg2video", ".mpg"), ("libx264", ".mkv")]
)
def test_joined_recordings_go_on(tmp_path, codec, suffix):
    """`cat a b`: times rise through the place where the clock begins anew, and the facts tell of it."""
    one = write(tmp_path / f"one{suffix}", codec)
    joined = tmp_path / f"joined{suffix}"
    joined.write_bytes(2 * one.read_bytes())
    alone, frames = list(video.read(one)), list(video.read(joined))
    assert len(alone) == 75 and facts(alone)["discontinuities"] == 0
    assert len(frames) == 150 and facts(frames)["discontinuities"] == 1
    steps = np.diff(times(frames))
    assert (np.delete(steps, 74) == pytest.approx(0.04, abs=2e-3)) and 0.03 < steps[74] < 0.2
    assert shown(frames)[75:] == shown(alone) == list(range(1, 76))
    assert shown(frames)[:72] == list(range(1, 73)), "the last ones of broadcasts may seem to be damaged"
    assert all(frame.is_certain for frame in frames[:70]) and not any(frame.is_certain for frame in frames[75:])


def test_headers_of_joined_recordings_are_no_frames(tmp_path):
    """Theora repeats them where the second one begins; they are neither frames nor damaged.

    PyAV does not write Theora: the recording is of FFmpeg, six greys at 25 a second (`-c:v libtheora -q:v 8`).
    """
    one = Path(__file__).parent / "fixtures/theora.ogv"
    (tmp_path / "joined.ogv").write_bytes(2 * one.read_bytes())
    frames = list(video.read(tmp_path / "joined.ogv"))
    greys = [None if frame.image is None else float(frame.image.mean()) for frame in frames]
    np.testing.assert_allclose(np.array(greys, float), 2 * [20, 60, 100, 140, 180, 220], atol=6)
    np.testing.assert_allclose(times(frames), np.arange(12) / 25, atol=1e-6)
    assert facts(frames)["discontinuities"] == 1


def test_sound_that_pauses_is_no_clock_that_begins_anew(tmp_path):
    """Also before another recording, whose clock is far away: time goes on from where the first one ends."""
    paused = write(tmp_path / "paused.ts", "mpeg2video", seconds=16, quiet=range(2, 14))
    later = write(tmp_path / "later.ts", "mpeg2video", begin=3000)
    alone = list(video.read(paused))
    assert facts(alone)["discontinuities"] == 0 and times(alone)[-1] == pytest.approx(15.96, abs=0.1)
    for second in (paused, later):
        joined = tmp_path / "joined.ts"
        joined.write_bytes(paused.read_bytes() + second.read_bytes())
        frames = list(video.read(joined))
        assert facts(frames)["discontinuities"] == 1
        steps = np.diff(times(frames))
        assert np.delete(steps, 399) == pytest.approx(0.04, abs=2e-3) and 0.03 < steps[399] < 0.2


def test_a_joined_avi_is_read_to_its_end(tmp_path):
    """Its index knows the first part alone."""
    numbered.write(tmp_path / "one.avi", "mpeg4")
    (tmp_path / "joined.avi").write_bytes(2 * (tmp_path / "one.avi").read_bytes())
    frames = list(video.read(tmp_path / "joined.avi"))
    assert shown(frames) == 2 * list(range(1, 61)) and frames[-1].total is None
    np.testing.assert_allclose(times(frames), np.arange(120) / 30, atol=1e-6)
    assert frames[59].is_certain and not frames[60].is_certain


@pytest.mark.parametrize(("suffix", "begin"), [(".mkv", 5), (".mkv", 0), (".ts", 700), (".mp4", 5)])
def test_time_is_counted_from_the_container_s_start(tmp_path, suffix, begin):
    """As players do: pictures that begin later than the sound have their own time, and the facts keep the offset."""
    frames = list(video.read(write(tmp_path / f"video{suffix}", begin=begin, late=20)))
    assert shown(frames) == list(range(1, 56)), "and it does not count as cut off"
    np.testing.assert_allclose(times(frames), 0.8 + np.arange(55) / 25, atol=0.05)
    assert facts(frames)["first_frame_seconds"] == times(frames)[0]
    if suffix != ".mp4":
        assert facts(frames)["container_start_seconds"] == pytest.approx(begin, abs=2)


def test_a_drawn_video_lasts_as_long_as_the_joined_recordings(tmp_path):
    """Frames at their times, and as much sound."""
    joined, out = tmp_path / "joined.ts", tmp_path / "out.mp4"
    joined.write_bytes(2 * write(tmp_path / "one.ts").read_bytes())
    frames = list(video.read(joined))
    with video_writer.open_video_writer(out, str(joined)) as writer:
        for frame in frames:
            writer.add(numbered.draw(1), frame.seconds)
    with av.open(str(out)) as container:
        assert container.duration == pytest.approx(6.1e6, abs=0.2e6)
        drawn = [frame.time for frame in container.decode(video=0)]
        assert drawn == pytest.approx(times(frames), abs=1e-3)
    with av.open(str(out)) as container:
        sound = [frame.time or 0.0 for frame in container.decode(audio=0)]
    assert sound[0] < 0.1 and sound[-1] == pytest.approx(drawn[-1], abs=0.2)
    assert max(np.diff(sound)) < 0.2, "without a hole"

"""Writing video: H.264 with the frames' own times, and the sound that belongs to them."""

import os
from fractions import Fraction

import numpy as np
import pytest

from fgnet_jax.media import video, video_writer

TIMES = (0.0, 0.04, 0.12, 0.5, 0.54, 1.5)


def with_sound(path, codec, seconds=3.0, rate=16000, frames=None, max_b_frames=0):
    """Write a black video with a tone; with B-frames (H.264), its first frame is stored before earlier sound."""
    frame_rate = 10 if frames is None else 25
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264" if max_b_frames else "mpeg4", rate=frame_rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.max_b_frames = max_b_frames
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        for _ in range(frames or int(frame_rate * seconds)):
            image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux(video.encode(image))
        wave = (np.sin(np.arange(int(seconds * rate)) / 10) * 0.5).astype(np.float32)
        format_ = sound.codec_context.format.name
        for first in range(0, len(wave) - 1024, 1024):
            part = wave[None, first : first + 1024]
            part = part if format_ == "fltp" else (part * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(part, format=format_, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
        container.mux(video.encode())
    return path


def read(path):
    """Return size, times of frames, colours in the middle, and the sound's samples as one array."""
    import av

    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    sound = np.zeros(0)
    with av.open(str(path)) as container:
        if container.streams.audio:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    images = [frame.to_ndarray(format="rgb24") for frame in frames]
    middles = [image[image.shape[0] // 2, image.shape[1] // 2].tolist() for image in images]
    return images[0].shape, [frame.time for frame in frames], middles, sound


def write(path, sound_of=None, side=(47, 63)):
    """Write frames, each brighter than the one before."""
    with video_writer.open_video_writer(path, sound_of) as writer:
        for k, seconds in enumerate(TIMES):
            writer.add(np.full((*side, 3), 40 * k, np.uint8), seconds)
    return path


def test_frames_keep_their_times_and_colours(tmp_path):
    """Also at a variable rate; odd sizes are padded."""
    shape, times, middles, sound = read(write(tmp_path / "out.mp4"))
    assert shape == (48, 64, 3) and len(sound) == 0 and os.listdir(tmp_path) == ["out.mp4"]
    np.testing.assert_allclose(times, TIMES, atol=1e-3)
    assert all(abs(middle[0] - 40 * k) < 8 for k, middle in enumerate(middles))


@pytest.mark.parametrize(
    ("intervals", "slack"),
    [
        ([1 / 30] * 120, 0.0),
        ([0.1, 0.3, 0.05, 0.2, 0.65, 0.3, 0.35] * 8, 0.0),  # as of a camera whose late frames are dropped
        ([1 / 30] * 40 + [1.5] * 4, 2.0),
        ([1.0] * 6 + [1 / 60] * 60, 0.0),
    ],
)
def test_a_video_ends_when_its_last_frame_does(tmp_path, intervals, slack):
    """Not before it is shown; where frames come much more slowly at the end, at most two later."""
    import av

    times = np.cumsum([0.0, *intervals])
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    with video_writer.open_video_writer(tmp_path / "out.mp4") as writer:
        for k, seconds in enumerate(times):
            image = 128 + 100 * np.sin((x + 2 * k) / 9) * np.cos((y - k) / 7)  # moves, so that B-frames are worth it
            writer.add(np.repeat(image[..., None], 3, 2).astype(np.uint8), float(seconds))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream, end = container.streams.video[0], times[-1] + intervals[-1]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        assert any(packet.pts != packet.dts for packet in packets), "without B-frames there is nothing to test"
        assert stream.duration and stream.time_base and container.duration
        for duration in (float(stream.duration * stream.time_base), container.duration / 1e6):
            assert end - 1e-3 <= duration <= end + slack + 1e-3


@pytest.mark.parametrize(("codec", "name"), [("aac", "in.mp4"), ("pcm_s16le", "in.avi")])
def test_the_sound_is_added_as_far_as_the_frames_reach(tmp_path, codec, name):
    """Copied where MP4 has it, else encoded; the last frame lasts as long as the one before it."""
    source = with_sound(tmp_path / name, codec)
    _, times, _, sound = read(write(tmp_path / "out.mp4", str(source)))
    assert len(times) == len(TIMES) and np.abs(sound).max() > 0.2
    assert 2.2 < len(sound) / 16000 < 2.8


@pytest.mark.parametrize(("codec", "name"), [("aac", "in.ts"), ("pcm_s16le", "in.mkv")])
def test_sound_and_frames_begin_together(tmp_path, codec, name):
    """In a broadcast, whose clock began long before: the tone keeps its distance from the first frame."""
    source, out = broadcast(tmp_path / name, codec), tmp_path / "out.mp4"
    drawn_over(source, out)
    before, after = [first_tone(path) - first_frame(path) for path in (source, out)]
    assert first_frame(source) > 500 and first_frame(out) < 0.1 and before == pytest.approx(1.5, abs=0.1)
    assert after == pytest.approx(before, abs=0.03)


def drawn_over(source, out):
    """Write black frames at the times of a source's, with its sound."""
    with video_writer.open_video_writer(out, str(source)) as writer:
        for frame in video.read(source):
            writer.add(np.zeros((48, 64, 3), np.uint8), frame.seconds)


def broadcast(path, codec, begin=600, rate=16000):
    """Write three seconds of black that begin at a late time; a tone begins half-way."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        format_ = sound.codec_context.format.name
        wave = np.where(np.arange(3 * rate) > 1.5 * rate, np.sin(np.arange(3 * rate) / 10) * 0.5, 0)
        wave = wave.astype(np.float32) if format_ == "fltp" else (wave * 32767).astype(np.int16)
        for k in range(30):
            image = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            image.pts, image.time_base = 10 * begin + k, Fraction(1, 10)
            container.mux(video.encode(image))
            first = k * rate // 10
            frame = av.AudioFrame.from_ndarray(wave[None, first : first + rate // 10], format=format_, layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, rate * begin + first, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


def first_frame(path):
    """Return the time of the first frame, in seconds."""
    import av

    with av.open(str(path)) as container:
        return next(container.decode(video=0)).time


def first_tone(path):
    """Return the time at which the tone begins, in seconds."""
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            loud = np.abs(samples[0]) > 0.2 * (1 if samples.dtype == np.float32 else 32767)
            if loud.any():
                return float(frame.time or 0) + int(np.argmax(loud)) / frame.sample_rate
    raise AssertionError("silence")


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_a_source_that_cannot_be_read_gives_no_sound(tmp_path, content):
    """Whoever reads its frames reports what is wrong."""
    (tmp_path / "in.mp4").write_bytes(content)
    assert len(read(write(tmp_path / "out.mp4", str(tmp_path / "in.mp4")))[3]) == 0


def test_damaged_sound_is_left_out(tmp_path):
    """And costs no frame."""
    source = with_sound(tmp_path / "in.mkv", "flac")
    content = bytearray(source.read_bytes())
    content[len(content) // 3 : 2 * len(content) // 3] = bytes(len(content) // 3)
    source.write_bytes(content)
    assert len(read(write(tmp_path / "out.mp4", str(source)))[1]) == len(TIMES)


@pytest.mark.parametrize(("codec", "suffix"), [("aac", "ts"), ("aac", "mkv"), ("mp2", "ts")])
def test_the_sound_of_joined_recordings_goes_on(tmp_path, codec, suffix):
    """`cat a a`, though the sound of the second would begin before that of the first ends."""
    one = with_sound(tmp_path / f"one.{suffix}", codec, rate=44100, frames=72, max_b_frames=2)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(2 * one.read_bytes())
    drawn_over(joined, tmp_path / "out.mp4")
    _, times, _, sound = read(tmp_path / "out.mp4")
    assert len(times) == 144 and len(sound) / 44100 == pytest.approx(6, abs=0.3)


def test_sound_that_cannot_be_written_ends_and_the_frames_go_on(tmp_path):
    """Here, the second of two recordings has another rate; a line says from where on there is none."""
    joined = tmp_path / "joined.ts"
    parts = [with_sound(tmp_path / f"{rate}.ts", "mp2", rate=rate) for rate in (16000, 44100)]
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with video_writer.open_video_writer(tmp_path / "out.mp4", str(joined)) as writer:
        for frame in video.read(joined):
            writer.add(np.zeros((48, 64, 3), np.uint8), frame.seconds)
    _, times, _, sound = read(tmp_path / "out.mp4")
    assert len(times) == 60 and 2 < len(sound) / 16000 < 3.3
    assert writer.sound_problem and writer.sound_problem.startswith("without sound from 3.")


def test_a_source_may_have_no_sound(tmp_path):
    """Such videos are common."""
    source = write(tmp_path / "in.mp4")
    assert len(read(write(tmp_path / "out.mp4", str(source)))[3]) == 0


def test_an_interrupted_video_can_be_played(tmp_path):
    """Up to the frame at which it was interrupted."""
    with pytest.raises(KeyboardInterrupt), video_writer.open_video_writer(tmp_path / "out.mp4") as writer:
        writer.add(np.zeros((48, 64, 3), np.uint8), 0.0)
        writer.add(np.zeros((48, 64, 3), np.uint8), 0.1)
        raise KeyboardInterrupt
    assert len(read(tmp_path / "out.mp4")[1]) == 2


def test_no_frames_leave_no_file(tmp_path):
    """Rather than one that nothing plays."""
    with video_writer.open_video_writer(tmp_path / "out.mp4"):
        pass
    assert os.listdir(tmp_path) == []


def test_frames_of_another_size_are_cropped_or_padded(tmp_path):
    """A video whose size changes half-way."""
    with video_writer.open_video_writer(tmp_path / "out.mp4") as writer:
        writer.add(np.zeros((48, 64, 3), np.uint8), 0.0)
        writer.add(np.full((30, 100, 3), 255, np.uint8), 0.1)
    assert read(tmp_path / "out.mp4")[0] == (48, 64, 3)

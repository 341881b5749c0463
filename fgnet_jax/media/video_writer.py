"""Writing video: H.264 in MP4 with the frames' true times, and the sound of the video that they come from.

By PyAV (the extra `video`). Sound that MP4 holds is copied as it is; other sound becomes AAC. Frames count their time
from the source's first frame, and so does the sound here, whatever the source begins to count at.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from fgnet_jax.media import video

_COPIED = ("aac", "mp3", "ac3", "eac3", "alac")
_CLOCK = Fraction(1, 90_000)
_EARLIEST = -0.1  # seconds: what is heard longer before the first frame is left out
_OPTIONS = {"crf": "20", "preset": "veryfast"}


class VideoWriterError(ValueError):
    """A video that cannot be written; the message says why."""


def check() -> None:
    """Refuses where video cannot be written at all.

    Raises:
      VideoWriterError: PyAV is not installed.
    """
    if importlib.util.find_spec("av") is None:
        raise VideoWriterError("video is written by PyAV, which is not here: pip install 'fgnet_jax[video]'")


@contextlib.contextmanager
def open_video_writer(path: str | os.PathLike[str], sound_of: str | None = None) -> Iterator["VideoWriter"]:
    """Opens a video that appears at `path` when the block ends, playable, whether or not the block raised.

    Args:
      path: The MP4 file.
      sound_of: A video whose sound goes with the frames, as far as they reach and it can be read; None for a silent
        one.

    Raises:
      VideoWriterError: PyAV is not installed, or FFmpeg cannot encode.
      OSError: The file cannot be written.
    """
    check()
    import av

    partial = f"{os.fspath(path)}.partial"
    movie = None
    try:
        with contextlib.ExitStack() as stack:
            sound = _source(stack, sound_of)
            stream = stack.enter_context(open(partial, "wb"))
            movie = VideoWriter(stack.enter_context(av.open(stream, "w", format="mp4")), sound)
            try:
                yield movie
            finally:
                movie.finish()
    finally:
        if movie is not None and not movie.is_empty:
            os.replace(partial, path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.remove(partial)


def _source(stack: contextlib.ExitStack, path: str | None) -> Any | None:
    """Opens what the sound is taken from; None where it cannot be: who reads its frames says why."""
    try:
        return stack.enter_context(video.opened(path)) if path else None
    except video.VideoError:
        return None


class VideoWriter:
    """A video that is being written."""

    def __init__(self, container: Any, sound: Any | None):
        """Takes FFmpeg's container to write to, and one to take the sound from."""
        self._container, self._sound = container, sound
        self._stream: Any = None
        self._packets: Iterator[tuple[float, Any]] = iter(())
        self._held: tuple[float, Any] | None = None
        self._last = -1
        self._step = 0

    @property
    def is_empty(self) -> bool:
        """Whether no frame was added."""
        return self._stream is None

    def add(self, image: np.ndarray, seconds: float) -> None:
        """Appends a frame.

        Args:
          image: uint8 (height, width, 3); frames after the first are cut or filled up to its size.
          seconds: When it is shown; later than the one before.
        """
        import av

        stream = self._stream = self._stream or self._begin(image)
        frame = av.VideoFrame.from_ndarray(_fitted(image, stream.height, stream.width), format="rgb24")
        at = max(round(seconds / _CLOCK), self._last + 1)
        self._step = at - self._last if self._last >= 0 else round(1 / _CLOCK / 25)
        frame.pts, frame.time_base, self._last = at, _CLOCK, at
        self._container.mux(stream.encode(frame))
        self._add_sound(float(at * _CLOCK))

    def finish(self) -> None:
        """Writes what is left: the last frames, and the sound until the last one ends."""
        if self._stream is None:
            return
        self._add_sound(float((self._last + self._step) * _CLOCK))
        self._container.mux(self._stream.encode())

    def _begin(self, image: np.ndarray) -> Any:
        try:
            stream = self._container.add_stream("libx264", rate=Fraction(25), options=dict(_OPTIONS))
        except ValueError as error:
            raise VideoWriterError(f"this build of FFmpeg cannot write H.264 (libx264): {error}") from error
        stream.height, stream.width = (side + side % 2 for side in image.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        if self._sound is not None and self._sound.streams.audio:
            self._packets = _sound(self._container, self._sound)
        return stream

    def _add_sound(self, until: float) -> None:
        """Muxes the sound that is heard before a time."""
        held = self._held or next(self._packets, None)
        while held is not None and held[0] < until:
            self._container.mux(held[1])
            held = next(self._packets, None)
        self._held = held


def _fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A frame cut, or filled up by its edge, to the size that the first one had, made even as H.264 wants it."""
    image = image[:height, :width]
    missing = (0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)
    return np.ascontiguousarray(np.pad(image, missing, "edge") if np.any(missing) else image)


def _sound(container: Any, source: Any) -> Iterator[tuple[float, Any]]:
    """Adds a stream of sound at once; gives its packets and when each is heard."""
    stream, begin = source.streams.audio[0], _beginning(source)
    if stream.codec_context.name in _COPIED:
        return _copied(_packets(source, stream), container.add_stream_from_template(stream), begin)
    encoder = container.add_stream("aac", rate=stream.rate)
    encoder.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
    return _encoded(_packets(source, stream), encoder, begin)


def _beginning(source: Any) -> float:
    """When a source's first frame is shown, in seconds: not 0 in broadcasts, which count on and on."""
    stream = source.streams.best("video")
    return 0.0 if stream is None else float((stream.start_time or 0) * stream.time_base)


def _packets(source: Any, stream: Any) -> Iterator[Any]:
    """As many as can be read: the frames go on in silence."""
    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError):
        yield from source.demux(stream)


def _copied(packets: Iterator[Any], out: Any, begin: float) -> Iterator[tuple[float, Any]]:
    for packet in packets:
        if packet.dts is None:
            continue
        before = round(begin / packet.time_base)
        packet.dts -= before
        packet.pts = packet.dts if packet.pts is None else packet.pts - before
        seconds = float(packet.pts * packet.time_base)
        if seconds > _EARLIEST:
            packet.stream = out
            yield seconds, packet


def _encoded(packets: Iterator[Any], out: Any, begin: float) -> Iterator[tuple[float, Any]]:
    import av

    context = out.codec_context
    resampler = av.AudioResampler(format="fltp", layout=context.layout.name, rate=context.sample_rate)
    for found in _decoded(packets):
        found.pts = (found.pts or 0) - round(begin / found.time_base)
        for frame in resampler.resample(found) if found.time > _EARLIEST else ():
            seconds = float(frame.time or 0.0)
            yield from ((seconds, packet) for packet in out.encode(frame))
    yield from ((0.0, packet) for packet in out.encode())


def _decoded(packets: Iterator[Any]) -> Iterator[Any]:
    """Frames of sound, without those that are damaged."""
    from av.error import FFmpegError

    for packet in packets:
        with contextlib.suppress(FFmpegError):
            yield from packet.decode()

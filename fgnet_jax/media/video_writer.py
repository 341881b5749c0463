"""Writes video: H.264 in MP4 with the frames' true times, and the sound of the video that they are from.

With PyAV (the extra `video`). Sound in a format that MP4 holds is copied; other sound is encoded as AAC. Frames and
sound count their time from the start of the source's container, whatever time its clock begins at, or begins anew.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Optional

import numpy as np

from fgnet_jax.media import timeline, video
from fgnet_jax.runtime.files import replacing

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer

_COPIED = ("aac", "mp3", "ac3", "eac3", "alac")
_CLOCK = Fraction(1, 90_000)
_EARLIEST = -0.1  # seconds: sound that is earlier than this before the container's start is left out
_OPTIONS = {"crf": "20", "preset": "veryfast"}

TimedPackets = Iterator[tuple[float, "av.Packet"]]
"""Encoded sound, each packet with its time in seconds from the container's start."""


class VideoWriterError(ValueError):
    """A video that cannot be written; the message says why."""


def check() -> None:
    """Check that video can be written.

    Raises:
      VideoWriterError: PyAV is not installed.
    """
    if importlib.util.find_spec("av") is None:
        raise VideoWriterError("video is written by PyAV, which is not installed: pip install 'fgnet_jax[video]'")


@contextlib.contextmanager
def open_video_writer(path: str | os.PathLike[str], sound_of: str | None = None) -> Iterator["VideoWriter"]:
    """Open a video that is at `path` when the block ends, playable, also if the block raised; without a frame, none is.

    Args:
      path: The MP4 file.
      sound_of: A video whose sound is added, as far as the frames reach and it can be read; None for no sound.

    Raises:
      VideoWriterError: PyAV is not installed, or FFmpeg cannot encode.
      OSError: The file cannot be written.
    """
    check()
    import av

    failure: BaseException | None = None
    with replacing(path) as temporary:
        writer: VideoWriter | None = None
        try:
            with contextlib.ExitStack() as stack:
                sound = _open_sound(stack, sound_of)
                stream = stack.enter_context(temporary.open("wb"))
                writer = VideoWriter(stack.enter_context(av.open(stream, "w", format="mp4")), sound)
                try:
                    yield writer
                finally:
                    writer.finish()
        except BaseException as error:  # raised again below, once the frames so far are in place
            failure = error
        if writer is None or writer.is_empty:
            temporary.unlink(missing_ok=True)
    if failure is not None:
        raise failure


def _open_sound(stack: contextlib.ExitStack, path: str | None) -> Optional["InputContainer"]:
    """Open the video that the sound is from; None where it cannot be read: whoever reads its frames reports why."""
    try:
        return stack.enter_context(video.opened(path)) if path else None
    except video.VideoError:
        return None


class VideoWriter:
    """A video that is being written.

    Attributes:
      sound_problem: Why the sound ends before the frames do, in a line; None where it does not.
    """

    def __init__(self, container: "OutputContainer", sound: Optional["InputContainer"]):
        """Create a writer.

        Args:
          container: PyAV's container to write to.
          sound: One whose sound is added; None for no sound.
        """
        self.sound_problem: str | None = None
        self._container, self._sound = container, sound
        self._stream: av.VideoStream | None = None
        self._packets: TimedPackets = iter(())
        self._pending: tuple[float, av.Packet] | None = None
        self._first: int | None = None  # when the first packet is decoded
        self._last = -1
        self._step = 0

    @property
    def is_empty(self) -> bool:
        """Tell whether no frame was added."""
        return self._stream is None

    def add(self, image: np.ndarray, seconds: float) -> None:
        """Append a frame.

        Args:
          image: uint8 (height, width, 3); frames after the first are cropped or padded to its size.
          seconds: Its time; later than that of the frame before.
        """
        import av

        stream = self._stream = self._stream or self._begin(image)
        frame = av.VideoFrame.from_ndarray(_fitted(image, stream.height, stream.width), format="rgb24")
        at = max(round(seconds / _CLOCK), self._last + 1)
        self._step = at - self._last if self._last >= 0 else round(1 / _CLOCK / 25)
        frame.pts, frame.time_base, self._last = at, _CLOCK, at
        packets = stream.encode(frame)
        if packets and self._first is None:
            self._first = packets[0].dts
        self._container.mux(packets)
        self._add_sound(float(at * _CLOCK))

    def finish(self) -> None:
        """Write what is left: the last frames, and the sound up to the end of the last one."""
        if self._stream is None:
            return
        end = self._last + self._step
        self._add_sound(float(end * _CLOCK))
        packets = self._stream.encode()
        if packets:
            _set_end(packets, end, self._first if self._first is not None else packets[0].dts or 0)
        self._container.mux(packets)

    def _begin(self, image: np.ndarray) -> "av.VideoStream":
        """Add the streams, with the first frame's size."""
        try:
            stream = self._container.add_stream("libx264", rate=Fraction(25), options=dict(_OPTIONS))
        except ValueError as error:
            raise VideoWriterError(f"this build of FFmpeg cannot write H.264 (libx264): {error}") from error
        stream.height, stream.width = (side + side % 2 for side in image.shape[:2])
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        if self._sound is not None and self._sound.streams.audio:
            self._packets = _add_sound_stream(self._container, self._sound)
        return stream

    def _add_sound(self, until: float) -> None:
        """Mux the sound up to a time, in seconds; one that cannot be muxed ends, and the frames go on."""
        from av.error import FFmpegError

        pending = self._pending
        try:
            pending = pending or next(self._packets, None)
            while pending is not None and pending[0] < until:
                self._container.mux(pending[1])
                pending = next(self._packets, None)
        except (FFmpegError, ValueError) as error:  # ValueError: samples of another rate or layout, as after a join
            reason = getattr(error, "strerror", None) or error
            self.sound_problem = f"without sound from {max(until, 0.0):.1f} seconds on: {reason}"
            self._packets, pending = iter(()), None
        self._pending = pending


def _set_end(packets: list["av.Packet"], end: int, first: int) -> None:
    """Let a video end when its last frame does, by the durations of the last packets that are encoded.

    An MP4 lasts as long as its frames, one decoded after the other, and to the end of that which ends last. To FFmpeg a
    frame takes 1/25 of a second; at uneven times, frames that are not decoded in the order they are shown in make
    it end before the last ones are shown. Of the durations, the file keeps that of the last packet.

    Args:
      packets: In the order of decoding.
      end: When the last frame ends.
      first: When the first packet of the video is decoded: before 0.
    """
    for packet in packets:
        packet.duration = end - (packet.pts or 0)
    packets[-1].duration = max(packets[-1].duration or 0, end + first - (packets[-1].dts or 0))


def _fitted(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Crop a frame, or pad it by its edge, to the first one's size, which is rounded up to even numbers for H.264."""
    image = image[:height, :width]
    missing = (0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)
    return np.ascontiguousarray(np.pad(image, missing, "edge") if np.any(missing) else image)


def _add_sound_stream(container: "OutputContainer", source: "InputContainer") -> TimedPackets:
    """Add a sound stream to a container, at once; returns its packets with their times."""
    stream, begin = source.streams.audio[0], float(timeline.start(source))
    if stream.codec_context.name in _COPIED:
        return _copied(_packets(source, stream), container.add_stream_from_template(stream), begin)
    encoder = container.add_stream("aac", rate=stream.rate)
    encoder.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
    return _encoded(_packets(source, stream), encoder, begin)


def _packets(source: "InputContainer", stream: "av.AudioStream") -> Iterator["av.Packet"]:
    """Read a stream's packets as far as they can be read: the frames after that have no sound."""
    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError):  # all streams are read, as for the frames: they tell where clocks begin anew
        yield from (packet for packet in timeline.Bridge(source).over(source.demux()) if packet.stream is stream)


def _copied(packets: Iterator["av.Packet"], out: "av.AudioStream", begin: float) -> TimedPackets:
    """Move packets to another stream, with times from `begin` on; what overlaps where recordings join is left out."""
    latest = None
    for packet in packets:
        if packet.dts is None or not packet.time_base:
            continue
        before = round(begin / packet.time_base)
        packet.dts -= before
        packet.pts = packet.dts if packet.pts is None else packet.pts - before
        seconds = float(packet.pts * packet.time_base)
        if seconds > _EARLIEST and (latest is None or packet.dts > latest):
            latest = packet.dts
            packet.stream = out
            yield seconds, packet


def _encoded(packets: Iterator["av.Packet"], out: "av.AudioStream", begin: float) -> TimedPackets:
    """Decode packets and encode them for another stream, with times from `begin` on; see `_copied`."""
    import av

    context = out.codec_context
    resampler = av.AudioResampler(format="fltp", layout=context.layout.name, rate=context.sample_rate)
    latest = _EARLIEST
    for decoded in _decoded(packets):
        if decoded.time_base is None:
            continue
        decoded.pts = (decoded.pts or 0) - round(begin / decoded.time_base)
        if (decoded.time or 0.0) <= latest:
            continue
        latest = decoded.time or 0.0
        for frame in resampler.resample(decoded):
            seconds = float(frame.time or 0.0)
            yield from ((seconds, packet) for packet in out.encode(frame))
    yield from ((0.0, packet) for packet in out.encode())


def _decoded(packets: Iterator["av.Packet"]) -> Iterator["av.AudioFrame"]:
    """Decode packets, leaving out those that are damaged."""
    from av.error import FFmpegError

    for packet in packets:
        with contextlib.suppress(FFmpegError):
            yield from packet.decode()

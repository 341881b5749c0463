"""Reads video, frame by frame in display order, with PyAV (the extra `video`).

Every coded frame counts: the k-th that is returned is the k-th of the file, also where one before it is damaged. Images
are as a player shows them: upright, not mirrored, with square pixels. Times are those of the file, evenly spaced or
not, from the container's start; where a file has none, they are counted, and `VideoFrame.facts` say so.
"""

import dataclasses
import itertools
import os
import stat
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fgnet_jax.media import continuity, decoding, display, timeline

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

SUFFIXES = tuple(
    (
        ".avi .divx .mp4 .mov .qt .m4v .f4v .mkv .webm .mpg .mpeg .mpe .vob .mod .tod .wmv .asf .flv .3gp .3g2 "
        ".ts .mts .m2ts .m2t .ogv .ogm .mxf .dv .rm .rmvb .nut .ivf .y4m "
        ".h264 .264 .h265 .265 .hevc .m1v .m2v .mjpeg .mjpg"
    ).split()
)
"""File name suffixes by which videos are found in a folder."""

_OPTIONS = {
    # a playlist that is named like a video must not make FFmpeg open other files
    "format_whitelist": "avi,mov,mp4,matroska,webm,mpeg,mpegts,asf,mpegvideo,flv,ogg,mxf,dv,m4v,h264,hevc,ivf,nut,rm,"
    "yuv4mpegpipe,mjpeg",
    "protocol_whitelist": "file",
}
_MISSING_SECONDS, _MISSING_SHARE = 1.0, 0.05  # a video that lacks so much of the duration in its header was cut off
_THEORA, _THEORA_COMMENT = b"theora", 0x81  # what its headers begin with, after a byte; that of one without use
_TRIED = 64  # packets by which the order of frames is found out, where their times do not tell
_DURATION_IN_HEADER = ("mov", "matroska")  # the durations of others are guessed from the file's length

VideoError = decoding.VideoError


@dataclasses.dataclass(frozen=True)
class VideoFrame:
    """A frame of a video.

    Attributes:
      number: Number of the frame in the file, from 1.
      seconds: Media time, from the container's start, as players count; a camera's, from its first frame.
      image: (height, width, 3) uint8 RGB, upright and with square pixels; None where this frame is damaged or lost.
      is_certain: Whether `number` is the frame's number in the intact file; False after damage by which an unknown
        number of frames is lost.
      total: Number of the video's frames, as its header says or lets estimate; None where it does not.
      facts: What the decoder knows of the video up to this frame, in values of JSON; None for a camera.
      captured: When a camera gave it, by `time.monotonic`; None for a video.
    """

    number: int
    seconds: float
    image: np.ndarray | None
    total: int | None = None
    is_certain: bool = True
    facts: Mapping[str, Any] | None = None
    captured: float | None = None


def read(path: str | os.PathLike[str], start: int = 1, threads: int = 0) -> Generator[VideoFrame, None, None]:
    """Read the frames of a video, in constant memory.

    A damaged frame has no image, and neither have those up to the next key frame where they depend on it.

    Args:
      path: A file.
      start: Number of the first frame to return; earlier ones are decoded where necessary, but not converted.
      threads: Threads that decode; 0 for one per core.

    Raises:
      VideoError: The file is missing, empty, not a video in a supported format, or too large; or, after intact frames,
        the file was cut off, or a frame is damaged and the coding does not tell which frames are left.
    """
    av = _library()
    with opened(path) as container:
        yield from _frames(av, path, container, start, threads)


def is_as_stored(frame: VideoFrame) -> bool:
    """Tell whether a frame's pixels are those that the file stores: not turned, mirrored, or made square."""
    facts = frame.facts or {}
    return facts.get("size") == facts.get("stored") and facts.get("orientation", "upright") == "upright"


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file, whatever its name, begins as a video in a supported format."""
    try:
        with opened(path) as container:
            is_still = container.format.name == "mjpeg"  # photographs in a row, as files of a camera's are, too
            return not is_still and container.streams.best("video") is not None
    except VideoError:
        return False


def opened(path: str | os.PathLike[str]) -> "InputContainer":
    """Open a file as PyAV's container, to be closed by the caller; a pipe or device, which could hang, is refused.

    Raises:
      VideoError: The file is missing, empty, or not a video in a supported format.
    """
    av = _library()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError("not a regular file")
        if status.st_size == 0:
            raise VideoError("cannot be read as video: the file is empty")
        return av.open(str(os.fspath(path)), options=_OPTIONS)
    except VideoError:
        raise
    except (OSError, ValueError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"cannot be read as video: {reason}") from error


def _library() -> ModuleType:
    """Import PyAV."""
    try:
        import av
    except ImportError as error:
        raise VideoError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'") from error
    return av


def _frames(
    av: ModuleType, path: str | os.PathLike[str], container: "InputContainer", start: int, threads: int
) -> Iterator[VideoFrame]:
    """Decode a container's video from frame `start` on."""
    stream = cast("av.VideoStream | None", container.streams.best("video"))
    if stream is None:
        raise VideoError("has no video stream")
    if getattr(stream, "codec_context", None) is None:  # the name of its codec is damaged, or newer than FFmpeg
        raise VideoError("is encoded by an unknown codec")
    shown = display.Display(stream)
    _set_threads(stream, threads)
    bridge, certainty = timeline.Bridge(container), decoding.Certainty()
    ahead = continuity.ReadAhead(bridge.over(_packets(av, container, stream)))
    is_ordered = _is_ordered(av, path, stream, ahead.packets)
    clock = timeline.Clock(container, stream, is_ordered=is_ordered)
    packets = clock.watch(continuity.watch(container, stream, ahead, bridge.is_beyond))
    facts = _Facts(container, clock, bridge)
    total = _total(container, stream)
    for number, frame in enumerate(_decoder(stream, is_ordered)(av, packets, certainty), start=1):
        seconds, image = clock.seconds(number, frame.pts), None
        if not isinstance(frame, decoding.Damaged):
            shown.follow(frame)
            facts.update(shown.facts(frame), seconds)
            image = shown.image(frame) if number >= start else None
        if number >= start:
            yield VideoFrame(
                number=number,
                seconds=seconds,
                image=image,
                total=None if bridge.discontinuities or number > (total or 0) else total,
                is_certain=certainty.is_certain,
                facts=facts.current,
            )


def _set_threads(stream: "av.VideoStream", threads: int) -> None:
    """Let threads share the slices of a frame; not several frames: FFmpeg's threads hang or crash on damaged ones."""
    stream.codec_context.thread_count = threads
    stream.thread_type = "SLICE"


def _decoder(stream: "av.VideoStream", is_ordered: bool) -> decoding.Decoder:
    """Return how a stream is decoded."""
    if stream.codec_context.codec.intra_only:  # each packet is a frame: after a damaged one, the next is known
        return decoding.decode_intra
    return decoding.decode_inter if is_ordered else decoding.decode_unordered


def _is_ordered(
    av: ModuleType, path: str | os.PathLike[str], stream: "av.VideoStream", ahead: "Iterable[av.Packet]"
) -> bool:
    """Tell whether a video's packets have the times at which their frames are shown.

    Those of AVI have not, nor those of MP4 that was copied from it: they count up in the order in which frames are
    stored. If these may be shown in another order, decoding the first ones of the file anew tells whether they are.

    Args:
      av: PyAV.
      path: The file.
      stream: Its video.
      ahead: The packets at its beginning.
    """
    times = [(packet.pts, packet.dts) for packet in ahead if packet.stream is stream]
    if not stream.codec_context.has_b_frames or not _may_be_stored(times, stream.container.format.name):
        return True
    with opened(path) as container:
        again = cast("av.VideoStream", container.streams[stream.index])
        _set_threads(again, 1)
        return decoding.is_in_order(av, itertools.islice(container.demux(again), _TRIED))


def _may_be_stored(times: list[tuple[int | None, int | None]], format_name: str) -> bool:
    """Tell whether times of packets, `(pts, dts)`, may all be those of storing: of AVI, where they count up."""
    if format_name == "avi":
        shown = [pts for pts, _ in times if pts is not None]
        return shown == sorted(shown)
    delays = Counter(pts - dts for pts, dts in times if pts is not None and dts is not None)
    return max(delays.values(), default=0) == delays.total()


class _Facts:
    """What is known of a video.

    Attributes:
      current: That, in values of JSON; None before the first intact frame.
    """

    def __init__(self, container: "InputContainer", clock: timeline.Clock, bridge: timeline.Bridge):
        self._start, self._clock, self._bridge = float(timeline.start(container)), clock, bridge
        self._first: float | None = None
        self.current: Mapping[str, Any] | None = None

    def update(self, shown: dict[str, Any], seconds: float) -> None:
        """Take an intact frame into account: how it is shown, and its time."""
        self._first = seconds if self._first is None else self._first
        facts = {
            **shown,
            "container_start_seconds": self._start,
            "first_frame_seconds": self._first,
            "times": self._clock.source,
            "discontinuities": self._bridge.discontinuities,
        }
        if facts != self.current:
            self.current = facts


def _total(container: "InputContainer", stream: "av.VideoStream") -> int | None:
    """Return the number of frames that the header says or lets estimate; None where it does not."""
    if stream.frames:
        return stream.frames
    return round((container.duration or 0) * timeline.rate(stream) / 1_000_000) or None


def _theora_header(packet: "av.Packet") -> int | None:
    """Return the kind of a header of Theora, which has no frame; None for other packets.

    Where recordings are joined, the second one's headers are among the packets.
    """
    if not packet.size or packet.stream.codec_context.name != "theora":
        return None
    begin = bytes(memoryview(packet)[: 1 + len(_THEORA)])
    return begin[0] if begin[1:] == _THEORA else None


def _packets(av: ModuleType, container: "InputContainer", stream: "av.VideoStream") -> Iterator["av.Packet"]:
    """Read the packets of all streams; at their end, check that the file ends where its header says.

    Raises:
      VideoError: The file was cut off.
    """
    end, damaged = 0.0, False
    packets = container.demux()
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            raise VideoError(f"cannot be read any further: {error.strerror}") from error
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is stream:
            damaged = packet.is_corrupt
            if (header := _theora_header(packet)) is not None:
                if header == _THEORA_COMMENT:
                    continue
                packet.pts = packet.dts = None
        yield packet
    duration = (container.duration or 0) / 1e6
    if not container.format.name.startswith("matroska"):  # whose duration is counted from 0, wherever it starts
        duration += (container.start_time or 0) / 1e6
    missing, is_known = duration - end, container.format.name.startswith(_DURATION_IN_HEADER)
    if is_known and missing > max(_MISSING_SECONDS, _MISSING_SHARE * duration):
        raise VideoError(f"cut off at {end:.1f} of {duration:.1f} seconds" + (", in a frame" if damaged else ""))

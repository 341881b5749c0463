"""Reads video, frame by frame in display order, with PyAV (the extra `video`), and cameras with OpenCV.

Every coded frame counts: the k-th that is returned is the k-th of the file, also where one before it is damaged. Images
are upright: a phone's video is turned as it is displayed. Times are those of the file, evenly spaced or not.
"""

import dataclasses
import os
import stat
import time
from collections.abc import Generator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np

from fgnet_jax.media import continuity, decoding

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

SUFFIXES = tuple(
    ".avi .mp4 .mov .m4v .mkv .webm .mpg .mpeg .wmv .asf .flv .3gp .3g2 .ts .mts .m2ts .ogv .vob .mxf .dv".split()
)
"""File name suffixes by which videos are found in a folder."""

MAX_PIXELS = 50_000_000
"""Videos with frames of more pixels are refused before one is decoded."""

_OPTIONS = {
    # a playlist that is named like a video must not make FFmpeg open other files
    "format_whitelist": "avi,mov,mp4,matroska,webm,mpeg,mpegts,asf,mpegvideo,flv,ogg,mxf,dv,m4v,h264,hevc,ivf,nut,rm",
    "protocol_whitelist": "file",
}
_MISSING_SECONDS, _MISSING_SHARE = 1.0, 0.05  # a video that lacks so much of the duration in its header was cut off
_DURATION_IN_HEADER = ("mov", "matroska")  # the durations of others are guessed from the file's length

VideoError = decoding.VideoError


@dataclasses.dataclass(frozen=True)
class VideoFrame:
    """A frame of a video.

    Attributes:
      number: Number of the frame in the file, from 1.
      seconds: Time since the beginning.
      image: (height, width, 3) uint8 RGB; None where this frame is damaged or lost.
      is_certain: Whether `number` is the frame's number in the intact file; False after damage by which an unknown
        number of frames is lost.
      total: Number of the video's frames, as its header says or lets estimate; None where it does not.
    """

    number: int
    seconds: float
    image: np.ndarray | None
    total: int | None = None
    is_certain: bool = True


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
        yield from _frames(av, container, start, threads)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file, whatever its name, begins as a video in a supported format."""
    try:
        with opened(path) as container:
            return container.streams.best("video") is not None
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
        return av.open(os.fspath(path), options=_OPTIONS)
    except VideoError:
        raise
    except (OSError, ValueError, av.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"cannot be read as video: {reason}") from error


def camera(device: int | str) -> Iterator[VideoFrame]:
    """Read the frames of a camera, from now on; those that it takes between two requests are lost.

    Args:
      device: Its number from 0, or its device file or address.

    Raises:
      VideoError: There is no such camera, it stops, or OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise VideoError(
            "cameras are read by OpenCV, which is not installed: pip install 'fgnet_jax[faces]'"
        ) from error
    cv2.utils.logging.setLogLevel(0)  # errors are reported below, and once
    capture = cv2.VideoCapture(device)
    try:
        if not capture.isOpened():
            raise VideoError(f"camera {device} cannot be opened")
        begin, number = time.monotonic(), 0
        while True:
            is_read, image = capture.read()
            if not is_read:
                raise VideoError(f"camera {device} gave {number} frames and then no more")
            number += 1
            yield VideoFrame(number, time.monotonic() - begin, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def _library() -> ModuleType:
    """Import PyAV."""
    try:
        import av
    except ImportError as error:
        raise VideoError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'") from error
    return av


def _frames(av: ModuleType, container: "InputContainer", start: int, threads: int) -> Iterator[VideoFrame]:
    """Decode a container's video from frame `start` on."""
    stream = cast("av.VideoStream | None", container.streams.best("video"))
    if stream is None:
        raise VideoError("has no video stream")
    _check_size(stream)
    stream.codec_context.thread_count = threads
    stream.thread_type = "SLICE"  # not FRAME: FFmpeg's threads hang or crash on damaged frames
    is_intra = stream.codec_context.codec.intra_only  # each packet is a frame: after a damaged one, the next is known
    decode: decoding.Decoder = decoding.decode_intra if is_intra else decoding.decode_inter
    total, number, certainty = _total(container, stream), 0, decoding.Certainty()
    packets = continuity.watch(container, stream, _packets(av, container, stream))
    for frame in decode(av, packets, certainty):
        number += 1
        if number >= start:
            yield dataclasses.replace(_converted(frame, number, stream, total), is_certain=certainty.is_certain)


def _check_size(frame: "av.VideoFrame | av.VideoStream") -> None:
    """Refuse frames that are too large, or of unknown size."""
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"frames of {frame.width}x{frame.height} are larger than {MAX_PIXELS:,} pixels")
    if frame.width * frame.height == 0:
        raise VideoError("does not declare its frame size")


def _total(container: "InputContainer", stream: "av.VideoStream") -> int | None:
    """Return the number of frames that the header says or lets estimate; None where it does not."""
    if stream.frames:
        return stream.frames
    seconds, rate = (container.duration or 0) / 1e6, float(stream.average_rate or 0)
    return round(seconds * rate) or None


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
        yield packet
    duration = ((container.start_time or 0) + (container.duration or 0)) / 1e6
    missing, is_known = duration - end, container.format.name.startswith(_DURATION_IN_HEADER)
    if is_known and missing > max(_MISSING_SECONDS, _MISSING_SHARE * duration):
        raise VideoError(f"cut off at {end:.1f} of {duration:.1f} seconds" + (", in a frame" if damaged else ""))


def _converted(frame: decoding.Decoded, number: int, stream: "av.VideoStream", total: int | None) -> VideoFrame:
    """Convert a decoded frame to RGB, upright."""
    rate, seconds = float(stream.average_rate or 0), None
    if frame.pts is not None:
        seconds = float((frame.pts - (stream.start_time or 0)) * (stream.time_base or 0))
    if seconds is None:
        seconds = (number - 1) / rate if rate else 0.0
    if isinstance(frame, decoding.Damaged):
        return VideoFrame(number=number, seconds=seconds, image=None, total=total)
    _check_size(frame)
    image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    return VideoFrame(number=number, seconds=seconds, image=np.ascontiguousarray(image), total=total)

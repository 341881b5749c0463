"""Reading video, frame by frame in the order of showing, with PyAV (the extra `video`), and cameras with OpenCV.

Every coded frame counts: the k-th that comes out is the k-th of the file, also where one before it is damaged. Images
are upright: a telephone's video comes turned as it is to be shown. Times are those of the file, evenly spaced or not.
"""

import dataclasses
import heapq
import os
import stat
import time
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np

SUFFIXES = tuple(
    ".avi .mp4 .mov .m4v .mkv .webm .mpg .mpeg .wmv .asf .flv .3gp .3g2 .ts .mts .m2ts .ogv .vob .mxf .dv".split()
)
"""Names that videos end with, by which they are picked out of a folder."""

MAX_PIXELS = 50_000_000
"""Videos of larger frames are refused before one is decoded."""

_OPTIONS = {
    # a playlist under a video's name must not make FFmpeg open other files
    "format_whitelist": "avi,mov,mp4,matroska,webm,mpeg,mpegts,asf,mpegvideo,flv,ogg,mxf,dv,m4v,h264,hevc,ivf,nut,rm",
    "protocol_whitelist": "file",
}
_MISSING_SECONDS, _MISSING_SHARE = 1.0, 0.05  # a video that ends so much before its header says was cut off
_TOLD_BY_HEADER = ("mov", "matroska")  # others' durations are guessed from the file's length


class VideoError(ValueError):
    """A video that cannot be read; the message says why, without the file's name."""


@dataclasses.dataclass(frozen=True)
class VideoFrame:
    """A frame of a video.

    Attributes:
      number: Its place in the file, from 1.
      seconds: When it is shown, from the beginning.
      image: (height, width, 3) uint8 RGB; None where this frame is damaged.
      total: Frames of the video as far as its header tells or lets guess; None where it does not.
    """

    number: int
    seconds: float
    image: np.ndarray | None
    total: int | None = None


@dataclasses.dataclass(frozen=True)
class _Damaged:
    """In place of a frame: when it would be shown in the stream's time base, if known."""

    pts: int | None = None


def read(path: str | os.PathLike[str], start: int = 1, threads: int = 0) -> Generator[VideoFrame, None, None]:
    """Frames of a video, in constant memory.

    A damaged frame comes without image, and so do those up to the next key frame where they are coded by it.

    Args:
      path: A file.
      start: Number of the first frame that is wanted; those before it are decoded where they must be, not converted.
      threads: That decode; 0 for as many as there are cores.

    Raises:
      VideoError: The file is absent, empty, no video of the kinds read here, or too large; or, after frames that were
        whole, the file was cut off, or a frame is damaged and the coding does not tell which frames are left.
    """
    av = _library()
    with opened(path) as container:
        yield from _frames(av, container, start, threads)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Whether a file, whatever it is called, begins as a video of a kind that is read here."""
    try:
        with opened(path) as container:
            return container.streams.best("video") is not None
    except VideoError:
        return False


def opened(path: str | os.PathLike[str]) -> Any:
    """PyAV's container of a file, to be closed; a pipe or device, which could hang, is not opened.

    Raises:
      VideoError: The file is absent, empty, or no video of the kinds read here.
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


def camera(which: int | str) -> Iterator[VideoFrame]:
    """Frames of a camera, from now on, as fast as they are taken; those that nobody takes are lost.

    Args:
      which: Its number from 0, or its device or address.

    Raises:
      VideoError: There is no such camera, it stops, or OpenCV is not here.
    """
    try:
        import cv2
    except ImportError as error:
        raise VideoError("cameras are read by OpenCV, which is not here: pip install 'fgnet_jax[faces]'") from error
    cv2.utils.logging.setLogLevel(0)  # what is wrong is said below, and once
    capture = cv2.VideoCapture(which)
    try:
        if not capture.isOpened():
            raise VideoError(f"camera {which} cannot be opened")
        begin, number = time.monotonic(), 0
        while True:
            taken, image = capture.read()
            if not taken:
                raise VideoError(f"camera {which} gave {number} frames and then no more")
            number += 1
            yield VideoFrame(number, time.monotonic() - begin, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise VideoError("video is read by PyAV, which is not here: pip install 'fgnet_jax[video]'") from error
    return av


def _frames(av: Any, container: Any, start: int, threads: int) -> Iterator[VideoFrame]:
    stream = container.streams.best("video")
    if stream is None:
        raise VideoError("has no video in it")
    _check_size(stream)
    stream.codec_context.thread_count = threads
    stream.thread_type = "SLICE"  # not FRAME: FFmpeg's threads hang or crash on damaged frames
    alone = stream.codec_context.codec.intra_only  # every packet a frame: after a damaged one, the next is still known
    decode = _each_alone if alone else _by_each_other
    total, number = _total(container, stream), 0
    for found in decode(av, _packets(av, container, stream)):
        number += 1
        if number >= start:
            yield _converted(found, number, stream, total)


def _check_size(frame: Any) -> None:
    if frame.width * frame.height > MAX_PIXELS:
        raise VideoError(f"frames of {frame.width}x{frame.height} are larger than {MAX_PIXELS:,} pixels")
    if frame.width * frame.height == 0:
        raise VideoError("does not say how large its frames are")


def _total(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return stream.frames
    seconds, rate = (container.duration or 0) / 1e6, float(stream.average_rate or 0)
    return round(seconds * rate) or None


def _packets(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """The stream's packets; at their end, whether the file ends where its header says.

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
            raise VideoError(f"cannot be read on: {error.strerror}") from error
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is stream:
            damaged = packet.is_corrupt
            yield packet
    told = ((container.start_time or 0) + (container.duration or 0)) / 1e6
    missing = told - end
    if container.format.name.startswith(_TOLD_BY_HEADER) and missing > max(_MISSING_SECONDS, _MISSING_SHARE * told):
        raise VideoError(f"cut off at {end:.1f} of {told:.1f} seconds" + (", in a frame" if damaged else ""))


def _each_alone(av: Any, packets: Iterator[Any]) -> Iterator[Any]:
    """FFmpeg's frames where every packet is one."""
    for packet in packets:
        frames = _tried(av, packet) or ([None] if packet.size else [])
        for frame in frames:
            yield _Damaged(packet.pts) if frame is None or packet.is_corrupt or frame.is_corrupt else frame


def _by_each_other(av: Any, packets: Iterator[Any]) -> Iterator[Any]:
    """FFmpeg's frames where they are coded by each other: after damage, none is whole before the next key frame.

    The decoder leaves frames out then, or guesses them; the times of all packets tell which.
    """
    waiting: list[int] = []  # a heap: times of packets whose frames have not come out
    damaged_at = None
    for packet in packets:
        frames = _tried(av, packet)
        if packet.pts is not None and packet.size and not packet.is_discard:
            heapq.heappush(waiting, packet.pts)
            if packet.is_corrupt or frames is None:
                damaged_at = packet.pts
        elif frames is None:
            raise VideoError("damaged, and what is left cannot be told apart")
        for frame in frames or []:
            lost = _before(waiting, frame.pts)
            if damaged_at is not None:
                yield from lost
                damaged_at = None if frame.key_frame and (frame.pts or 0) > damaged_at else damaged_at
            bad = damaged_at is not None or packet.is_corrupt or frame.is_corrupt
            yield _Damaged(frame.pts) if bad else frame
    if damaged_at is not None:
        yield from _before(waiting, max(waiting, default=0) + 1)


def _tried(av: Any, packet: Any) -> list[Any] | None:
    try:
        return packet.decode()
    except av.FFmpegError:
        return None


def _before(waiting: list[int], pts: int | None) -> list[_Damaged]:
    """Takes the times up to `pts` out of the heap; those before it belong to frames that never came out."""
    lost = []
    while pts is not None and waiting and waiting[0] <= pts:
        if (first := heapq.heappop(waiting)) < pts:
            lost.append(_Damaged(first))
    return lost


def _converted(found: Any, number: int, stream: Any, total: int | None) -> VideoFrame:
    rate, seconds = float(stream.average_rate or 0), None
    if found.pts is not None:
        seconds = float((found.pts - (stream.start_time or 0)) * stream.time_base)
    if seconds is None:
        seconds = (number - 1) / rate if rate else 0.0
    if isinstance(found, _Damaged):
        return VideoFrame(number, seconds, None, total)
    _check_size(found)
    image = np.rot90(found.to_ndarray(format="rgb24"), round(found.rotation / 90))
    return VideoFrame(number, seconds, np.ascontiguousarray(image), total)

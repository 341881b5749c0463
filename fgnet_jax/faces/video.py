"""Reading video, frame by frame in the order of showing, with PyAV (the extra `video`).

Every coded frame counts: the k-th that comes out is the k-th of the file, also where one before it is damaged.
"""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

SUFFIXES = (".avi", ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
"""Names that videos end with."""

MAX_PIXELS = 50_000_000
"""Videos of larger frames are refused before one is decoded."""

_OPTIONS = {
    # a playlist under a video's name must not make FFmpeg open other files
    "format_whitelist": "avi,mov,mp4,matroska,webm,mpeg,mpegts,asf,mpegvideo",
    "protocol_whitelist": "file",
}


class VideoError(ValueError):
    """A video that cannot be read; the message says why, without the file's name."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
      number: Its place in the file, from 1.
      seconds: When it is shown, from the beginning.
      picture: (height, width, 3) uint8 RGB; None where this frame is damaged.
    """

    number: int
    seconds: float
    picture: np.ndarray | None


def read(path: str | os.PathLike[str], start: int = 1, threads: int = 0) -> Iterator[Frame]:
    """Frames of a video, in constant memory.

    Args:
      path: A file.
      start: Number of the first frame that is wanted; those before it are decoded where they must be, not converted.
      threads: That decode; 0 for as many as there are cores.

    Raises:
      VideoError: The file is absent, no video of the kinds read here, or too large; or, after frames that were
        whole, a frame is damaged and the coding does not tell which frames are left.
    """
    av = _library()
    try:
        container: Any = av.open(os.fspath(path), options=_OPTIONS)
    except (OSError, ValueError, av.FFmpegError) as error:
        raise VideoError(f"cannot be read as video: {error}") from error
    with container:
        yield from _frames(av, container, start, threads)


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise VideoError("video is read by PyAV, which is not here: pip install 'fgnet_jax[video]'") from error
    return av


def _frames(av: Any, container: Any, start: int, threads: int) -> Iterator[Frame]:
    if not container.streams.video:
        raise VideoError("has no video in it")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS:
        raise VideoError(f"frames of {stream.width}x{stream.height} are larger than {MAX_PIXELS:,} pixels")
    if stream.width * stream.height == 0:
        raise VideoError("does not say how large its frames are")
    stream.codec_context.thread_count = threads
    stream.thread_type = "SLICE"  # not FRAME: FFmpeg's threads hang or crash on damaged frames
    number = 0
    for found in _decoded(av, container, stream):
        number += 1
        if number >= start:
            yield _converted(found, number, stream)


def _decoded(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """FFmpeg's frames; None in place of a damaged one."""
    alone = stream.codec_context.codec.intra_only  # every packet a frame: after a damaged one, the next is still known
    number = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not alone:
                raise VideoError(f"damaged after frame {number}: {error}") from error
            frames = [None]
        if alone and packet.size and not frames:
            frames = [None]
        for frame in frames:
            number += 1
            yield None if frame is None or packet.is_corrupt or frame.is_corrupt else frame


def _converted(found: Any, number: int, stream: Any) -> Frame:
    rate = float(stream.average_rate or 0)
    if found is None:
        return Frame(number, (number - 1) / rate if rate else 0.0, None)
    seconds = found.time if found.time is not None else ((number - 1) / rate if rate else 0.0)
    return Frame(number, float(seconds), found.to_ndarray(format="rgb24"))

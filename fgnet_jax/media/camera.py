"""Cameras, at their own pace: devices and addresses by OpenCV; video files and FFmpeg's filters that pose as cameras.

A frame's time is when it was captured, counted from the first one; a file that poses as a camera is played at its own
pace, and its frames keep the file's times. Nothing waits here: whoever reads too slowly reads late frames, and what is
to be current is read by a thread that keeps the newest (`runtime.handover`).
"""

import itertools
import os
import re
import stat
import time
from collections.abc import Generator, Iterator
from typing import cast

from fgnet_jax.media import timeline, video
from fgnet_jax.media.video import VideoError, VideoFrame

EXPECTED = (
    "a camera's number, from 0, its device such as /dev/video2, an address such as rtsp://HOST/PATH, a video file that"
    " is played at its own pace, or lavfi:GRAPH, FFmpeg's test input"
)
"""What a camera may be named by, in words."""

Device = int | str
"""A camera's number, or its address or path."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_GRAPH = "lavfi:"
_PASSWORD = re.compile(r"(?<=://)[^/?#]*@")  # it may have @ itself: FFmpeg takes the last one


def parse(text: str) -> Device:
    """Return the camera that a command line names.

    Raises:
      ValueError: The text names none; whether there is such a camera shows when it is opened.
    """
    if text.isdecimal():
        return int(text)
    if _ADDRESS.match(text) or (text.startswith(_GRAPH) and text != _GRAPH) or os.path.exists(text):
        return text
    if text.startswith("/dev/"):
        raise ValueError(f"there is no device {text}")
    raise ValueError(f"must be {EXPECTED}; got {text!r}, which is none of these")


def name(device: Device) -> str:
    """Return a camera's name for results: without the user and password that an address may have."""
    return _PASSWORD.sub("", str(device))


def frames(device: Device) -> Generator[VideoFrame, None, None]:
    """Read the frames of a camera as they come.

    Args:
      device: See `EXPECTED`.

    Raises:
      VideoError: There is no such camera, it stops, or a library is not installed. The end of a file is none.
    """
    if isinstance(device, str) and device.startswith(_GRAPH):
        return _played(_graph(device.removeprefix(_GRAPH)))
    if isinstance(device, str) and not _ADDRESS.match(device) and not _is_device(device):
        return _played(video.read(device))
    return _captured(device)


def _is_device(path: str) -> bool:
    """Tell whether a path is that of a device, which need not be there."""
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return path.startswith("/dev/")


def _captured(device: Device) -> Generator[VideoFrame, None, None]:
    """Read a camera with OpenCV."""
    try:
        import cv2
    except ImportError as error:
        raise VideoError(
            "cameras are read by OpenCV, which is not installed: pip install 'fgnet_jax[faces]'"
        ) from error
    cv2.utils.logging.setLogLevel(0)  # errors are reported below, and once
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # the same
    capture = cv2.VideoCapture(_numbered(device))
    try:
        if not capture.isOpened():
            raise VideoError(f"camera {name(device)} cannot be opened")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver can: what waits there is late
        first = None
        for number in itertools.count(1):
            is_read, image = capture.read()
            now = time.monotonic()
            if not is_read:
                raise VideoError(f"camera {name(device)} gave {number - 1} frames and then no more")
            first = now if first is None else first
            yield VideoFrame(number, now - first, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), captured=now)
    finally:
        capture.release()


def _numbered(device: Device) -> Device:
    """Return a device file's number, by which OpenCV opens it, whatever links lead there; others as they are."""
    found = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device)) if isinstance(device, str) else None
    return int(found[1]) if found else device


def _played(read: Iterator[VideoFrame]) -> Generator[VideoFrame, None, None]:
    """Let a video's frames come at its own pace, without those that are damaged."""
    begin = None
    for frame in read:
        if frame.image is None:
            continue
        begin = time.monotonic() - frame.seconds if begin is None else begin
        time.sleep(max(begin + frame.seconds - time.monotonic(), 0.0))
        yield VideoFrame(frame.number, frame.seconds, frame.image, captured=time.monotonic())


def _graph(graph: str) -> Generator[VideoFrame, None, None]:
    """Read what FFmpeg's filters draw, such as `testsrc=size=640x480:rate=30`."""
    try:
        import av
        from av.error import FFmpegError
    except ImportError as error:
        raise VideoError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'") from error
    try:
        with av.open(graph, format="lavfi") as container:
            stream = cast("av.VideoStream", container.streams.video[0])
            for number, frame in enumerate(container.decode(stream), start=1):
                seconds = frame.time if frame.time is not None else float((number - 1) / timeline.rate(stream))
                yield VideoFrame(number, float(seconds), frame.to_ndarray(format="rgb24"))
    except (FFmpegError, ValueError, IndexError) as error:
        raise VideoError(f"lavfi:{graph} cannot be read: {getattr(error, 'strerror', None) or error}") from error

"""Detection ahead of tracking: while a video's faces are tracked, the frame that is to be searched next is searched.

What a detector finds depends on the image alone, so results are those of detecting in turn. Where a face is lost, or
the scene changes, and faces must be detected earlier, they are, and what was found ahead is not used.
"""

import collections
import contextlib
import os
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fgnet_jax.faces.detection import Face, FaceDetector
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.prefetch import closing

KINDS = ("video", "animation")
"""Kinds of sources that are read ahead; the frames of a camera are not there yet."""

_MOST_BYTES = 64_000_000  # of the frames that wait: ten of 1920x1080
_THREADS = 2
_AHEAD = 2  # detections to which frames are read: with one, tracking often waited for it
_NICE = 19  # added to the nice value of threads that detect ahead


def give_way() -> None:
    """Let other threads go before this one, where threads have priorities of their own: on Linux.

    Tracking needs every frame in turn. What is detected ahead is needed some frames later, and takes ten times as long.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox that forbids it costs pace, no result
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)


class LookAhead:
    """The frames of sources, read some way ahead, and what was detected in them before their turn.

    ahead = LookAhead(frames, 10, detect)
    for frame in ahead.frames():
        track = follow(track, frame.image, ahead.detect, ...)
        ahead.expect(track.since)
    """

    def __init__(self, frames: Iterator[Frame], every: int, detect: FaceDetector):
        """Begin before the first frame.

        Args:
          frames: The frames, closed at the end of `frames()`.
          every: Frames from one detection to the next.
          detect: Detects all faces, in any thread.
        """
        self._source, self._every, self._detect_now = frames, every, detect
        self._pool = ThreadPoolExecutor(_THREADS, "fgnet_jax detect ahead", initializer=give_way)
        self._waiting: collections.deque[Frame] = collections.deque()
        self._current: Frame | None = None
        self._found: list[tuple[np.ndarray, Future[list[Face]]]] = []

    def frames(self) -> Generator[Frame, None, None]:
        """Yield the frames in order."""
        with closing(self._source):
            try:
                while self._read():
                    self._current = self._waiting.popleft()
                    yield self._current
                    self._forget(self._current.image)
            finally:
                self._pool.shutdown(cancel_futures=True)

    def detect(self, image: np.ndarray) -> list[Face]:
        """Return the faces of the current frame's image (height, width, 3) uint8, found ahead or now."""
        for known, future in self._found:
            if known is image:
                return future.result()
        return self._detect_now(image)

    def expect(self, since: int) -> None:
        """Begin to detect faces where that is expected next.

        Not right after a detection, which may have been one of several in a row: a face is lost again and again.

        Args:
          since: Frames from the last detection to the current one.
        """
        self._read_ahead()
        images = [frame.image for frame in self._waiting if frame.image is not None and self._is_same(frame)]
        first = self._every - since - 1
        for image in images[max(first, 0) :: self._every] if since or self._every == 1 else ():
            if not any(known is image for known, _ in self._found):
                self._found.append((image, self._pool.submit(self._detect_now, image)))

    def _is_same(self, frame: Frame) -> bool:
        """Tell whether a frame is of the current one's source."""
        return self._current is not None and frame.source is self._current.source

    def _read(self) -> bool:
        """Read a frame if none is waiting; returns False at the end."""
        if not self._waiting:
            self._waiting.extend(frame for frame in [next(self._source, None)] if frame is not None)
        return bool(self._waiting)

    def _read_ahead(self) -> None:
        """Read the current video's frames, as far as the next detections, and not too many bytes of them."""
        last = self._waiting[-1] if self._waiting else self._current
        while last is not None and self._is_same(last) and last.source.kind in KINDS and self._has_room():
            last = next(self._source, None)
            if last is not None:
                self._waiting.append(last)

    def _has_room(self) -> bool:
        size = sum(frame.image.nbytes for frame in self._waiting if frame.image is not None)
        return len(self._waiting) < max(_AHEAD * self._every, _THREADS) and size < _MOST_BYTES

    def _forget(self, image: np.ndarray | None) -> None:
        """Forget what was found in an image whose turn is over."""
        for known, future in self._found:
            if known is image:
                future.cancel()
        self._found = [entry for entry in self._found if entry[0] is not image]

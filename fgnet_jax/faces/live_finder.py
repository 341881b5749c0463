"""Finds the faces of a camera's frames without waiting: whole frames are searched on a thread beside the tracking.

Known faces are tracked from frame to frame, as in videos. Meanwhile a frame is searched for others, which takes as long
as several frames last; where one is found, it is looked for again, at that place, in the frame that is there by then.
So a new face comes a fraction of a second late, and no frame waits for it. Frames wait for a detection only where no
face is known, and then for that of the largest alone, which takes a fifth of the time.
"""

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fgnet_jax.faces import detectors, dlib_detector, finder, look_ahead, tracking
from fgnet_jax.faces.detection import Face, overlap
from fgnet_jax.faces.finder import DetectedFrame, FinderOptions, StageTimer
from fgnet_jax.faces.tracking import Track
from fgnet_jax.media.frames import Frame
from fgnet_jax.media.prefetch import closing

CHECK_EVERY = 300
"""Frames after which a face's appearance is looked at though nothing is in doubt: that holds up all others."""

_NEVER = 1_000_000_000  # frames
_SAME = 0.3  # intersection over union from which on two faces are the same


RULE = "whole frames are searched beside the tracking; the largest face at once where none is known"
"""How faces of a camera are detected, for the JSON beside a table."""


def find(
    frames: Iterator[Frame],
    options: FinderOptions,
    timed: StageTimer = lambda stage: contextlib.nullcontext(),
) -> Generator[DetectedFrame, None, None]:
    """Find and align the faces of frames as they come, on the caller's thread.

    Args:
      frames: Frames of one camera, some of which may be left out; closed with the returned iterator.
      options: How faces are found; `detect_every` counts the frames that are here.
      timed: Measures each detection, and each face's alignment.

    Raises:
      DetectorError: dlib or its predictor is missing; at once, before the first frame is read.
    """
    if options.aligned:
        return (frame for frame in finder.take_aligned(frames, options))
    return _find(frames, LiveFinder(options, timed))


def _find(frames: Iterator[Frame], live: "LiveFinder") -> Generator[DetectedFrame, None, None]:
    with closing(frames), contextlib.closing(live):
        for frame in frames:
            yield live.find(frame)


class LiveFinder:
    """Tracks faces from frame to frame, and searches some of the frames for new ones on a thread of its own."""

    def __init__(self, options: FinderOptions, timed: StageTimer = lambda stage: contextlib.nullcontext()):
        """Load the detectors.

        Args:
          options: How faces are found; not those of aligned faces.
          timed: Measures each detection, and each face's alignment.

        Raises:
          DetectorError: dlib or its predictor is missing.
        """
        self._options, self._use = options, finder.load(options, timed)
        predictor = dlib_detector.find_predictor(options.predictor)
        self._largest = detectors.load_largest(options.detector, predictor, options.min_confidence)
        self._largest(np.zeros((240, 320, 3), np.uint8))  # the first one takes longer: not while a frame waits
        self._track = Track()
        self._pool = ThreadPoolExecutor(1, "fgnet_jax detect", initializer=look_ahead.give_way)
        self._pending: Future[list[Face]] | None = None
        self._since = options.detect_every  # frames since the last search began
        self._rests_until = 0.0

    def close(self) -> None:
        """End the thread, once it is idle."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def find(self, frame: Frame) -> DetectedFrame:
        """Find and align the faces of the next frame."""
        if frame.image is None:
            return DetectedFrame(frame, (), frame.problem)
        with self._use.timed("finding faces (thread)"):
            self._track = self._follow(self._track, frame.image)
        numbered = tuple((face.face_id, face.start, face.face) for face in self._track.faces)
        return finder.align_faces(frame, numbered, self._options, self._use)

    def _follow(self, before: Track, image: np.ndarray) -> Track:
        """Track faces by one frame, and begin to search it if that is due."""
        new = self._new(before)
        after = tracking.follow(
            before,
            image,
            lambda image: self._near(before, new, image),
            self._use.nearby,
            every=1 if new else _NEVER if before.faces else self._options.detect_every,
            describe=self._use.describe,
            keep_people=self._options.identities,
            check_every=CHECK_EVERY,
        )
        self._since += 1
        is_due = self._since >= self._options.detect_every and time.monotonic() >= self._rests_until
        if self._pending is None and after.faces and is_due:
            self._pending, self._since = self._pool.submit(self._detect, image), 0
        return after

    def _detect(self, image: np.ndarray) -> list[Face]:
        begin = time.monotonic()
        with self._use.timed("searching frames (thread)"):
            found = self._use.detect(image)
        now = time.monotonic()
        self._rests_until = now + now - begin  # so that a slow machine has time for the rest
        return found

    def _new(self, track: Track) -> list[Face]:
        """Return the faces that a search has found by now and that are not known; none where none has ended."""
        if self._pending is None or not self._pending.done():
            return []
        found, self._pending = self._pending.result(), None
        known = [face.face.box for face in track.known]
        return [face for face in found if not any(overlap(face.box, box) > _SAME for box in known)]

    def _near(self, track: Track, new: Sequence[Face], image: np.ndarray) -> list[Face]:
        """Find the known faces where they are expected, and the new ones where they were; else the largest anywhere."""
        faces: list[Face] = []
        for box in [tracking.expected_box(face) for face in track.faces] + [face.box for face in new]:
            face = self._use.nearby(image, box)
            if face is not None and not any(overlap(face.box, other.box) > _SAME for other in faces):
                faces.append(face)
        anywhere = None if faces else self._largest(image)
        return faces if anywhere is None else [anywhere]

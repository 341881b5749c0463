"""Finds faces in frames: decoded, detected and aligned on threads of the host, in order, a few frames ahead."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.faces import alignment, dlib_detector, tracking
from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.detection import NUM_LANDMARKS, Face, FaceDetector, NearbyDetector
from fgnet_jax.media.frames import VIDEO_KINDS, Frame
from fgnet_jax.media.prefetch import closing, prefetch

PREFETCH_DEPTH = 2
"""Frames that wait between two stages: not more, since a photograph may take 100 MB."""

NumberedFaces = tuple[tuple[int, Face], ...]
"""Faces with their numbers."""

StageTimer = Callable[[str], contextlib.AbstractContextManager[None]]
"""Returns a context that measures a stage, by its name; entered on any thread."""


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face of a frame, aligned.

    Attributes:
      face: Landmarks, box and confidence in the frame; where the image is an aligned face already, the box is the
        whole image, the confidence 1 and the landmarks NaN.
      face_id: Its number, from 0; in a video, the same from frame to frame for the same face.
      aligned: (size, size, 3) uint8 RGB.
      alignment: Where the aligned face lies in the frame.
    """

    face: Face
    face_id: int
    aligned: np.ndarray
    alignment: Alignment


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedFrame:
    """A frame and its faces.

    Attributes:
      frame: The frame.
      faces: Sorted by `face_id`; empty where `problem` says why.
      problem: Why there is no face: what is wrong with the frame, or that none was found; or why a face that was
        detected beside others is left out.
    """

    frame: Frame
    faces: tuple[DetectedFace, ...]
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class FinderOptions:
    """How faces are found.

    Attributes:
      size: Side of an aligned face.
      largest: Only the largest face of a frame.
      detect_every: In videos, every this many frames faces are detected in the whole frame; in between, they are
        tracked.
      predictor: dlib's data file; None for the one that is installed.
      aligned: Whether images are aligned faces already: each is one face, as a whole.
      threads: Threads that align faces, and detect them in images; decoding and tracking have one each.
    """

    size: int = alignment.SIZE
    largest: bool = False
    detect_every: int = tracking.DETECT_EVERY
    predictor: Path | None = None
    aligned: bool = False
    threads: int = 2

    def describe(self) -> dict[str, Any]:
        """Return these options for the JSON beside a table.

        A resumed run compares them with those of the run before, so the texts stay as they are.
        """
        if self.aligned:
            return {"detector": None, "input": "aligned faces"}
        return {
            "detector": "dlib's frontal face detector",
            "landmarks": self.predictor.name if self.predictor else dlib_detector.PREDICTOR,
            "landmarks_licence": dlib_detector.LICENCE,
            "enlarged": "twice; pictures above 2 megapixels less, those above 8 are shrunk to them",
            "faces": "the largest" if self.largest else "all",
            "detect_every": self.detect_every,
            "in_between": tracking.describe(),
            "alignment": f"FFHQ, {self.size}x{self.size}",
        }


def find(
    frames: Iterator[Frame], options: FinderOptions, timed: StageTimer = lambda stage: contextlib.nullcontext()
) -> Generator[DetectedFrame, None, None]:
    """Find and align the faces of all frames.

    In frames that are done (`Frame.is_done`), faces are tracked, but the frames are left out of the result. Threads end
    when the returned iterator ends or is closed; an exception in a thread is raised by that iterator.

    Args:
      frames: From `frames.read`; closed with the returned iterator.
      options: How faces are found.
      timed: Measures each detection, and each face's alignment.

    Raises:
      DetectorError: dlib or its predictor is missing; at once, before the first frame is read.
    """
    if options.aligned:
        return prefetch(_take_aligned(prefetch(frames, PREFETCH_DEPTH), options), PREFETCH_DEPTH)
    predictor = dlib_detector.find_predictor(options.predictor)
    detectors = _Detectors(dlib_detector.load(predictor), dlib_detector.load_nearby(predictor), timed)
    tracked = _track(prefetch(frames, PREFETCH_DEPTH), options, detectors)
    return prefetch(_align(prefetch(tracked, PREFETCH_DEPTH), options, detectors), PREFETCH_DEPTH)


@dataclasses.dataclass(frozen=True)
class _Detectors:
    """What finds faces, and what measures it."""

    detect: FaceDetector
    nearby: NearbyDetector
    timed: StageTimer


def _take_aligned(frames: Iterator[Frame], options: FinderOptions) -> Iterator[DetectedFrame]:
    """Take each frame for an aligned face."""
    with closing(frames):
        for frame in frames:
            if not frame.is_done:
                yield _aligned_frame(frame, options)


def _aligned_frame(frame: Frame, options: FinderOptions) -> DetectedFrame:
    """Take a frame's whole image for an aligned face."""
    if frame.image is None:
        return DetectedFrame(frame, (), frame.problem)
    try:
        image = alignment.resize_aligned(frame.image, options.size)
    except alignment.AlignmentError as error:
        return DetectedFrame(frame, (), str(error))
    side = frame.image.shape[0]
    unknown = np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    face = Face(unknown, (0.0, 0.0, float(side), float(side)), 1.0)
    place = alignment.identity(side, options.size)
    return DetectedFrame(frame, (DetectedFace(face=face, face_id=0, aligned=image, alignment=place),))


def _track(
    frames: Iterator[Frame], options: FinderOptions, detectors: _Detectors
) -> Iterator[tuple[Frame, NumberedFaces | None]]:
    """Find the faces of videos' frames; gives None for images, whose faces can be detected in parallel."""
    track, source = tracking.Track(), None
    with closing(frames):
        for frame in frames:
            if frame.source is not source:
                track, source = tracking.Track(), frame.source
            if frame.source.kind not in VIDEO_KINDS:
                yield frame, None
            elif frame.image is None:
                yield frame, ()
            else:
                with detectors.timed("finding faces (threads)"):
                    track = tracking.follow(
                        track, frame.image, detectors.detect, detectors.nearby, every=options.detect_every
                    )
                yield frame, tuple((tracked.face_id, tracked.face) for tracked in track.faces)


def _align(
    tracked: Iterator[tuple[Frame, NumberedFaces | None]], options: FinderOptions, detectors: _Detectors
) -> Iterator[DetectedFrame]:
    """Align the faces of all frames, several frames at once, in order."""
    waiting: collections.deque[Future[DetectedFrame]] = collections.deque()
    with ThreadPoolExecutor(options.threads, "fgnet_jax align") as pool, closing(tracked):
        for frame, faces in tracked:
            if frame.is_done:
                continue
            waiting.append(pool.submit(_align_faces, frame, faces, options, detectors))
            if len(waiting) > options.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _align_faces(
    frame: Frame, faces: NumberedFaces | None, options: FinderOptions, detectors: _Detectors
) -> DetectedFrame:
    """Align the faces of a frame, after detecting them where `faces` is None."""
    if frame.image is None:
        return DetectedFrame(frame, (), frame.problem)
    if faces is None:
        with detectors.timed("finding faces (threads)"):
            largest_first = sorted(detectors.detect(frame.image), key=_area, reverse=True)
        faces = tuple(enumerate(largest_first))
    if options.largest and faces:
        faces = (max(faces, key=lambda numbered: _area(numbered[1])),)
    detected, problem = [], None if faces else "no face found"
    for face_id, face in faces:
        try:
            with detectors.timed("aligning faces (threads)"):
                image, place = alignment.align(frame.image, face.landmarks, options.size)
        except alignment.AlignmentError as error:
            problem = f"face {face_id} is left out: {error}"
            continue
        detected.append(DetectedFace(face=face, face_id=face_id, aligned=image, alignment=place))
    return DetectedFrame(frame, tuple(detected), problem)


def _area(face: Face) -> float:
    """Return the area of a face's box, in pixels."""
    return face.box[2] * face.box[3]

"""Finds faces in frames: decoded, detected and aligned on threads of the host, in order, a few frames ahead."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.faces import alignment, detectors, dlib_detector, recognition, tracking
from fgnet_jax.faces.alignment import Alignment
from fgnet_jax.faces.detection import DETECTORS, NUM_LANDMARKS, DetectorError, Face, FaceDetector, NearbyDetector
from fgnet_jax.faces.look_ahead import LookAhead
from fgnet_jax.faces.recognition import Describe
from fgnet_jax.faces.tracking import Track
from fgnet_jax.media.frames import VIDEO_KINDS, Frame
from fgnet_jax.media.prefetch import closing, prefetch

PREFETCH_DEPTH = 2
"""Frames that wait between two stages: not more, since a photograph may take 100 MB."""

NumberedFaces = tuple[tuple[int, int, Face], ...]
"""Faces with their numbers, and the starts of their stretches (`DetectedFace.start`)."""

StageTimer = Callable[[str], contextlib.AbstractContextManager[None]]
"""Returns a context that measures a stage, by its name; entered on any thread."""


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face of a frame, aligned.

    Attributes:
      face: Landmarks, box and confidence in the frame; where the image is an aligned face already, the box is the
        whole image, the confidence 1 and the landmarks NaN.
      face_id: Its number, from 0; in a video, the same from frame to frame for the same face.
      start: In a video, the frame since which it was tracked without a gap: scores of two frames may be smoothed over
        each other where it is the same.
      aligned: (size, size, 3) uint8 RGB.
      alignment: Where the aligned face lies in the frame.
    """

    face: Face
    face_id: int
    aligned: np.ndarray
    alignment: Alignment
    start: int = 0


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
      detector: One of `DETECTORS`.
      min_confidence: Faces of less confidence are left out; None for the detector's default,
        `detection.MIN_CONFIDENCE`.
      predictor: dlib's data file; None for the one that is installed.
      aligned: Whether images are aligned faces already: each is one face, as a whole.
      identities: Whether a person's faces have one number in all of the input, across cuts, videos and images.
      threads: Threads that align faces, and detect them in images; decoding and tracking have one each.
    """

    size: int = alignment.SIZE
    largest: bool = False
    detect_every: int = tracking.DETECT_EVERY
    detector: str = DETECTORS[0]
    min_confidence: float | None = None
    predictor: Path | None = None
    aligned: bool = False
    identities: bool = False
    threads: int = 2

    def describe(self) -> dict[str, Any]:
        """Return these options for the JSON beside a table.

        A resumed run compares them with those of the run before, so the texts stay as they are.
        """
        if self.aligned:
            return {"detector": None, "input": "aligned faces"}
        return {
            **detectors.describe(self.detector, self.min_confidence),
            "landmarks": self.predictor.name if self.predictor else dlib_detector.PREDICTOR,
            "landmarks_licence": dlib_detector.LICENCE,
            "faces": "the largest" if self.largest else "all",
            "detect_every": self.detect_every,
            "in_between": tracking.describe(
                recognises=recognition.find_network(self.predictor) is not None, keeps_people=self.identities
            )
            | detectors.describe_tracking(self.detector),
            "alignment": f"FFHQ, {self.size}x{self.size}",
        }


def find(
    frames: Iterator[Frame], options: FinderOptions, timed: StageTimer = lambda stage: contextlib.nullcontext()
) -> Generator[DetectedFrame, None, None]:
    """Find and align the faces of all frames.

    In frames that are done (`Frame.is_done`), faces are tracked, but the frames are left out of the result. Without
    the recognition network (`recognition.find_network`), faces keep their numbers by overlap alone. Threads end when
    the returned iterator ends or is closed; an exception in a thread is raised by that iterator.

    Args:
      frames: From `frames.read`; closed with the returned iterator.
      options: How faces are found.
      timed: Measures each detection, and each face's alignment.

    Raises:
      DetectorError: dlib or its predictor is missing; at once, before the first frame is read.
    """
    if options.aligned:
        return prefetch(take_aligned(prefetch(frames, PREFETCH_DEPTH), options), PREFETCH_DEPTH)
    use = load(options, timed)
    tracked = _track(prefetch(frames, PREFETCH_DEPTH), options, use)
    return prefetch(_align(prefetch(tracked, PREFETCH_DEPTH), options, use), PREFETCH_DEPTH)


@dataclasses.dataclass(frozen=True)
class Detectors:
    """What finds faces, and what measures it.

    Attributes:
      detect: Detects all faces.
      nearby: Detects one where it is expected.
      describe: Tells people apart; None where that is not installed.
      timed: Measures a stage.
    """

    detect: FaceDetector
    nearby: NearbyDetector
    describe: Describe | None
    timed: StageTimer


def load(options: FinderOptions, timed: StageTimer) -> Detectors:
    """Load what finds faces.

    Raises:
      DetectorError: dlib, its predictor, or what else the options need, is missing.
    """
    predictor = dlib_detector.find_predictor(options.predictor)
    detect, nearby = detectors.load(options.detector, predictor, options.min_confidence)
    return Detectors(detect, nearby, _describe(options), timed)


def take_aligned(frames: Iterator[Frame], options: FinderOptions) -> Iterator[DetectedFrame]:
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


def _describe(options: FinderOptions) -> Describe | None:
    """Load what tells people apart; None where it is not installed.

    Raises:
      DetectorError: It is needed, and not installed.
    """
    network = recognition.find_network(options.predictor)
    if network is None and options.identities:
        raise DetectorError(f"people cannot be told apart: {recognition.MISSING}")
    return None if network is None else recognition.load(network)


def _track(
    frames: Iterator[Frame], options: FinderOptions, use: Detectors
) -> Iterator[tuple[Frame, NumberedFaces | None]]:
    """Find the faces of videos' frames; gives None for images whose faces can be detected in parallel."""
    track, source = Track(), None
    ahead = LookAhead(frames, options.detect_every, _timed_detector(use))
    with contextlib.closing(ahead.frames()) as read:
        for frame in read:
            is_image = frame.source.kind not in VIDEO_KINDS
            if frame.source is not source or is_image:
                track, source = track.next_source() if options.identities else Track(), frame.source
            if is_image and not options.identities:
                yield frame, None
            elif frame.image is None:
                yield frame, ()
            else:
                with use.timed("finding faces (threads)"):
                    track = _follow(track, frame.image, options, dataclasses.replace(use, detect=ahead.detect))
                yield frame, tuple((tracked.face_id, tracked.start, tracked.face) for tracked in track.faces)
                ahead.expect(track.since)


def _timed_detector(use: Detectors) -> FaceDetector:
    """Return the detector of whole images, measured on whatever thread it runs."""

    def detect(image: np.ndarray) -> list[Face]:
        with use.timed("finding faces (threads)"):
            return use.detect(image)

    return detect


def _follow(track: Track, image: np.ndarray, options: FinderOptions, use: Detectors) -> Track:
    """Track faces by one frame."""
    return tracking.follow(
        track,
        image,
        use.detect,
        use.nearby,
        every=options.detect_every,
        describe=use.describe,
        keep_people=options.identities,
    )


def _align(
    tracked: Iterator[tuple[Frame, NumberedFaces | None]], options: FinderOptions, use: Detectors
) -> Iterator[DetectedFrame]:
    """Align the faces of all frames, several frames at once, in order."""
    waiting: collections.deque[Future[DetectedFrame]] = collections.deque()
    with ThreadPoolExecutor(options.threads, "fgnet_jax align") as pool, closing(tracked):
        for frame, faces in tracked:
            if frame.is_done:
                continue
            waiting.append(pool.submit(align_faces, frame, faces, options, use))
            if len(waiting) > options.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def align_faces(frame: Frame, faces: NumberedFaces | None, options: FinderOptions, use: Detectors) -> DetectedFrame:
    """Align the faces of a frame, after detecting them where `faces` is None."""
    if frame.image is None:
        return DetectedFrame(frame, (), frame.problem)
    if faces is None:
        with use.timed("finding faces (threads)"):
            largest_first = sorted(use.detect(frame.image), key=_area, reverse=True)
        faces = tuple((k, 0, face) for k, face in enumerate(largest_first))
    if options.largest and faces:
        faces = (max(faces, key=lambda numbered: _area(numbered[-1])),)
    detected, problem = [], None if faces else "no face found"
    for face_id, start, face in faces:
        try:
            with use.timed("aligning faces (threads)"):
                image, place = alignment.align(frame.image, face.landmarks, options.size)
        except alignment.AlignmentError as error:
            problem = f"face {face_id} is left out: {error}"
            continue
        detected.append(DetectedFace(face=face, face_id=face_id, aligned=image, alignment=place, start=start))
    return DetectedFrame(frame, tuple(detected), problem)


def _area(face: Face) -> float:
    """Return the area of a face's box, in pixels."""
    return face.box[2] * face.box[3]

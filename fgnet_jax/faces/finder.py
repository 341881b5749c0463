"""Faces in frames: decoded, detected and aligned on threads of the host, in order, a few frames ahead of who asks."""

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
from fgnet_jax.media import images
from fgnet_jax.media.frames import MOVING, Frame
from fgnet_jax.media.prefetch import closing, prefetch

AHEAD = 2
"""Frames that wait between two stages: few, since a photograph may take a hundred megabytes."""

NumberedFaces = tuple[tuple[int, Face], ...]
"""Faces with their numbers."""

StageTimer = Callable[[str], contextlib.AbstractContextManager[None]]
"""Told what begins and ends, on whichever thread."""


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face, cut out.

    Attributes:
      face: Landmarks, box and confidence in the frame; of an image that is an aligned face already, its box is the
        image, its confidence 1 and its landmarks NaN.
      face_id: From 0; in a video, the same from frame to frame for the same face.
      aligned: (size, size, 3) uint8 RGB.
      alignment: Where that lies in the frame.
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
      faces: By `face_id`; none where `problem` says why.
      problem: Why there is no face, what is wrong with the frame or that none was found; or why one that was found
        beside others is not among them.
    """

    frame: Frame
    faces: tuple[DetectedFace, ...]
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class FinderOptions:
    """How faces are looked for.

    Attributes:
      size: Side of an aligned face.
      largest: Only the largest face of a frame.
      detect_every: In videos, the detector looks at the whole frame every so many frames; in between, faces are
        followed.
      predictor: dlib's data file; None for the one that is installed.
      aligned: Images are aligned faces already: each is one face, whole.
      threads: That align faces, and find them in images; decoding and following have one each.
    """

    size: int = alignment.SIZE
    largest: bool = False
    detect_every: int = tracking.DETECT_EVERY
    predictor: Path | None = None
    aligned: bool = False
    threads: int = 2

    def describe(self) -> dict[str, Any]:
        """What a table's JSON says about it."""
        if self.aligned:
            return {"detector": None, "input": "aligned faces"}
        return {
            "detector": "dlib's frontal face detector",
            "landmarks": self.predictor.name if self.predictor else dlib_detector.PREDICTOR,
            "landmarks_licence": dlib_detector.LICENCE,
            "enlarged": "twice; images above 2 megapixels less, those above 8 are shrunk to them",
            "faces": "the largest" if self.largest else "all",
            "detect_every": self.detect_every,
            "in_between": tracking.describe(),
            "alignment": f"FFHQ, {self.size}x{self.size}",
        }


def find(
    frames: Iterator[Frame], how: FinderOptions, timed: StageTimer = lambda stage: contextlib.nullcontext()
) -> Generator[DetectedFrame, None, None]:
    """Finds the faces of all frames.

    Frames that are done (`Frame.is_done`) are followed and not given. Threads end when the iterator that is returned
    ends or is closed; what they raise is raised there.

    Args:
      frames: From `frames.read`; closed with the rest.
      how: The options.
      timed: Around each search for faces, and around each face's alignment.

    Raises:
      DetectorError: dlib or its predictor is not there; before the first frame is asked for.
    """
    if how.aligned:
        return prefetch(_whole(prefetch(frames, AHEAD), how), AHEAD)
    predictor = dlib_detector.find_predictor(how.predictor)
    eyes = _Detectors(dlib_detector.load(predictor), dlib_detector.load_nearby(predictor), timed)
    followed = _followed(prefetch(frames, AHEAD), how, eyes)
    return prefetch(_aligned(prefetch(followed, AHEAD), how, eyes), AHEAD)


@dataclasses.dataclass(frozen=True)
class _Detectors:
    detect: FaceDetector
    nearby: NearbyDetector
    timed: StageTimer


def _whole(frames: Iterator[Frame], how: FinderOptions) -> Iterator[DetectedFrame]:
    """Frames that are aligned faces."""
    with closing(frames):
        for frame in frames:
            if not frame.is_done:
                yield _whole_face(frame, how)


def _whole_face(frame: Frame, how: FinderOptions) -> DetectedFrame:
    if frame.image is None:
        return DetectedFrame(frame, (), frame.problem)
    try:
        face = images.as_aligned(frame.image, how.size)
    except images.ImageError as error:
        return DetectedFrame(frame, (), str(error))
    side = frame.image.shape[0]
    nowhere = np.full((NUM_LANDMARKS, 2), np.nan, np.float32)
    known = Face(nowhere, (0.0, 0.0, float(side), float(side)), 1.0)
    return DetectedFrame(frame, (DetectedFace(known, 0, face, alignment.whole(side, how.size)),))


def _followed(
    frames: Iterator[Frame], how: FinderOptions, eyes: _Detectors
) -> Iterator[tuple[Frame, NumberedFaces | None]]:
    """The faces of moving images, by number; None of others, which need not wait for each other."""
    track, source = tracking.Track(), None
    with closing(frames):
        for frame in frames:
            if frame.source is not source:
                track, source = tracking.Track(), frame.source
            if frame.source.kind not in MOVING:
                yield frame, None
            elif frame.image is None:
                yield frame, ()
            else:
                with eyes.timed("finding faces (threads)"):
                    track = tracking.follow(track, frame.image, eyes.detect, eyes.nearby, how.detect_every)
                yield frame, tuple((one.face_id, one.face) for one in track.faces)


def _aligned(
    followed: Iterator[tuple[Frame, NumberedFaces | None]], how: FinderOptions, eyes: _Detectors
) -> Iterator[DetectedFrame]:
    waiting: collections.deque[Future[DetectedFrame]] = collections.deque()
    with ThreadPoolExecutor(how.threads, "fgnet_jax align") as pool, closing(followed):
        for frame, faces in followed:
            if frame.is_done:
                continue
            waiting.append(pool.submit(_cut_out, frame, faces, how, eyes))
            if len(waiting) > how.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cut_out(frame: Frame, faces: NumberedFaces | None, how: FinderOptions, eyes: _Detectors) -> DetectedFrame:
    """A frame with its aligned faces; looks for them where nobody has."""
    if frame.image is None:
        return DetectedFrame(frame, (), frame.problem)
    if faces is None:
        with eyes.timed("finding faces (threads)"):
            largest_first = sorted(eyes.detect(frame.image), key=_area, reverse=True)
        faces = tuple(enumerate(largest_first))
    if how.largest and faces:
        faces = (max(faces, key=lambda one: _area(one[1])),)
    cut, problem = [], None if faces else "no face found"
    for face_id, face in faces:
        try:
            with eyes.timed("aligning faces (threads)"):
                image, lie = alignment.align(frame.image, face.landmarks, how.size)
        except alignment.AlignmentError as error:
            problem = f"face {face_id} is left out: {error}"
            continue
        cut.append(DetectedFace(face, face_id, image, lie))
    return DetectedFrame(frame, tuple(cut), problem)


def _area(face: Face) -> float:
    return face.box[2] * face.box[3]

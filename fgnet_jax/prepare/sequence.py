"""Prepares one sequence: reads its frames, detects and aligns the faces, encodes them, chunk by chunk."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fgnet_jax.data import jpeg
from fgnet_jax.faces import alignment, detection, detectors, landmark_files
from fgnet_jax.faces.detection import Face, LargestDetector
from fgnet_jax.media import animations, images, video
from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import LabelledSequence, Problem

PUBLISHED_DETECTOR = "dlib"
"""The detector that FG-Net's authors prepared BP4D and DISFA with: the default, so that datasets are as published."""

CHUNK = 200
"""Frames per chunk: at most so many are prepared again after a stop."""

SEARCHES = ("all", "largest")
"""How a detector searches an image: as it does for all faces, or no further than to its largest face."""

AGAIN, CARRIED = "again", "carried"
"""Where the landmarks of an aligned face are from: detected again on it, or carried over from the image."""


@dataclasses.dataclass(frozen=True)
class PrepareSettings:
    """How faces are prepared.

    Attributes:
      predictor: dlib's data file; None if no detector is used.
      landmarks: Folder of landmarks on disk, instead of detection; None to detect them.
      root: The folder whose paths `landmarks` mirrors.
      aligned_landmarks: `AGAIN` or `CARRIED`.
      is_aligned: Whether the images are aligned faces already, to be left as they are.
      face_detector: One of `detection.DETECTORS`, with `predictor`.
      search: One of `SEARCHES`.
    """

    predictor: Path | None
    landmarks: Path | None
    root: Path
    aligned_landmarks: str
    is_aligned: bool = False
    face_detector: str = PUBLISHED_DETECTOR
    search: str = SEARCHES[0]

    def detector(self) -> LargestDetector | None:
        """Return the detector of an image's largest face, loaded once per process; None if none is used.

        dlib's gives every face that it finds, however uncertain, as in the published preparation.
        """
        if self.predictor is None:
            return None
        least = 0.0 if self.face_detector == PUBLISHED_DETECTOR else None
        if self.search == "largest":
            return detectors.load_largest(self.face_detector, self.predictor, least)
        detect = detectors.load(self.face_detector, self.predictor, least)[0]
        return lambda image: detection.largest(detect(image))


@dataclasses.dataclass(frozen=True)
class LabelledFrame:
    """A labelled frame.

    Attributes:
      row: Its row in the sequence's labels.
      number: Its number in the sequence.
      image: (height, width, 3) uint8; None where there is none.
      path: Its file, or the video's; None where there is none.
      reason: Why there is no image.
      is_as_stored: Whether its pixels are those that the file stores: not turned, mirrored, or made square.
    """

    row: int
    number: int
    image: np.ndarray | None
    path: Path | None = None
    reason: str = ""
    is_as_stored: bool = True


@dataclasses.dataclass(frozen=True)
class PreparedFace:
    """A face, ready to be stored.

    Attributes:
      row: Its row in the sequence's labels.
      image: Encoded image, 256x256.
      landmarks: (68, 2) float32, in pixels of it.
      distance: Mean distance of the landmarks detected again from those carried over, in inter-ocular distances; NaN
        where only one of them is known.
    """

    row: int
    image: bytes
    landmarks: np.ndarray
    distance: float


FrameCounter = Callable[[int], None]
"""Called with the number of further frames that are done."""


def process(sequence: LabelledSequence, settings: PrepareSettings, folder: Path, count_frames: FrameCounter) -> None:
    """Prepare a sequence into chunks in `folder`; continues after those that exist.

    Args:
      sequence: The sequence.
      settings: How faces are prepared.
      folder: Folder of the sequence's chunks.
      count_frames: Called first with the number of frames done before, then after each frame.
    """
    number, is_done = chunks.done(folder)
    first = min(number * CHUNK, len(sequence.frames))
    count_frames(len(sequence.frames) if is_done else first)
    if is_done:
        return
    end_problems: list[Problem] = []
    frames = _frames(sequence, first, end_problems)
    find_face = _face_lookup(sequence, settings)
    results: list[PreparedFace | Problem] = []
    frame = next(frames, None)
    while frame is not None:
        results.append(_prepare(frame, sequence, settings, find_face))
        count_frames(1)
        frame = next(frames, None)  # up to the end, which fills `end_problems`, before the last chunk is written
        if len(results) == CHUNK and frame is not None:
            chunks.save(folder, number, _chunk(results, []), is_last=False)
            number, results = number + 1, []
    chunks.save(folder, number, _chunk(results, end_problems), is_last=True)


def _chunk(results: list[PreparedFace | Problem], end_problems: list[Problem]) -> chunks.Chunk:
    """Build a chunk of frames' results and the problems at the sequence's end."""
    faces = [item for item in results if isinstance(item, PreparedFace)]
    problems = [item for item in results if isinstance(item, Problem)]
    return chunks.Chunk(
        rows=np.array([face.row for face in faces], np.int32),
        landmarks=np.array([face.landmarks for face in faces], np.float32).reshape(-1, detection.NUM_LANDMARKS, 2),
        distances=np.array([face.distance for face in faces], np.float32),
        images=[face.image for face in faces],
        problems=[*problems, *end_problems],
    )


def _frames(sequence: LabelledSequence, first: int, end_problems: list[Problem]) -> Iterator[LabelledFrame]:
    """Read the labelled frames from row `first` on; problems at the sequence's end are added to `end_problems`."""
    if sequence.video is not None:
        yield from _video_frames(sequence, sequence.video, first, end_problems)
        return
    for row in range(first, len(sequence.frames)):
        number = int(sequence.frames[row])
        path = sequence.images.get(number)
        if path is None or not path.exists():
            reason = f"{path}: not there" if path else ""
            yield LabelledFrame(row=row, number=number, image=None, reason=reason)
            continue
        image, reason = _one_image(path)
        yield LabelledFrame(row=row, number=number, image=image, path=path, reason=reason)


def _one_image(path: Path) -> tuple[np.ndarray | None, str]:
    """Read a file of one image, or return why it cannot be: a row has one, and does not say which of several it is."""
    if kind := animations.kind_of(path):
        several = "a file of several pages" if kind == "pages" else "an animation"
        return None, f"{several}: each row needs a file of one image; write its images to a file each first"
    try:
        return images.read(path), ""
    except images.ImageError as error:
        if not video.is_video(path):
            return None, str(error)
    return None, "a video: each row needs a file of one image; extract its frames first (ffmpeg -i VIDEO %06d.png)"


def _video_frames(
    sequence: LabelledSequence, path: Path, first: int, end_problems: list[Problem]
) -> Iterator[LabelledFrame]:
    """Read the labelled frames of a video; see `_frames`."""
    rows = {int(number): row for row, number in enumerate(sequence.frames)}
    start = int(sequence.frames[first]) if first < len(sequence.frames) else int(sequence.frames[-1]) + 1
    last, unlabelled = start - 1, []
    try:
        for frame in video.read(path, start, threads=1):
            if not frame.is_certain:
                end_problems += _rest(sequence, path, frame.number)
                return
            last = frame.number
            if last not in rows:
                unlabelled.append(last)
                continue
            reason = "damaged or lost frame; later ones keep their own labels" if frame.image is None else ""
            yield LabelledFrame(
                row=rows[last],
                number=last,
                image=frame.image,
                path=path,
                reason=reason,
                is_as_stored=video.is_as_stored(frame),
            )
    except video.VideoError as error:
        missing = [number for number in rows if number > last]
        if missing:
            where = records.span(sequence.key, missing)
            end_problems.append(
                Problem(kind=records.UNREADABLE, where=where, detail=f"{path}: {error}", count=len(missing))
            )
        return
    end_problems += _count_problems(sequence, path, last, unlabelled)


def _rest(sequence: LabelledSequence, path: Path, first: int) -> list[Problem]:
    """Return the problem of a video from frame `first` on of which the labels are not known, for damage before it."""
    numbers = [number for number in sequence.frames.tolist() if number >= first]
    detail = (
        f"{path}: damaged, or joined from several recordings, and an unknown number of frames is lost here: "
        "the rest of the sequence is left out"
    )
    return [Problem(records.LOST, records.span(sequence.key, numbers), detail, len(numbers))] if numbers else []


def _count_problems(sequence: LabelledSequence, path: Path, last: int, unlabelled: list[int]) -> list[Problem]:
    """Return the problems of a video and labels of different lengths; frame k belongs to line k nevertheless."""
    missing = [int(number) for number in sequence.frames if number > last]
    if not missing and not unlabelled:
        return []
    detail = f"{path.name} has {last} frames, {len(sequence.frames)} label lines"
    problems = [
        Problem(kind=records.FRAME_COUNT, where=sequence.key, detail=detail, count=len(missing) + len(unlabelled))
    ]
    for kind, numbers in ((records.NO_IMAGE, missing), (records.NO_LABEL, unlabelled)):
        if numbers:
            problems.append(Problem(kind, records.span(sequence.key, numbers), count=len(numbers)))
    return problems


_NOT_AS_STORED = (
    "landmarks from a file, for a video that is shown turned, mirrored, or with other proportions than it is stored "
    "with: convert it first (ffmpeg -i OLD -vf scale=iw*sar:ih,setsar=1 NEW), with landmarks in the new one's pixels"
)

FaceLookup = Callable[[LabelledFrame], Face | str]
"""Returns the face of a frame, or why there is none."""


def _face_lookup(sequence: LabelledSequence, settings: PrepareSettings) -> FaceLookup:
    """Return the source of a sequence's faces: landmarks on disk where a folder of them is given, else the detector."""
    if settings.landmarks is None:
        detect = settings.detector()
        assert detect is not None
        return lambda frame: detect(_image(frame)) or "no face found"
    of_video = None
    if sequence.video is not None:
        of_video = landmark_files.read_or_reason(
            landmark_files.mirrored(settings.landmarks, settings.root, sequence.video)
        )

    def find_face(frame: LabelledFrame) -> Face | str:
        if isinstance(of_video, str):
            return of_video
        if of_video is not None and not frame.is_as_stored:
            return _NOT_AS_STORED
        if of_video is not None:
            is_known = frame.number <= len(of_video) and of_video.ndim == 3
            return (detection.from_landmarks(of_video[frame.number - 1]) if is_known else None) or "no landmarks"
        assert frame.path is not None and settings.landmarks is not None
        points = landmark_files.read_or_reason(landmark_files.mirrored(settings.landmarks, settings.root, frame.path))
        if isinstance(points, str):
            return points
        if points.shape != (detection.NUM_LANDMARKS, 2):
            return f"landmarks of shape {points.shape}: expected (68, 2)"
        return detection.from_landmarks(points) or "no landmarks"

    return find_face


def _image(frame: LabelledFrame) -> np.ndarray:
    """Return the image of a frame that has one."""
    assert frame.image is not None
    return frame.image


def _prepare(
    frame: LabelledFrame, sequence: LabelledSequence, settings: PrepareSettings, find_face: FaceLookup
) -> PreparedFace | Problem:
    """Prepare the face of a frame, or return why there is none."""
    where = f"{sequence.key} frame {frame.number}"
    if frame.path is None:
        return Problem(records.NO_IMAGE, where, frame.reason)
    if frame.image is None:
        return Problem(records.UNREADABLE, where, f"{frame.path}: {frame.reason}")
    face = find_face(frame)
    if isinstance(face, str):
        return Problem(records.NO_FACE, where, face)
    try:
        if settings.is_aligned:  # even if the landmarks give a slightly different square
            image, place = alignment.keep_aligned(frame.image)
        else:
            image, place = alignment.align(frame.image, face.landmarks)
    except alignment.AlignmentError as error:
        return Problem(records.NO_FACE, where, str(error))
    carried = place.to_aligned(face.landmarks).astype(np.float32)
    detect = settings.detector()
    again = detect(image) if detect else None
    if again is None and settings.aligned_landmarks == AGAIN:
        return Problem(records.NO_FACE, where, "no face found on the aligned face")
    return PreparedFace(
        row=frame.row,
        image=_original_file(frame, image) or jpeg.encode(image),
        landmarks=again.landmarks if again and settings.aligned_landmarks == AGAIN else carried,
        distance=detection.distance(again.landmarks, carried) if again else np.nan,
    )


def _original_file(frame: LabelledFrame, image: np.ndarray) -> bytes | None:
    """Return the file of an image that was aligned already, if it is a JPEG that needs no change; else None."""
    if image is not frame.image or frame.path is None or frame.path.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    with Image.open(frame.path) as opened:
        is_plain = opened.format == "JPEG" and opened.mode == "RGB" and opened.getexif().get(0x0112, 1) == 1
    return frame.path.read_bytes() if is_plain else None

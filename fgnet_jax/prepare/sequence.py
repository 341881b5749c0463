"""One sequence's work: read its frames, find and align the faces, encode them, chunk by chunk."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fgnet_jax.data import jpeg
from fgnet_jax.faces import alignment, detection, dlib_detector, landmark_files
from fgnet_jax.faces.detection import Face, FaceDetector
from fgnet_jax.media import images, video
from fgnet_jax.prepare import chunks
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import LabelledSequence, Problem

CHUNK = 200
"""Frames of a chunk: at most so many are done again after a stop."""

AGAIN, CARRIED = "again", "carried"
"""Where the landmarks of an aligned face come from: detected on it again, or carried over from the image."""


@dataclasses.dataclass(frozen=True)
class PrepareSettings:
    """How faces are prepared.

    Attributes:
      predictor: dlib's data file; None where there is no detector.
      landmarks: Folder of landmarks on disk, in place of detection; None to detect.
      root: The folder whose paths `landmarks` mirrors.
      aligned_landmarks: `AGAIN` or `CARRIED`.
      is_aligned: Whether the images are aligned faces already, to be left as they are.
    """

    predictor: Path | None
    landmarks: Path | None
    root: Path
    aligned_landmarks: str
    is_aligned: bool = False

    def detector(self) -> FaceDetector | None:
        """dlib's detector, loaded once a process."""
        return dlib_detector.load(self.predictor) if self.predictor else None


@dataclasses.dataclass(frozen=True)
class LabelledFrame:
    """A labelled frame.

    Attributes:
      row: In the sequence's labels.
      number: Of the frame.
      image: (height, width, 3) uint8; None where there is none.
      path: Its file, or the video's; None where there is none.
      reason: Why there is no image.
    """

    row: int
    number: int
    image: np.ndarray | None
    path: Path | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class PreparedFace:
    """A face, ready to be stored."""

    row: int
    image: bytes
    landmarks: np.ndarray
    apart: float


FrameCounter = Callable[[int], None]
"""Is told of frames that are done."""


def process(sequence: LabelledSequence, settings: PrepareSettings, folder: Path, tick: FrameCounter) -> None:
    """Prepares a sequence into chunks in `folder`, going on after those that are there."""
    count, is_done = chunks.done(folder)
    first = min(count * CHUNK, len(sequence.frames))
    tick(len(sequence.frames) if is_done else first)
    if is_done:
        return
    ends: list[Problem] = []
    shots = _shots(sequence, first, ends)
    find = _finder(sequence, settings)
    made: list[PreparedFace | Problem] = []
    shot = next(shots, None)
    while shot is not None:
        made.append(_prepare(shot, sequence, settings, find))
        tick(1)
        shot = next(shots, None)  # runs to the end, where `ends` is filled, before the last chunk is written
        if len(made) == CHUNK and shot is not None:
            chunks.save(folder, count, _chunk(made, []), is_last=False)
            count, made = count + 1, []
    chunks.save(folder, count, _chunk(made, ends), is_last=True)


def _chunk(made: list[PreparedFace | Problem], ends: list[Problem]) -> chunks.Chunk:
    faces = [item for item in made if isinstance(item, PreparedFace)]
    problems = [item for item in made if isinstance(item, Problem)]
    return chunks.Chunk(
        np.array([face.row for face in faces], np.int32),
        np.array([face.landmarks for face in faces], np.float32).reshape(-1, detection.NUM_LANDMARKS, 2),
        np.array([face.apart for face in faces], np.float32),
        [face.image for face in faces],
        [*problems, *ends],
    )


def _shots(sequence: LabelledSequence, first: int, ends: list[Problem]) -> Iterator[LabelledFrame]:
    """Labelled frames from row `first` on; what is wrong at the end is put into `ends`."""
    if sequence.video is not None:
        yield from _video_shots(sequence, sequence.video, first, ends)
        return
    for row in range(first, len(sequence.frames)):
        number = int(sequence.frames[row])
        path = sequence.images.get(number)
        if path is None or not path.exists():
            yield LabelledFrame(row, number, None, None, f"{path}: not there" if path else "")
            continue
        try:
            yield LabelledFrame(row, number, images.read(path), path)
        except images.ImageError as error:
            yield LabelledFrame(row, number, None, path, str(error))


def _video_shots(sequence: LabelledSequence, path: Path, first: int, ends: list[Problem]) -> Iterator[LabelledFrame]:
    rows = {int(number): row for row, number in enumerate(sequence.frames)}
    start = int(sequence.frames[first]) if first < len(sequence.frames) else int(sequence.frames[-1]) + 1
    last, extra = start - 1, []
    try:
        for frame in video.read(path, start, threads=1):
            last = frame.number
            if last not in rows:
                extra.append(last)
                continue
            reason = "damaged frame" if frame.image is None else ""
            yield LabelledFrame(rows[last], last, frame.image, path, reason)
    except video.VideoError as error:
        left = [number for number in rows if number > last]
        if left:
            where = records.span(sequence.key, left)
            ends.append(Problem(records.UNREADABLE, where, f"{path}: {error}", len(left)))
        return
    ends += _count_problems(sequence, path, last, extra)


def _count_problems(sequence: LabelledSequence, path: Path, last: int, extra: list[int]) -> list[Problem]:
    """Where the video and the labels are not equally long: the k-th frame belongs to line k all the same."""
    left = [int(number) for number in sequence.frames if number > last]
    if not left and not extra:
        return []
    detail = f"{path.name} has {last} frames, {len(sequence.frames)} label lines"
    problems = [Problem(records.FRAME_COUNT, sequence.key, detail, len(left) + len(extra))]
    for kind, numbers in ((records.NO_IMAGE, left), (records.NO_LABEL, extra)):
        if numbers:
            problems.append(Problem(kind, records.span(sequence.key, numbers), count=len(numbers)))
    return problems


FaceLookup = Callable[[LabelledFrame], Face | str]
"""The face of a shot, or why there is none."""


def _finder(sequence: LabelledSequence, settings: PrepareSettings) -> FaceLookup:
    """Landmarks on disk where a folder of them is given, else the detector."""
    if settings.landmarks is None:
        detect = settings.detector()
        assert detect is not None
        return lambda shot: detection.largest(detect(_image(shot))) or "no face found"
    of_video = None
    if sequence.video is not None:
        of_video = landmark_files.read_or_reason(
            landmark_files.mirrored(settings.landmarks, settings.root, sequence.video)
        )

    def find(shot: LabelledFrame) -> Face | str:
        if isinstance(of_video, str):
            return of_video
        if of_video is not None:
            known = shot.number <= len(of_video) and of_video.ndim == 3
            return (detection.from_landmarks(of_video[shot.number - 1]) if known else None) or "no landmarks"
        assert shot.path is not None and settings.landmarks is not None
        points = landmark_files.read_or_reason(landmark_files.mirrored(settings.landmarks, settings.root, shot.path))
        if isinstance(points, str):
            return points
        if points.shape != (detection.NUM_LANDMARKS, 2):
            return f"landmarks of shape {points.shape}: expected (68, 2)"
        return detection.from_landmarks(points) or "no landmarks"

    return find


def _image(shot: LabelledFrame) -> np.ndarray:
    assert shot.image is not None
    return shot.image


def _prepare(
    shot: LabelledFrame, sequence: LabelledSequence, settings: PrepareSettings, find: FaceLookup
) -> PreparedFace | Problem:
    """The aligned face of a shot, or why there is none."""
    where = f"{sequence.key} frame {shot.number}"
    if shot.path is None:
        return Problem(records.NO_IMAGE, where, shot.reason)
    if shot.image is None:
        return Problem(records.UNREADABLE, where, f"{shot.path}: {shot.reason}")
    face = find(shot)
    if isinstance(face, str):
        return Problem(records.NO_FACE, where, face)
    try:
        if settings.is_aligned:  # whatever slightly different square the landmarks would ask for
            image, lie = alignment.as_it_is(shot.image)
        else:
            image, lie = alignment.align(shot.image, face.landmarks)
    except alignment.AlignmentError as error:
        return Problem(records.NO_FACE, where, str(error))
    carried = lie.to_aligned(face.landmarks).astype(np.float32)
    detect = settings.detector()
    again = detection.largest(detect(image)) if detect else None
    if again is None and settings.aligned_landmarks == AGAIN:
        return Problem(records.NO_FACE, where, "no face found on the aligned face")
    apart = detection.distance(again.landmarks, carried) if again else np.nan
    chosen = again.landmarks if again and settings.aligned_landmarks == AGAIN else carried
    encoded = _as_it_is(shot, image) or jpeg.encode(image)
    return PreparedFace(shot.row, encoded, chosen, apart)


def _as_it_is(shot: LabelledFrame, image: np.ndarray) -> bytes | None:
    """The file of an image that was aligned already, if it is a JPEG that needs no change; else None."""
    if image is not shot.image or shot.path is None or shot.path.suffix.lower() not in (".jpg", ".jpeg"):
        return None
    with Image.open(shot.path) as opened:
        is_plain = opened.format == "JPEG" and opened.mode == "RGB" and opened.getexif().get(0x0112, 1) == 1
    return shot.path.read_bytes() if is_plain else None

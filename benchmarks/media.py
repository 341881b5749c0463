"""Video: the error of tracked landmarks, and how many frames per second are decoded and aligned."""

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, detectors, dlib_detector, finder, tracking
from fgnet_jax.faces.detection import DETECTORS
from fgnet_jax.media import frames, sources
from tests import miniature

SIZE = (640, 480)
"""Width and height of the videos."""

EVERY = (1, 2, 5, 10, 20, 40)
"""Frames from one detection to the next."""

_PERIOD = 60.0
"""Frames of a swing: up to 7 pixels, 1 degree and 2 % of its size from frame to frame."""


@dataclasses.dataclass(frozen=True, eq=False)
class FaceVideo:
    """A video of a moving face.

    Attributes:
      name: Where the face is from.
      images: Frames (height, width, 3) uint8.
      landmarks: The face's exact landmarks (frames, 68, 2).
    """

    name: str
    images: Sequence[np.ndarray]
    landmarks: np.ndarray


def videos(count: int) -> list[FaceVideo]:
    """Create videos of `count` frames: of a photograph (scikit-image's astronaut), and of each synthetic corpus."""
    from skimage import data

    photo = data.astronaut()
    enlarged = np.asarray(miniature.Image.fromarray(photo).resize((1024, 1024)))
    face = detection.largest(dlib_detector.load(dlib_detector.find_predictor())(enlarged))
    assert face is not None
    videos = [_video("photograph", photo, (face.landmarks - 0.5) / 2, 1.0, count)]
    for name in ("synthetic_bp4d", "synthetic_disfa"):
        images, landmarks, _ = random_faces(name, 3, seed=3)
        videos.append(_video(name, images[0], landmarks[0], 0.9, count))
    return videos


def _video(name: str, image: np.ndarray, points: np.ndarray, scale: float, count: int) -> FaceVideo:
    """Move an image with landmarks `points` for `count` frames."""
    import cv2

    images, landmarks = [], []
    for k in range(count):
        matrix = _motion(points.mean(0), scale, 2 * np.pi * k / _PERIOD)
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        images.append(cv2.warpAffine(image, matrix, SIZE, flags=flags, borderMode=cv2.BORDER_REPLICATE))
        landmarks.append(points @ matrix[:, :2].T + matrix[:, 2])
    return FaceVideo(name, images, np.array(landmarks))


def _motion(middle: np.ndarray, scale: float, phase: float) -> np.ndarray:
    """Compute the (2, 3) matrix that moves the face's centre along a lying eight in the frame, rotated and scaled."""
    angle, factor = np.deg2rad(10) * np.sin(phase), scale * (1 + 0.2 * np.sin(0.7 * phase))
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = np.array(SIZE) / 2 + (65 * np.sin(phase), 25 * np.sin(2 * phase))
    return np.concatenate([turn, (place - turn @ middle)[:, None]], 1)


@dataclasses.dataclass(frozen=True)
class TrackingError:
    """Error and time of tracking the face of a video.

    Attributes:
      video: Name of the video.
      every: Frames from one detection to the next.
      missed: Frames without a face.
      ids: Number of different faces that the face was taken for.
      error: Mean distance from the exact landmarks, in inter-ocular distances (inner corners of the eyes).
      added: Mean distance from landmarks that are detected in every frame.
      seconds: Seconds per frame.
    """

    video: str
    every: int
    missed: int
    ids: int
    error: float
    added: float
    seconds: float


def track(video: FaceVideo, every: Sequence[int] = EVERY, detector: str = DETECTORS[0]) -> list[TrackingError]:
    """Track the face of a video; the first of `every` is 1, which the others are compared with."""
    detected, rows = {}, []
    for step in every:
        begin = time.perf_counter()
        tracked = _track(video, step, detector)
        seconds = (time.perf_counter() - begin) / len(video.images)
        detected = detected or tracked
        points = {k: face.face.landmarks for k, face in tracked.items()}
        errors = [detection.distance(points[k], video.landmarks[k]) for k in points]
        added = [detection.distance(points[k], detected[k].face.landmarks) for k in points if k in detected]
        row = TrackingError(
            video=video.name,
            every=step,
            missed=len(video.images) - len(tracked),
            ids=len({face.face_id for face in tracked.values()}),
            error=float(np.mean(errors)),
            added=float(np.mean(added)),
            seconds=seconds,
        )
        rows.append(row)
    return rows


def _track(video: FaceVideo, every: int, detector: str) -> dict[int, tracking.TrackedFace]:
    """Track the face, by frame; faces elsewhere are dropped: now and then the detector takes a badge for one."""
    detect, nearby = detectors.load(detector, dlib_detector.find_predictor())
    track, tracked = tracking.Track(), {}
    for k, image in enumerate(video.images):
        track = tracking.follow(track, image, detect, nearby, every=every)
        near = [face for face in track.faces if detection.distance(face.face.landmarks, video.landmarks[k]) < 1]
        if near:
            tracked[k] = near[0]
    return tracked


def rates(video: FaceVideo, every: int, repeats: int, detector: str = DETECTORS[0]) -> tuple[float, float]:
    """Measure frames per second, and core seconds per frame, from a video file to aligned faces.

    The file repeats the video's frames `repeats` times.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        miniature.write_video(path, [*video.images] * repeats, "libx264", 30)
        options = finder.FinderOptions(detect_every=every, detector=detector)
        detected = finder.find(frames.read(sources.find([str(path)])), options)
        next(detected)  # which loads the models
        begin, begin_core = time.perf_counter(), time.process_time()
        count = sum(1 for _ in detected)
        return count / (time.perf_counter() - begin), (time.process_time() - begin_core) / count


def table(tracked: Sequence[TrackingError], rates: dict[int, tuple[float, float]]) -> str:
    """Format both results."""
    lines = ["landmarks of a moving face, in inter-ocular distances (inner corners of the eyes)"]
    lines.append(f"{'':16}{'detected every':>15}{'missed':>8}{'ids':>5}{'error':>8}{'added':>8}{'ms/frame':>12}")
    for row in tracked:
        cells = f"{row.every:15}{row.missed:8}{row.ids:5}{row.error:8.4f}{row.added:8.4f}{1000 * row.seconds:12.1f}"
        lines.append(f"{row.video:16}{cells}")
    lines.append(f"\nvideo of {SIZE[0]}x{SIZE[1]} to aligned faces")
    for every, (rate, core) in rates.items():
        lines.append(
            f"detected every {every:3} frames: {rate:6.1f} frames per second, {1000 * core:.0f} ms of a core each"
        )
    return "\n".join(lines)

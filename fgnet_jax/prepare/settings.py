"""Settings of a preparation: checked before any work begins, and identified by a fingerprint with the source."""

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax.faces import dlib_detector, landmark_files
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.prepare.layouts.records import CorpusRecords, LabelledSequence, LayoutError
from fgnet_jax.prepare.sequence import AGAIN, CARRIED, PrepareSettings
from fgnet_jax.runtime import files

if TYPE_CHECKING:
    from hashlib import _Hash

_RECIPE = 2
"""Increased when the same source gives other faces than before."""


def settings(
    corpus: CorpusRecords,
    *,
    landmarks: Path | None,
    predictor: Path | None,
    aligned_landmarks: str | None,
    is_aligned: bool = False,
) -> PrepareSettings:
    """Return the settings that the faces of a corpus are prepared with.

    Args:
      corpus: The corpus.
      landmarks: Folder of landmarks on disk; None to detect them.
      predictor: dlib's data file, if named.
      aligned_landmarks: `AGAIN` or `CARRIED`; None for `CARRIED` with landmarks on disk, else `AGAIN`.
      is_aligned: Whether the images are aligned faces already.

    Raises:
      LayoutError: if the folder has no landmarks of the corpus.
      DetectorError: if a detector is needed and not available.
    """
    aligned_landmarks = aligned_landmarks or (CARRIED if landmarks else AGAIN)
    if landmarks:
        _check_landmarks(corpus, landmarks)
    needs_detector = landmarks is None or aligned_landmarks == AGAIN or predictor is not None
    file = dlib_detector.find_predictor(predictor) if needs_detector else None
    if file:
        dlib_detector.load(file)
    return PrepareSettings(
        predictor=file,
        landmarks=landmarks,
        root=corpus.root,
        aligned_landmarks=aligned_landmarks,
        is_aligned=is_aligned,
    )


def _check_landmarks(corpus: CorpusRecords, landmarks: Path) -> None:
    """Refuse a folder that has no landmarks of the corpus at the expected paths."""
    first = None
    for path in media(corpus):
        file = landmark_files.mirrored(landmarks, corpus.root, path)
        first = first or file
        if file.is_file():
            return
    raise LayoutError(f"no landmarks of {corpus.name} are in {landmarks}: looked for {first} and the like")


def media(corpus: CorpusRecords) -> Iterator[Path]:
    """Return the videos of a corpus, and its images that have a label."""
    for sequence in corpus.sequences:
        if sequence.video is not None:
            yield sequence.video
        yield from (sequence.images[n] for n in sequence.frames.tolist() if n in sequence.images)


def check(corpus: CorpusRecords) -> None:
    """Refuse a corpus with nothing to prepare, or that cannot be read without a missing library.

    Raises:
      LayoutError: with the first reasons why there is nothing.
      DetectorError: with what to install.
    """
    if importlib.util.find_spec("cv2") is None:
        raise DetectorError("faces are aligned with OpenCV, which is not installed: pip install 'fgnet_jax[faces]'")
    if any(sequence.video for sequence in corpus.sequences) and importlib.util.find_spec("av") is None:
        raise DetectorError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'")
    if not corpus.sequences:
        reasons = "; ".join(f"{p.where}: {p.kind} {p.detail}".strip() for p in corpus.problems[:3])
        raise LayoutError(f"no sequence of {corpus.name} can be used: {reasons}")


def preparation(corpus: CorpusRecords, chosen: PrepareSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Return how a dataset is prepared, for its metadata: nothing that differs between machines.

    Args:
      corpus: The corpus.
      chosen: How its faces are prepared.
      options: Options of its layout.

    Returns:
      `options`, `recipe`, `detector`, `landmarks`, `aligned_landmarks` and `source`: a fingerprint of all of these, of
      the labels, and of names and sizes of all files that are used.
    """
    values = {
        **options,
        "recipe": _RECIPE,
        "detector": files.sha256(chosen.predictor) if chosen.predictor else None,
        "landmarks": "on disk" if chosen.landmarks else "detected",
        "aligned_landmarks": chosen.aligned_landmarks,
    }
    digest = hashlib.sha256(json.dumps([corpus.name, corpus.aus, values], sort_keys=True).encode())
    for sequence in corpus.sequences:
        _add_sequence(digest, sequence)
    for path in media(corpus):
        _add_file(digest, path, corpus.root)
        if chosen.landmarks:
            _add_file(digest, landmark_files.mirrored(chosen.landmarks, corpus.root, path), chosen.landmarks)
    return values | {"source": digest.hexdigest()}


def _add_sequence(digest: "_Hash", sequence: LabelledSequence) -> None:
    """Add a sequence's labels to a fingerprint."""
    digest.update(f"{sequence.key}:{sequence.fold}".encode())
    for array in (sequence.frames, sequence.labels, sequence.intensities):
        digest.update(array.tobytes())


def _add_file(digest: "_Hash", path: Path, root: Path) -> None:
    """Add a file's name and size to a fingerprint; reading its content would take about as long as preparing it."""
    size = path.stat().st_size if path.is_file() else -1
    digest.update(f"{os.path.relpath(path, root)}:{size}".encode("utf-8", "surrogateescape"))

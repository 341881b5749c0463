"""Settings of a preparation: checked before any work begins, and identified by a fingerprint with the source."""

import concurrent.futures
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgnet_jax.faces import dlib_detector, landmark_files, yunet
from fgnet_jax.faces.detection import DetectorError
from fgnet_jax.prepare.layouts.records import CorpusRecords, LayoutError
from fgnet_jax.prepare.sequence import AGAIN, CARRIED, PUBLISHED_DETECTOR, SEARCHES, PrepareSettings
from fgnet_jax.runtime import files
from fgnet_jax.runtime.command_line import status

if TYPE_CHECKING:
    from hashlib import _Hash

_RECIPE = 4
"""Increased when the same source gives other faces than before, or `source` covers more of it."""

_FORMER_RECIPE = 2  # whose `source` had names and sizes of files, not their content

_BLOCK = 16 << 10  # bytes; as much of a medium's beginning, middle and end is in the fingerprint
_THREADS = 16  # mostly, they wait for the disk
_MANY = 20_000  # files, from which on reading them takes long enough to say so


def settings(
    corpus: CorpusRecords,
    *,
    landmarks: Path | None,
    predictor: Path | None,
    aligned_landmarks: str | None,
    is_aligned: bool = False,
    face_detector: str = PUBLISHED_DETECTOR,
    search: str = SEARCHES[0],
) -> PrepareSettings:
    """Return the settings that the faces of a corpus are prepared with.

    Args:
      corpus: The corpus.
      landmarks: Folder of landmarks on disk; None to detect them.
      predictor: dlib's data file, if named.
      aligned_landmarks: `AGAIN` or `CARRIED`; None for `CARRIED` with landmarks on disk, else `AGAIN`.
      is_aligned: Whether the images are aligned faces already.
      face_detector: One of `detection.DETECTORS`.
      search: One of `sequence.SEARCHES`.

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
    if file and face_detector != PUBLISHED_DETECTOR:
        yunet.check()
    return PrepareSettings(
        predictor=file,
        landmarks=landmarks,
        root=corpus.root,
        aligned_landmarks=aligned_landmarks,
        is_aligned=is_aligned,
        face_detector=face_detector,
        search=search,
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
      `options`, `recipe`, `detector`, `dlib`, `landmarks`, `aligned_landmarks` and `source`: a fingerprint of all of
      these, of the labels and folds, of all landmarks on disk, and of the size and a sample of the content of media;
      and where the detector is not dlib's, `face_detector` and its `network`; and `search` where it is not "all".

    Raises:
      OSError: A file cannot be read.
    """
    values = _values(chosen, options) | {"dlib": dlib_detector.version() if chosen.predictor else None}
    digest = _digest(corpus, values)
    named = [(path, corpus.root, _sampled) for path in media(corpus)]
    if chosen.landmarks:
        named += [(path, chosen.landmarks, _whole) for path in _landmark_files(corpus, chosen.landmarks)]
    if len(named) > _MANY:
        status("prepare", f"reading samples of {len(named):,} files, for the corpus' fingerprint")
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for line in pool.map(_file_line, named):
            digest.update(line)
    return values | {"source": digest.hexdigest()}


def former_preparation(corpus: CorpusRecords, chosen: PrepareSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Return what `preparation` returned before it covered the content of landmarks and media."""
    values = _values(chosen, options) | {"recipe": _FORMER_RECIPE}
    digest = _digest(corpus, values)
    for path in media(corpus):
        _add_size(digest, path, corpus.root)
        if chosen.landmarks:
            _add_size(digest, landmark_files.mirrored(chosen.landmarks, corpus.root, path), chosen.landmarks)
    return values | {"source": digest.hexdigest()}


def _values(chosen: PrepareSettings, options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as a dataset's metadata have them."""
    is_published = chosen.predictor is None or chosen.face_detector == PUBLISHED_DETECTOR
    return {
        **options,
        **({} if is_published else {"face_detector": chosen.face_detector, "network": yunet.SHA256}),
        **({"search": chosen.search} if chosen.predictor and chosen.search != SEARCHES[0] else {}),
        "recipe": _RECIPE,
        "detector": files.sha256(chosen.predictor) if chosen.predictor else None,
        "landmarks": "on disk" if chosen.landmarks else "detected",
        "aligned_landmarks": chosen.aligned_landmarks,
    }


def _digest(corpus: CorpusRecords, values: dict[str, Any]) -> "_Hash":
    """Return a fingerprint of settings, folds and labels, to be completed by files."""
    digest = hashlib.sha256(json.dumps([corpus.name, corpus.aus, values], sort_keys=True).encode())
    for sequence in corpus.sequences:
        digest.update(f"{sequence.key}:{sequence.fold}".encode())
        for array in (sequence.frames, sequence.labels, sequence.intensities):
            digest.update(array.tobytes())
    return digest


def _landmark_files(corpus: CorpusRecords, landmarks: Path) -> list[Path]:
    """Return the landmark files of all media, each once."""
    return list(dict.fromkeys(landmark_files.mirrored(landmarks, corpus.root, path) for path in media(corpus)))


def _file_line(named: tuple[Path, Path, Callable[[Path], bytes]]) -> bytes:
    """Return a file's name, size and content as a fingerprint has them."""
    path, root, content = named
    size = path.stat().st_size if path.is_file() else -1
    line = f"{os.path.relpath(path, root)}:{size}:".encode("utf-8", "surrogateescape")
    return line + (hashlib.sha256(content(path)).digest() if size >= 0 else b"")


def _whole(path: Path) -> bytes:
    """Read a file."""
    return path.read_bytes()


def _sampled(path: Path) -> bytes:
    """Read a file's beginning, middle and end; all of a small file."""
    size = path.stat().st_size
    if size <= 3 * _BLOCK:
        return path.read_bytes()
    with path.open("rb") as file:
        parts = []
        for begin in (0, (size - _BLOCK) // 2, size - _BLOCK):
            file.seek(begin)
            parts.append(file.read(_BLOCK))
        return b"".join(parts)


def _add_size(digest: "_Hash", path: Path, root: Path) -> None:
    """Add a file's name and size to a fingerprint."""
    size = path.stat().st_size if path.is_file() else -1
    digest.update(f"{os.path.relpath(path, root)}:{size}".encode("utf-8", "surrogateescape"))

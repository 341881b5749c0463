"""Reads BP4D as its owners lay it out: a file of codes and a folder of images per subject and task.

`AUCoding/AU_OCC/F001_T1.csv` and `Sequences(2D+3D)/F001/T1/0001.jpg`, or `2D+3D/…`; images are identified by the number
in their name, whatever its padding.
"""

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.prepare.layouts import records
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Partition, Problem

UNKNOWN = ("mask", "negative", "drop")
"""How code 9 is taken: as unknown, as absent, or the frame is left out."""

_LABELS = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_SUBJECT, _TASK = re.compile(r"[FM]\d{3}", re.IGNORECASE), re.compile(r"T\d+", re.IGNORECASE)
_MEDIA = re.compile(r"2d\s*\+\s*3d", re.IGNORECASE)
_NOT_KNOWN = 9


def read(
    root: Path,
    *,
    partition: Partition | None = None,
    aus: tuple[int, ...] = CORPUS_AUS["bp4d"],
    unknown: str = "mask",
) -> CorpusRecords:
    """Find codes and images.

    Args:
      root: The owners' folder.
      partition: Folds by subject; by default the published one.
      aus: AUs in the order of the columns.
      unknown: One of `UNKNOWN`. Published label files have 0 and 1 only, for nearly every coded frame, so there 9
        counts as absent ("negative"). The default is what the coders recorded: unknown, so that the label is neither
        trained nor tested on.

    Raises:
      LayoutError: where no file of codes, or no image of a coded sequence, is found, or no file codes an AU.
    """
    files = records.files_under(root)
    partition = records.standard_partition("bp4d") if partition is None else partition
    labels, problems = _label_files(root, files)
    if not labels:
        raise records.not_found(root, files, "a file of codes AUCoding/AU_OCC/F001_T1.csv")
    images = _image_files(root, files)
    if not set(labels) & set(images):
        expected = "an image Sequences(2D+3D)/F001/T1/0001.jpg of a sequence that has a file of codes"
        raise records.not_found(root, files, expected)
    sequences = []
    for key in sorted(set(labels) | set(images)):
        sequence, more = _sequence(
            key, labels.get(key), images.get(key, []), partition=partition, aus=aus, unknown=unknown
        )
        problems += more
        sequences += [sequence] if sequence else []
    bad = sum(problem.kind == records.BAD_FILE for problem in problems)
    if not sequences and bad:
        first = next(problem for problem in problems if problem.kind == records.BAD_FILE)
        raise records.LayoutError(f"no file of codes can be read; {first.where}: {first.detail}")
    return CorpusRecords(
        name="bp4d",
        aus=tuple(aus),
        root=root,
        sequences=records.in_order(sequences, partition),
        problems=tuple(problems),
    )


Key = tuple[str, str]
"""Subject and task."""


def _label_files(root: Path, files: list[PurePosixPath]) -> tuple[dict[Key, Path], list[Problem]]:
    """Find the files of codes; those in a folder AU_OCC where there is one, since AU_INT's have the same names."""
    named = [(path, match) for path in files if (match := _LABELS.fullmatch(path.name))]
    occurrence = [item for item in named if any(part.upper() == "AU_OCC" for part in item[0].parts)]
    labels: dict[Key, Path] = {}
    problems = []
    for path, match in occurrence or named:
        key = match[1].upper(), match[2].upper()
        used = labels.setdefault(key, root / path)
        if used != root / path:
            problems.append(Problem(records.AMBIGUOUS, "/".join(key), f"{used} is taken, {path} is not"))
    return labels, problems


def _image_files(root: Path, files: list[PurePosixPath]) -> dict[Key, list[tuple[int, Path]]]:
    """Find the numbered images of each sequence; those below 2D+3D where there is such a folder."""
    images: dict[bool, dict[Key, list[tuple[int, Path]]]] = {True: defaultdict(list), False: defaultdict(list)}
    for path in files:
        if path.suffix.lower() not in records.IMAGE_SUFFIXES or len(path.parts) < 3 or not path.stem.isdecimal():
            continue
        subject, task = path.parts[-3:-1]
        if _SUBJECT.fullmatch(subject) and _TASK.fullmatch(task):
            is_media = any(_MEDIA.search(part) for part in (root.name, *path.parts[:-3]))
            images[is_media][subject.upper(), task.upper()].append((int(path.stem), root / path))
    return dict(images[True] or images[False])


def _sequence(
    key: Key,
    file: Path | None,
    numbered: list[tuple[int, Path]],
    *,
    partition: Partition,
    aus: tuple[int, ...],
    unknown: str,
) -> tuple[LabelledSequence | None, list[Problem]]:
    """Read a sequence of a file of codes and numbered images; None, with the problem, where it cannot be used."""
    (subject, task), name = key, "/".join(key)
    if subject not in partition:
        return None, [Problem(kind=records.NO_FOLD, where=name, detail="not in the partition", count=0)]
    if file is None:
        return None, [
            Problem(kind=records.NO_LABEL, where=name, detail=f"no file {subject}_{task}.csv", count=len(numbered))
        ]
    try:
        frames, codes = read_codes(file, aus)
    except FileError as error:
        return None, [
            Problem(
                kind=records.BAD_FILE,
                where=str(file),
                detail=f"{error}; this sequence is left out",
                count=len(numbered),
            )
        ]
    if not numbered:
        return None, [Problem(kind=records.NO_IMAGE, where=name, detail="no image at all", count=len(frames))]
    images, problems = records.by_number(name, numbered)
    problems += records.unlabelled(name, images, frames)
    frames, labels, more = resolve_unknown(name, frames, codes, aus=aus, unknown=unknown)
    sequence = LabelledSequence(
        subject=subject,
        name=task,
        fold=partition[subject],
        frames=frames,
        labels=labels,
        intensities=np.full(labels.shape, -1, np.float32),
        images=images,
    )
    return sequence, problems + more


def resolve_unknown(
    name: str, frames: np.ndarray, codes: np.ndarray, *, aus: tuple[int, ...], unknown: str
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Convert codes (0, 1, 9) to labels (0, 1, -1).

    Args:
      name: Of the sequence.
      frames: (N,) int32.
      codes: (N, K) int8.
      aus: The K AUs.
      unknown: One of `UNKNOWN`.

    Returns:
      Frames and labels, those that are left out excepted, and a line for the report if there is a 9.
    """
    is_unknown = codes == _NOT_KNOWN
    rows, problems = is_unknown.any(1), []
    if rows.any():
        meaning = {"mask": "unknown", "negative": "taken as absent", "drop": "frames left out"}[unknown]
        counts = {au: int(n) for au, n in zip(aus, is_unknown.sum(0), strict=True) if n}
        detail = ", ".join(f"AU {au} in {n}" for au, n in counts.items())
        where = records.span(name, frames[rows].tolist())
        problems.append(
            Problem(kind=records.NOT_KNOWN, where=where, detail=f"{detail}: {meaning}", count=int(rows.sum()))
        )
    labels = np.where(is_unknown, 0 if unknown == "negative" else -1, codes).astype(np.int8)
    used = ~rows if unknown == "drop" else slice(None)
    return frames[used], labels[used], problems


def read_codes(path: Path, aus: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read frame numbers (N,) int32, increasing, and codes (N, K) int8 of these AUs: 0 absent, 1 present, 9 unknown.

    Raises:
      FileError: for a header without one of the AUs, a row of another length or with another code, or a frame twice.
    """
    lines = records.lines_of(path)
    if not lines:
        raise FileError("is empty")
    header = [cell.strip() for cell in lines[0][1].split(",")]
    columns = {
        int(m[1]): k for k, cell in enumerate(header) if k and (m := re.fullmatch(r"(?:AU)?0*(\d+)", cell, re.I))
    }
    missing = [str(au) for au in aus if au not in columns]
    if missing:
        raise FileError(f"line {lines[0][0]}: expected a header of a 0 and AU numbers; it lacks {', '.join(missing)}")
    rows: dict[int, list[int]] = {}
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(header):
            raise FileError(f"line {number}: expected {len(header)} cells as in the header, got {len(cells)}")
        if not cells[0].isdecimal() or int(cells[0]) in rows:
            raise FileError(f"line {number}: expected a frame number that comes once, got {cells[0]!r}")
        rows[int(cells[0])] = [_code(cells[columns[au]], au, number) for au in aus]
    if not rows:
        raise FileError("has no row of codes")
    frames = sorted(rows)
    return np.array(frames, np.int32), np.array([rows[frame] for frame in frames], np.int8)


def _code(cell: str, au: int, line: int) -> int:
    """Read a code."""
    if cell not in ("0", "1", "9"):
        raise FileError(f"line {line}: AU {au} has code {cell!r}: expected 0, 1 or 9")
    return int(cell)

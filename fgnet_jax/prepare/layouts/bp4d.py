"""Reads BP4D as its owners lay it out: a file of codes and a folder of images per subject and task.

`AUCoding/AU_OCC/F001_T1.csv` and `Sequences(2D+3D)/F001/T1/0001.jpg`, or `2D+3D/…`, or `F001_T1_0001.jpg` in any
folder; images are identified by the number in their name, whatever its padding.
"""

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.prepare.layouts import bp4d_codes, label_files, recognition, records
from fgnet_jax.prepare.layouts.records import CorpusRecords, FileError, LabelledSequence, Partition, Problem

UNKNOWN = ("mask", "negative", "drop")
"""How code 9 is taken: as unknown, as absent, or the frame is left out."""

_LABELS = re.compile(r"([FM]\d{3})_(T\d+)\.csv", re.IGNORECASE)
_SUBJECT, _TASK = re.compile(r"[FM]\d{3}", re.IGNORECASE), re.compile(r"T\d+", re.IGNORECASE)
_IMAGE = re.compile(r"([FM]\d{3})_(T\d+)_(\d+)", re.IGNORECASE)
_MEDIA = re.compile(r"2d\s*\+\s*3d", re.IGNORECASE)


def read(
    root: Path,
    *,
    partition: Partition | None = None,
    aus: tuple[int, ...] = CORPUS_AUS["bp4d"],
    unknown: str = "mask",
    name: str = "bp4d",
) -> CorpusRecords:
    """Find codes and images.

    Args:
      root: The owners' folder.
      partition: Folds by subject; by default the published one.
      aus: AUs in the order of the columns.
      unknown: One of `UNKNOWN`. Published label files have 0 and 1 only, for nearly every coded frame, so there 9
        counts as absent ("negative"). The default is what the coders recorded: unknown, so that the label is neither
        trained nor tested on.
      name: Name of the corpus; with another than BP4D's, a partition is needed.

    Raises:
      LayoutError: where no file of codes, or no image of a coded sequence, is found, or no file codes an AU; if this is
        BP4D+, or has another name than BP4D's and no partition.
    """
    partition = recognition.partition_of("bp4d", name, partition)
    files = records.files_under(root)
    labels, problems = _label_files(root, files)
    if not labels:
        raise records.not_found(root, files, "a file of codes AUCoding/AU_OCC/F001_T1.csv")
    images, more = _image_files(root, files)
    problems += more
    coded = [path.relative_to(root) for path in labels.values()]
    recordings = recognition.recordings_of(
        "bp4d", name, lambda: recognition.refuse_bp4d_plus(root, coded, [*labels, *images])
    )
    if not set(labels) & set(images):
        expected = "an image Sequences(2D+3D)/F001/T1/0001.jpg of a sequence that has a file of codes"
        raise records.not_found(root, files, expected)
    sequences: list[LabelledSequence] = []
    unread: set[str] = set()
    for key in sorted(set(labels) | set(images)):
        sequence, more = _sequence(
            key, labels.get(key), images.get(key, []), partition=partition, aus=aus, unknown=unknown, unread=unread
        )
        problems += more
        sequences += [sequence] if sequence else []
    bad = sum(problem.kind == records.BAD_FILE for problem in problems)
    if not sequences and bad:
        first = next(problem for problem in problems if problem.kind == records.BAD_FILE)
        raise records.LayoutError(f"no file of codes can be read; {first.where}: {first.detail}")
    notes = [recognition.plus_note(task for _, task in labels)] if name == "bp4d" else []
    notes += [f"columns of codes that are not read: {', '.join(map(repr, sorted(unread)))}"] if unread else []
    return CorpusRecords(
        name=name,
        recordings=recordings,
        aus=tuple(aus),
        root=root,
        sequences=records.in_order(sequences, partition),
        folds=records.folds_of(name, partition),
        problems=tuple(problems),
        notes=tuple(filter(None, notes)),
    )


Key = tuple[str, str]
"""Subject and task, "F001" and "T1"."""


def _key(subject: str, task: str) -> Key:
    """Return subject and task in their usual spelling, T1 for T01."""
    return subject.upper(), f"T{int(task[1:])}"


def _label_files(root: Path, files: list[PurePosixPath]) -> tuple[dict[Key, Path], list[Problem]]:
    """Find the files of codes; those in a folder AU_OCC where there is one, since AU_INT's have the same names."""
    named = [(path, match) for path in files if (match := _LABELS.fullmatch(path.name))]
    occurrence = [item for item in named if any(part.upper() == "AU_OCC" for part in item[0].parts)]
    labels: dict[Key, Path] = {}
    problems = []
    for path, match in occurrence or named:
        key = _key(match[1], match[2])
        problems += records.add_file(labels, key, root / path, "/".join(key))
    return labels, problems


Numbered = dict[Key, list[tuple[int, Path]]]
"""Images and their numbers, by sequence."""


def _image_files(root: Path, files: list[PurePosixPath]) -> tuple[Numbered, list[Problem]]:
    """Find the numbered images of each sequence; those below 2D+3D where there is such a folder.

    Images that have the sequence in their names alone, F001_T1_0001.jpg, are taken where it has no folder F001/T1.
    """
    in_folders: dict[bool, Numbered] = {True: defaultdict(list), False: defaultdict(list)}
    by_names: dict[bool, Numbered] = {True: defaultdict(list), False: defaultdict(list)}
    problems = []
    for path in files:
        if path.suffix.lower() not in records.IMAGE_SUFFIXES:
            continue
        is_media = any(_MEDIA.search(part) for part in (root.name, *path.parts[:-1]))
        folder, named = _folder_key(path), _IMAGE.fullmatch(path.stem)
        name = _key(named[1], named[2]) if named else None
        number = int(named[3]) if named else int(path.stem) if path.stem.isdecimal() else None
        if number is None or not (folder or name):
            continue
        if folder and name and folder != name:
            problems.append(Problem(records.AMBIGUOUS, str(path), "its name and its folder are of two sequences"))
        elif folder:
            in_folders[is_media][folder].append((number, root / path))
        elif name:
            by_names[is_media][name].append((number, root / path))
    is_media = bool(in_folders[True] or (by_names[True] and not in_folders[False]))
    return {**by_names[is_media], **in_folders[is_media]}, problems


def _folder_key(path: PurePosixPath) -> Key | None:
    """Return the sequence whose folder, F001/T1, an image is in; None for other folders."""
    if len(path.parts) < 3:
        return None
    subject, task = path.parts[-3:-1]
    return _key(subject, task) if _SUBJECT.fullmatch(subject) and _TASK.fullmatch(task) else None


def _sequence(
    key: Key,
    file: Path | None,
    numbered: list[tuple[int, Path]],
    *,
    partition: Partition,
    aus: tuple[int, ...],
    unknown: str,
    unread: set[str],
) -> tuple[LabelledSequence | None, list[Problem]]:
    """Read a sequence of a file of codes and numbered images; None, with the problem, where it cannot be used.

    Names of columns that are no AUs are added to `unread`.
    """
    (subject, task), name = key, "/".join(key)
    if subject not in partition:
        detail = "not in the partition, so all of it is left out"
        return None, [Problem(kind=records.NO_FOLD, where=name, detail=detail, count=len(numbered))]
    if file is None:
        return None, [
            Problem(kind=records.NO_LABEL, where=name, detail=f"no file {subject}_{task}.csv", count=len(numbered))
        ]
    try:
        coded = bp4d_codes.read_codes(file, aus)
    except FileError as error:
        return None, [
            Problem(
                kind=records.BAD_FILE,
                where=str(file),
                detail=f"{error}; this sequence is left out",
                count=len(numbered),
            )
        ]
    unread.update(coded.unread)
    if not numbered:
        detail = f"no image at all: expected {subject}/{task}/0001.jpg or {subject}_{task}_0001.jpg"
        return None, [Problem(kind=records.NO_IMAGE, where=name, detail=detail, count=len(coded.frames))]
    images, problems = records.by_number(name, numbered)
    problems += records.unlabelled(name, images, coded.frames) + label_files.problems(file, coded.bad)
    frames, labels, more = bp4d_codes.resolve_unknown(name, coded.frames, coded.codes, aus=aus, unknown=unknown)
    sequence = LabelledSequence(
        subject=subject,
        name=file.stem.split("_")[1].upper(),  # as it is spelled: datasets that exist have it so
        fold=partition[subject],
        frames=frames,
        labels=labels,
        intensities=np.full(labels.shape, -1, np.float32),
        images=images,
    )
    return sequence, problems + more

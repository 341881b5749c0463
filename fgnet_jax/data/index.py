"""Index of a prepared corpus: whom and what each record shows, in a small file beside the records.

Whoever needs subjects or labels of all faces reads this file instead of every record. It is used only if its own
checksum is right and it belongs to this very dataset; else it is built anew from the records.
"""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fgnet_jax.runtime import files
from fgnet_jax.runtime.command_line import status

INDEX_FILE = "faces.index"
"""File name: the SHA-256 of all that follows as 64 digits, a newline, and arrays as NumPy's npz."""

_FORMAT = 2  # 1 had no intensities
_FIELDS = ("subjects", "sequences", "frames", "labels", "intensities")
_DIGITS = 64

Records = Sequence[Mapping[str, Any]]
"""Records of a split as TFDS gives them, their names as bytes."""


@dataclasses.dataclass(frozen=True)
class FaceIndex:
    """What is known of each face without reading its record.

    Attributes:
      subjects: (N,) str.
      sequences: (N,) str.
      frames: (N,) int32, numbers of the frames.
      labels: (N, K) int8, 1 present, 0 absent, -1 unknown.
      intensities: (N, K) float32, 0 to 5, -1 unknown.
    """

    subjects: np.ndarray
    sequences: np.ndarray
    frames: np.ndarray
    labels: np.ndarray
    intensities: np.ndarray

    def __len__(self) -> int:
        """Return the number of faces."""
        return len(self.frames)

    def differs(self, place: int, record: Mapping[str, Any]) -> bool:
        """Tell whether a record shows another face, or has other labels, than the index says."""
        names = record["subject"].decode(), record["sequence"].decode()
        if names != (self.subjects[place], self.sequences[place]) or record["frame"] != self.frames[place]:
            return True
        codes = (("labels", self.labels), ("intensities", self.intensities))
        return not all(np.array_equal(record[name], values[place]) for name, values in codes)

    def as_part(self, prefix: str, columns: Sequence[int]) -> "FaceIndex":
        """Return the index with a prefix before its subjects' names and other AUs' columns, -1 for unknown ones."""
        return dataclasses.replace(
            self,
            subjects=np.char.add(prefix, self.subjects) if prefix else self.subjects,
            labels=_chosen(self.labels, columns),
            intensities=_chosen(self.intensities, columns),
        )

    def intensities_of(self, indices: np.ndarray, columns: Sequence[int]) -> np.ndarray:
        """Return the coded intensities of some faces in a network's order of AUs, (n, k) float32; -1 unknown.

        Args:
          indices: (n,) positions of the faces.
          columns: `Corpus.columns` of the network's AUs.
        """
        return _chosen(self.intensities[indices], columns)


def _chosen(values: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Return columns of values (N, K); -1 for column -1."""
    unknown = np.full((len(values), 1), -1, values.dtype)
    return np.concatenate([values.reshape(len(values), -1), unknown], 1)[:, list(columns)]


def join(parts: Sequence[FaceIndex]) -> FaceIndex:
    """Join the indexes of several splits with the same label columns, in their order."""
    if not parts:
        return build([])
    return FaceIndex(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS})


def build(records: Records) -> FaceIndex:
    """Build the index of a split from its records, about 10,000 a second."""
    fields = [_fields(records[k]) for k in range(len(records))]
    subjects, sequences, frames, labels, intensities = zip(*fields, strict=True) if fields else ((),) * 5
    return FaceIndex(
        subjects=np.array(subjects, np.str_),
        sequences=np.array(sequences, np.str_),
        frames=np.array(frames, np.int32),
        labels=np.stack(labels).astype(np.int8) if fields else np.empty((0, 0), np.int8),
        intensities=np.stack(intensities).astype(np.float32) if fields else np.empty((0, 0), np.float32),
    )


def _fields(record: Mapping[str, Any]) -> tuple[str, str, int, np.ndarray, np.ndarray]:
    """Return what the index has of a record, which holds no image any more."""
    codes = np.array(record["labels"]), np.array(record["intensities"])
    return record["subject"].decode(), record["sequence"].decode(), int(record["frame"]), *codes


class DatasetIndex:
    """The index of all splits of a prepared corpus, read at its first use.

    Where the file is missing, stale or damaged, it is built from the records and written, if the folder can be.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], records: Mapping[str, Callable[[], Records]]):
        """Remember where the index is; nothing is read yet.

        Args:
          folder: The dataset's folder.
          key: What this dataset is, ready for JSON; an index with another one is of another dataset.
          records: Opens the records of each split.
        """
        self._file, self._records = folder / INDEX_FILE, records
        self._header = json.loads(json.dumps({"format": _FORMAT, **key}))

    @property
    def is_loaded(self) -> bool:
        """Whether the index is in memory."""
        return "splits" in vars(self)

    @functools.cached_property
    def splits(self) -> Mapping[str, FaceIndex]:
        """Index by split."""
        stored = self._read()
        if stored is not None:
            return stored
        built = {split: build(opened()) for split, opened in self._records.items()}
        self._write(built)
        return built

    def _read(self) -> Mapping[str, FaceIndex] | None:
        """Read the file; None where there is none that belongs to this dataset."""
        try:
            stored = self._file.read_bytes()
        except FileNotFoundError:
            return None
        body = stored[_DIGITS + 1 :]
        if stored[: _DIGITS + 1] != _first_line(body):
            status("data", f"{self._file} is damaged: it is built anew from all records")
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            if (header := json.loads(arrays["header"].tobytes())) != self._header:
                is_earlier = header | {"format": _FORMAT} == self._header
                what = "an earlier version of this package" if is_earlier else "another dataset"
                status("data", f"{self._file} is of {what}: it is built anew from all records")
                return None
            return {s: FaceIndex(**{name: arrays[f"{s}/{name}"] for name in _FIELDS}) for s in self._records}

    def _write(self, splits: Mapping[str, FaceIndex]) -> None:
        """Write the file, whole or not at all; the same dataset gives the same bytes."""
        arrays = {f"{split}/{name}": getattr(index, name) for split, index in splits.items() for name in _FIELDS}
        header = np.frombuffer(json.dumps(self._header, sort_keys=True).encode(), np.uint8)
        body = io.BytesIO()
        np.savez(body, header=header, **arrays)
        content = body.getvalue()
        try:
            with files.replacing(self._file) as temporary:
                temporary.write_bytes(_first_line(content) + content)
        except OSError as error:
            status("data", f"no index beside the dataset ({error}): every start reads all of its records")


def _first_line(body: bytes) -> bytes:
    """Return what stands before the arrays: their SHA-256."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n"

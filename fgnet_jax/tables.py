"""What a run of prediction writes: a CSV table, a row a picture, and an npz archive of heatmaps.

Both are written as results come, in constant memory, and both have one entry for every input, in the order given: an
input without a result keeps its place, with `success` 0 and empty cells in the table and with NaN in the archive.
"""

import contextlib
import csv
import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from fgnet_jax import aus as aus_lib

LEADING_COLUMNS: tuple[str, ...] = ("input", "success")
"""The columns before those of the AUs."""


def columns(aus: Sequence[int]) -> list[str]:
    """The table's columns: `input, success, AU01_c, AU01_score, AU02_c, …` for the AUs that the weights know."""
    pairs = ([f"{aus_lib.label(au)}_c", f"{aus_lib.label(au)}_score"] for au in aus)
    return [*LEADING_COLUMNS, *(name for pair in pairs for name in pair)]


def row(source: str, aus: Sequence[int], scores: np.ndarray, present: np.ndarray) -> dict[str, str]:
    """One row of results.

    Args:
      source: What the row is about, for the column `input`.
      aus: The K AU numbers.
      scores: (K,) in [-1, 1]; written with the digits that give back the same float32.
      present: (K,) bool; written as 0 or 1.

    Returns:
      Column name to cell.
    """
    cells = {"input": source, "success": "1"}
    for au, score, is_present in zip(aus, scores, present, strict=True):
        cells[f"{aus_lib.label(au)}_c"] = str(int(is_present))
        cells[f"{aus_lib.label(au)}_score"] = str(np.float32(score))
    return cells


def failed_row(source: str) -> dict[str, str]:
    """The row of an input without a result: `success` 0, and every AU's cells left empty."""
    return {"input": source, "success": "0"}


class CsvTable:
    """A CSV file (UTF-8, header, newline after every row) that holds whole rows whenever the program is stopped."""

    def __init__(self, stream: BinaryIO, aus: Sequence[int]):
        """Writes the header to an open binary stream."""
        self._stream = stream
        self._columns = columns(aus)
        self._write(dict(zip(self._columns, self._columns, strict=True)))

    def add(self, cells: dict[str, str]) -> None:
        """Writes one row; columns that `cells` lacks stay empty, unknown ones raise ValueError."""
        self._write(cells)

    def _write(self, cells: dict[str, str]) -> None:
        line = io.StringIO()
        csv.DictWriter(line, self._columns, restval="", lineterminator="\n").writerow(cells)
        # One write for a whole row: a killed run leaves no half row. File names may hold bytes that are no text.
        self._stream.write(line.getvalue().encode("utf-8", "surrogateescape"))
        self._stream.flush()


@contextlib.contextmanager
def open_csv(path: str | os.PathLike[str], aus: Sequence[int]) -> Iterator[CsvTable]:
    """Opens a new table at `path`, or on standard output for `-`.

    Raises:
      OSError: The file cannot be written.
    """
    # Standard output gets a stream of its own, so that Python's has nothing left to flush when the reader is gone.
    target, owned = (sys.stdout.fileno(), False) if path == "-" else (path, True)
    with open(target, "wb", closefd=owned) as stream:
        yield CsvTable(stream, aus)


class HeatmapArchive:
    """Collects results one by one and writes them as an npz archive in the end, never holding them all in memory.

    The archive has `heatmaps` float32 (N, height, width, K) in [-1, 1], `scores` float32 (N, K), `aus` int32 (K,) and
    `input` (N,) of strings; `numpy.load` reads it without pickles. An input without a result is a row of NaN in
    `heatmaps` and `scores`, so that row i of the archive is row i of the table.
    """

    def __init__(self, spool: BinaryIO, aus: Sequence[int], size: int):
        """Takes an open temporary file for the heatmaps, the AUs and the heatmaps' side in pixels."""
        self._spool = spool
        self._aus = np.asarray(aus, np.int32)
        self._shape = (size, size, len(aus))
        self._scores: list[np.ndarray] = []
        self._inputs: list[str] = []

    def add(self, source: str, scores: np.ndarray | None, heatmaps: np.ndarray | None) -> None:
        """Appends one input: scores (K,) and heatmaps (height, width, K), or None and None where there are none."""
        if scores is None or heatmaps is None:
            scores, heatmaps = np.full(self._shape[-1], np.nan), np.full(self._shape, np.nan)
        if heatmaps.shape != self._shape:
            raise ValueError(f"{source}: heatmaps have shape {heatmaps.shape}, expected {self._shape}")
        self._spool.write(np.ascontiguousarray(heatmaps, "<f4").data)
        self._scores.append(np.asarray(scores, np.float32))
        self._inputs.append(source)

    def write(self, stream: BinaryIO) -> None:
        """Writes the archive of everything added so far to an open binary stream."""
        count = len(self._inputs)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with archive.open("heatmaps.npy", "w", force_zip64=True) as entry:
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, *self._shape)}
                np.lib.format.write_array_header_1_0(entry, header)
                self._spool.seek(0)
                shutil.copyfileobj(self._spool, entry, 1 << 20)
            scores = np.array(self._scores, np.float32).reshape(count, self._shape[-1])
            for name, array in {"scores": scores, "aus": self._aus, "input": np.array(self._inputs, str)}.items():
                with archive.open(f"{name}.npy", "w") as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)


@contextlib.contextmanager
def open_archive(path: str | os.PathLike[str], aus: Sequence[int], size: int) -> Iterator[HeatmapArchive]:
    """Opens an archive that appears at `path` when the block ends, whole, whether or not the block raised.

    Until then the heatmaps lie in an unnamed temporary file in the same folder (524 KB a picture for eight AUs at 128),
    which the system removes if the program is killed.

    Raises:
      OSError: The folder cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryFile(dir=folder) as spool:
        archive = HeatmapArchive(spool, aus, size)
        try:
            yield archive
        finally:
            _write_whole(path, archive)


def _write_whole(path: str | os.PathLike[str], archive: HeatmapArchive) -> None:
    """Writes the archive under another name first, so that one of the right name is whole."""
    partial = f"{os.fspath(path)}.partial"
    try:
        with open(partial, "wb") as stream:
            archive.write(stream)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
        raise

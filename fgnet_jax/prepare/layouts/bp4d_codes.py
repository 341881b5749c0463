"""Reads BP4D's files of codes: a row per frame, a column per AU."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fgnet_jax.prepare.layouts import au_columns, label_files, records
from fgnet_jax.prepare.layouts.label_files import LOST, BadLine
from fgnet_jax.prepare.layouts.records import FileError, Problem

_NOT_KNOWN = 9


class Codes(NamedTuple):
    """A file of codes.

    Attributes:
      frames: (N,) int32, frame numbers, increasing.
      codes: (N, K) int8: 0 absent, 1 present, 9 unknown, `LOST` where a code cannot be read.
      bad: Lines of which codes cannot be read.
      unread: Names of columns that are no AUs.
    """

    frames: np.ndarray
    codes: np.ndarray
    bad: list[BadLine]
    unread: list[str]


def read_codes(path: Path, aus: tuple[int, ...]) -> Codes:
    """Read the codes of these AUs; cells are separated by commas, semicolons or tabs.

    A code that cannot be read, or that another row of the same frame has otherwise, is lost; so are all of a row that
    has other cells than the header.

    Raises:
      FileError: if it cannot be read as text, lacks one of the AUs, or more than half of the rows are bad.
    """
    lines = label_files.lines_of(path)
    if not lines:
        raise FileError("is empty")
    separator = max(label_files.SEPARATORS, key=lines[0][1].count)
    header = [cell.strip() for cell in lines[0][1].split(separator)]
    columns, unread = _columns(header, aus, lines[0][0])
    rows: dict[int, list[int]] = {}
    first: dict[int, int] = {}
    bad: list[BadLine] = []
    for number, line in lines[1:]:
        frame, codes, reasons = _row([cell.strip() for cell in line.split(separator)], len(header), columns)
        if frame is not None and frame in rows and (differing := _differing(aus, rows[frame], codes)):
            reasons.append(f"frame {frame} comes twice, line {first[frame]} has another code of AU {differing}")
            codes = [code if code == other else LOST for code, other in zip(codes, rows[frame], strict=True)]
        if frame is not None:
            rows[frame], _ = codes, first.setdefault(frame, number)
        if reasons:
            bad.append(BadLine(number, "; ".join(reasons)))
    if not lines[1:]:
        raise FileError("has no row of codes")
    label_files.refuse_mostly_bad(bad, len(lines) - 1)
    frames = sorted(rows)
    return Codes(np.array(frames, np.int32), np.array([rows[frame] for frame in frames], np.int8), bad, unread)


def _columns(header: list[str], aus: tuple[int, ...], line: int) -> tuple[dict[int, int], list[str]]:
    """Return the places of the AUs' columns, and the names of columns that are no AUs."""
    try:
        found = au_columns.find(header[1:], with_numbers=True)
    except FileError as error:
        raise FileError(f"line {line}: {error}") from error
    missing = [str(au) for au in aus if au not in found.names]
    if missing:
        raise FileError(f"line {line}: expected a header of a 0 and AU numbers; it lacks {', '.join(missing)}")
    unread = [name for name in header[1:] if name and name not in found.names.values()]
    return {au: header.index(found.names[au], 1) for au in aus}, unread


def _row(cells: list[str], length: int, columns: dict[int, int]) -> tuple[int | None, list[int], list[str]]:
    """Read a row: its frame number, None if it cannot be read, its codes, and why any are lost."""
    text = label_files.plain_number(cells[0])
    frame = int(text) if re.fullmatch(r"\d{1,7}", text) else None
    lost = [LOST] * len(columns)
    if frame is None:
        return None, lost, [f"expected a frame number, got {cells[0][:40]!r}"]
    while len(cells) > length and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != length:
        return frame, lost, [f"expected {length} cells as in the header, got {len(cells)}: frame {frame} is unknown"]
    codes = [_code(cells[place]) for place in columns.values()]
    named = zip(columns.items(), codes, strict=True)
    wrong = [f"AU {au} has code {cells[place][:40]!r}" for (au, place), code in named if code == LOST]
    reason = f"{', '.join(wrong)}: expected 0, 1 or 9; unknown in frame {frame}"
    return frame, codes, [reason] if wrong else []


def _code(cell: str) -> int:
    """Read a code."""
    text = label_files.plain_number(cell.replace(",", "."))
    return int(text) if text in ("0", "1", "9") else LOST


def _differing(aus: tuple[int, ...], codes: list[int], others: list[int]) -> str:
    """List the AUs of which two rows of a frame have other codes."""
    pairs = zip(aus, codes, others, strict=True)
    return ", ".join(str(au) for au, code, other in pairs if code != other)


def resolve_unknown(
    name: str, frames: np.ndarray, codes: np.ndarray, *, aus: tuple[int, ...], unknown: str
) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Convert codes (0, 1, 9) to labels (0, 1, -1); lost ones are unknown whatever a 9 is taken as.

    Args:
      name: Of the sequence.
      frames: (N,) int32.
      codes: (N, K) int8.
      aus: The K AUs.
      unknown: "mask", "negative" or "drop": a 9 is unknown, absent, or its frame is left out, as is one of lost codes.

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
    used = ~(rows | (codes == LOST).any(1)) if unknown == "drop" else slice(None)
    return frames[used], labels[used], problems

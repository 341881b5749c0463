"""Reads text files of labels: encodings, separators, numbers, and lines that cannot be read."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fgnet_jax.prepare.layouts.records import BAD_LINE, FileError, Problem

SEPARATORS = (",", ";", "\t")
"""Characters between the cells of a table."""

LISTED = 5
"""Bad lines of a file that are listed one by one; the others are counted, by their numbers."""

LOST = -1
"""Value of a label that cannot be read."""

DAMAGE = "\N{REPLACEMENT CHARACTER}"
"""What stands in a line for bytes that are no text."""

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class BadLine(NamedTuple):
    """A line of which one or more labels cannot be read: its number from 1, and why."""

    number: int
    reason: str


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Read the lines of a text file that are not empty, with their numbers from 1: of UTF-8, or UTF-16 with its mark.

    Bytes that are no text cost their line alone: they become `DAMAGE`.

    Raises:
      FileError: if it cannot be read, or more than half of its lines are no text.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot be read: {error}") from error
    mark, encoding = next((item for item in _MARKS if content.startswith(item[0])), (b"", "utf-8"))
    text = content[len(mark) :].decode(encoding, "replace").replace("\0", DAMAGE)
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    if 2 * sum(DAMAGE in line for _, line in lines) > len(lines):
        raise FileError("cannot be read as text: expected UTF-8, or UTF-16 with its byte order mark")
    return lines


def plain_number(cell: str) -> str:
    """Return a whole number without the zeros behind its point: "1" for "1.0"; any other text as it is."""
    return re.sub(r"(?<=\d)\.0*$", "", cell)


def problems(path: Path, bad: Sequence[BadLine]) -> list[Problem]:
    """Return the problems of a file's bad lines: the first `LISTED` of them each, and the others together."""
    listed, others = bad[:LISTED], bad[LISTED:]
    found = [Problem(BAD_LINE, f"{path} line {line.number}", line.reason) for line in listed]
    if others:
        numbers = ", ".join(str(line.number) for line in others[:20]) + (" …" if len(others) > 20 else "")
        detail = f"{len(others)} more lines, {numbers}; the first: {others[0].reason}"
        found.append(Problem(BAD_LINE, str(path), detail, count=len(others)))
    return found


def refuse_mostly_bad(bad: Sequence[BadLine], total: int) -> None:
    """Refuse a file of which more than half of the lines are bad.

    Raises:
      FileError: with the first of them.
    """
    if 2 * len(bad) > total:
        raise FileError(f"{len(bad)} of {total} lines cannot be read; line {bad[0].number}: {bad[0].reason}")

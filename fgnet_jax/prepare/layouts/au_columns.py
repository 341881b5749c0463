"""Recognises columns of AUs by their names, in tables of labels and files of codes."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from fgnet_jax.prepare.layouts.records import FileError

_AU = re.compile(r"au[_ ]?0*(\d{1,3})(_c)?", re.IGNORECASE)
_NUMBER = re.compile(r"0*(\d{1,3})")
_INTENSITY = re.compile(r"(?:AU|au)[_ ]?0*(\d{1,3})_r")
_SIDE = re.compile(r"(?:au)?[_ ]?0*(\d{1,3})[_ ]?(?:l|r|left|right)", re.IGNORECASE)
_AU_SIDE = re.compile("au" + _SIDE.pattern.removeprefix("(?:au)?"), re.IGNORECASE)
_LIKE_AU = re.compile(r"(?:facs[_ ]?)?(?:au|action[_ -]?unit)s?[^a-z\d]*0*(\d{1,3})(?!\d).*", re.IGNORECASE)


class AuColumns(NamedTuple):
    """Columns of AUs.

    Attributes:
      names: Names of the columns by AU number, in the header's order.
      unread: Names of columns that are like those of AUs, of AUs that another column has the labels of.
      are_presence: Whether a name ends in `_c`, as OpenFace's of presence, so that no column has intensities.
    """

    names: dict[int, str]
    unread: list[str]
    are_presence: bool


def find(header: Sequence[str], with_numbers: bool = False) -> AuColumns:
    """Find the columns of AUs in a header: `au1`, `AU06`, `AU 12`, `AU01_c`.

    Args:
      header: Names of the columns, without those of keys.
      with_numbers: Whether `1`, `06` are names of AUs, too.

    Raises:
      FileError: if an AU has two columns, or a column seems to be of an AU that has no other, but cannot be taken for
        its labels: an intensity that a tool estimated (`AU01_r`), a side (`au12L`), any other name.
    """
    names: dict[int, str] = {}
    others: list[str] = []
    are_presence = False
    for name in header:
        match = _AU.fullmatch(name) or (_NUMBER.fullmatch(name) if with_numbers else None)
        if match is None:
            others.append(name)
            continue
        au = int(match[1])
        if au in names:
            raise FileError(f"has AU {au} twice, in {names[au]!r} and {name!r}")
        names[au] = name
        are_presence |= name.lower().endswith("_c")
    return AuColumns(names, [name for name in others if _is_of_other_column(name, names, with_numbers)], are_presence)


def _is_of_other_column(name: str, names: dict[int, str], with_numbers: bool) -> bool:
    """Tell whether a column is like one of an AU that another column has the labels of.

    Raises:
      FileError: if it is like one of an AU that has no column.
    """
    match = _LIKE_AU.fullmatch(name) or (_SIDE.fullmatch(name) if with_numbers else None)
    if match is None:
        return False
    au = int(match[1])
    if au in names:
        return True
    if _INTENSITY.fullmatch(name):
        reason = "is an intensity that a tool such as OpenFace estimated, no label"
    elif _SIDE.fullmatch(name):
        reason = "is of one side of the face"
    else:
        reason = "seems to be of an AU"
    raise FileError(f"column {name!r} {reason}: labels of AU {au} are expected in a column named 'au{au}'")


def count(header: Sequence[str]) -> int:
    """Count the names that are those of AUs, sides and intensities included."""
    return sum(any(pattern.fullmatch(name.strip()) for pattern in (_AU, _INTENSITY, _AU_SIDE)) for name in header)

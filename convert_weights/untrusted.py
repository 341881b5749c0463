"""Values of untrusted files in messages and comparisons: a scalar, escaped and cut, or the name of a type.

`str`, `==` and `hash` of a nested value may never end, recurse without a limit, or give gigabytes of text; a name may
have control characters for the terminal. All messages and reports about files show their values by these functions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from convert_weights.errors import ConversionError

LENGTH = 80
"""Characters of one value in a message."""

NAMES = 20
"""Names in a list of a message."""

MAX_KEY_PARTS = 8
_DISTINCT = 1 << 60
"""Integers below have hashes of their own; multiples of 2**61 - 1 would all share one."""


def shown(value: Any, length: int = LENGTH) -> str:  # noqa: ANN401 - anything
    """Return a value as one short line: text without quotes, escaped; another scalar; or else the name of its type."""
    if isinstance(value, str):
        text = value[:length].encode("unicode_escape").decode("ascii") or "''"
        return text[:length] + "..." * (len(text) > length or len(value) > length)
    if value is None or isinstance(value, bool | float):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < _DISTINCT else f"an integer of {value.bit_length():,} bits"
    return f"a {type(value).__name__}"


def listed(names: Iterable[Any], most: int = NAMES, separator: str = ", ") -> str:
    """Return names as a list, of which the first `most` are shown."""
    names = list(names)
    rest = [f"and {len(names) - most:,} more"] * (len(names) > most)
    return separator.join([*map(shown, names[:most]), *rest])


def same(value: Any, expected: Any) -> bool:  # noqa: ANN401 - anything
    """Return whether a value is the expected scalar, or a flat sequence of the expected scalars."""
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        is_flat = isinstance(value, list | tuple) and len(value) == len(expected)
        return is_flat and all(same(*pair) for pair in zip(value, expected, strict=True))
    return (value is None or isinstance(value, bool | int | float | str)) and value == expected


def is_scalar_key(key: Any) -> bool:  # noqa: ANN401 - anything
    """Return whether a value can be a key of a dictionary or set without any cost of hashing."""
    if isinstance(key, int):
        return abs(key) < _DISTINCT
    return key is None or isinstance(key, str | bytes | float)


def refuse_key(key: Any) -> ConversionError:  # noqa: ANN401 - anything
    """Return the error for a value that cannot be a key."""
    kind = f"a {type(key).__name__}" if not isinstance(key, int) else shown(key)
    return ConversionError(f"the pickle has {kind} for a key")

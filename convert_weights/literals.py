"""Numbers and texts as pickles spell them."""

import codecs
from collections.abc import Callable

from convert_weights.errors import ConversionError
from convert_weights.records import Pickled
from convert_weights.untrusted import shown

MAX_INDEX = 1 << 32
"""Indices of a memo are below."""


def latin_bytes(text: str) -> bytes:
    """Return the bytes that a text of Latin-1's characters stands for.

    Raises:
      ConversionError: if it has others.
    """
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ConversionError("the pickle has an array in a text that is more than bytes") from None


def utf8(view: memoryview) -> str:
    """Decode UTF-8, surrogates included.

    Raises:
      ConversionError: if it is broken.
    """
    try:
        return str(view, "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ConversionError(f"the pickle has a broken string: {error}") from None


def latin(view: memoryview) -> str:
    """Decode one byte a character."""
    return str(view, "latin-1")


def decimal(text: str) -> int | bool:
    """Read a number of the oldest protocol's INT and LONG; `00` and `01` are truth values.

    Raises:
      ConversionError: if it is broken.
    """
    if text in ("00", "01"):
        return text == "01"
    return number(int, text.rstrip("L"))


def number(kind: Callable[[str], Pickled], text: str) -> Pickled:
    """Read a number of the oldest protocol, by `int` or `float`.

    Raises:
      ConversionError: if it is broken.
    """
    try:
        return kind(text)
    except ValueError as error:
        raise ConversionError(f"the pickle has a broken number: {shown(str(error))}") from None


def index(text: str) -> int:
    """Read an index of the memo.

    Raises:
      ConversionError: if it is broken.
    """
    value = number(int, text)
    if not 0 <= value < MAX_INDEX:  # integers of one hash are easily made
        raise ConversionError("the pickle is broken: an index that no memo has")
    return value


def quoted(view: memoryview) -> str:
    """Read a string of Python 2, in quotes.

    Raises:
      ConversionError: if it is broken.
    """
    text = bytes(view)
    if len(text) < 2 or text[0] != text[-1] or text[:1] not in (b"'", b'"'):
        raise ConversionError("the pickle has a string without quotes")
    try:
        # Old strings are bytes; Latin-1 preserves every one of them, as NumPy's own reader expects.
        return codecs.escape_decode(text[1:-1])[0].decode("latin-1")  # pyright: ignore
    except ValueError as error:
        raise ConversionError(f"the pickle has a broken string: {shown(str(error))}") from None


def escaped(view: memoryview) -> str:
    """Read a string of the oldest protocol, with `\\u` escapes.

    Raises:
      ConversionError: if it is broken.
    """
    try:
        return str(view, "raw-unicode-escape")
    except UnicodeDecodeError as error:
        raise ConversionError(f"the pickle has a broken string: {error}") from None

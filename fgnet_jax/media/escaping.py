r"""Names of files as UTF-8 text on one line: a byte that is none is written as `\xff`, and can be got back.

Tables, archives and JSON must be valid UTF-8, and file names need not be. Control characters and line ends, which break
tables for one reader or another, are written byte by byte, too: `\x0d`. Every name has exactly one escaped form, and
every escaped form one name: where a name has that sequence of characters itself, its backslash is written as `\x5c`.
"""

import os
import re

NOTICE = (
    r"a name with control characters, or that is not UTF-8, is written with \xHH for each such byte HH; "
    "fgnet_jax.media.escaping.unescaped gives the file's name back"
)

_LIKE_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def escaped(name: str) -> str:
    """Return a file's name as valid UTF-8, without control characters and line ends.

    Args:
      name: As `os.fsdecode` gives it.
    """
    like = (
        _LIKE_ESCAPED.sub(r"\\x5c", name) if os.sep == "/" else name
    )  # elsewhere names are text, and have backslashes
    text = like if like.isascii() else os.fsencode(like).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: "".join(rf"\x{byte:02x}" for byte in match[0].encode()), text)


def unescaped(text: str) -> str:
    """Return the name, as `os.fsdecode` gives it, of which `text` is the escaped form."""
    if os.sep != "/":
        return text
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), os.fsencode(text)))


def is_needed(name: str) -> bool:
    """Tell whether a name has another escaped form than itself."""
    return escaped(name) != name

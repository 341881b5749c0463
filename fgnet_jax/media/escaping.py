r"""Names of files as UTF-8 text: a byte that is none is written as `\xff`, and can be got back.

Tables, archives and JSON must be valid UTF-8, and file names need not be. Every name has exactly one escaped form, and
every escaped form one name: where a name has that sequence of characters itself, its backslash is written as `\x5c`.
"""

import os
import re

NOTICE = (
    r"a name that is not UTF-8 is written with \xHH for each byte HH that is not; "
    "fgnet_jax.media.escaping.unescaped gives the file's name back"
)

_LIKE_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def escaped(name: str) -> str:
    """Return a file's name as valid UTF-8.

    Args:
      name: As `os.fsdecode` gives it.
    """
    like = (
        _LIKE_ESCAPED.sub(r"\\x5c", name) if os.sep == "/" else name
    )  # elsewhere names are text, and have backslashes
    return like if like.isascii() else os.fsencode(like).decode("utf-8", "backslashreplace")


def unescaped(text: str) -> str:
    """Return the name, as `os.fsdecode` gives it, of which `text` is the escaped form."""
    if os.sep != "/":
        return text
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), os.fsencode(text)))


def is_needed(name: str) -> bool:
    """Tell whether a name has another escaped form than itself."""
    return escaped(name) != name

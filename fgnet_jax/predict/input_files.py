"""Whether input files are those that an earlier run read: by size, date of change, and SHA-256 where it is known."""

import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fgnet_jax.runtime.files import sha256


def facts(path: str | int | None) -> dict[str, int]:
    """Return what can be told of a file without reading it.

    Args:
      path: The path of a source (`Source.path`).

    Returns:
      `bytes`, its size, and `mtime_ns`, when it was last changed, in nanoseconds since 1970; nothing for what is no
      file, such as a pipe or a camera.
    """
    if not isinstance(path, str):
        return {}
    try:
        found = os.stat(path)
    except OSError:
        return {}
    return {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns} if stat.S_ISREG(found.st_mode) else {}


def change(path: str | int | None, recorded: Mapping[str, Any]) -> str | None:
    """Return how a file differs from the recorded one, in words; None where it does not, or that is not known.

    It is read only where its size is the same, its date is another (or none is recorded), and its sum is known.

    Args:
      path: The path of a source.
      recorded: What `facts` returned then, and `sha256`, its sum, as far as they are recorded.

    Raises:
      OSError: It cannot be read.
    """
    size, date, known = (recorded.get(key) for key in ("bytes", "mtime_ns", "sha256"))
    now = facts(path)
    if not isinstance(path, str) or size is None or not now or (date == now["mtime_ns"] and size == now["bytes"]):
        return None
    if size != now["bytes"]:
        return f"it had {size:,} bytes and has {now['bytes']:,}"
    if known is not None:
        return None if known == sha256(Path(path)) else "its SHA-256 is another"
    if date is None:
        return None
    then, today = (datetime.fromtimestamp(value / 1e9, UTC).isoformat(" ") for value in (date, now["mtime_ns"]))
    return f"its date was {then} and is {today}: its rows may be those of another file"

"""The JSON beside a table: what its numbers come from, so that they can be understood and repeated.

Version, weights with their checksum, corpus, AUs, thresholds, detector, alignment, frame rates, device, precision,
smoothing, and the arguments. A run that goes on checks that what it would write is of the same making.
"""

import json
import os
from pathlib import Path
from typing import Any

from fgnet_jax.runtime.files import write_text

ALIGNMENT = "FFHQ's square (Karras et al., CVPR 2019, appendix C) from 68 landmarks"
"""What images are cut out by."""

FREE = ("arguments", "device", "versions", "frame_rates", "complete", "time")
"""What may differ between a run and the one that goes on with its table."""


class RunRecordError(ValueError):
    """A table's JSON that does not fit; the message says where."""


def path_of(table: str | os.PathLike[str]) -> Path:
    """`out.csv.json` beside `out.csv`."""
    return Path(f"{os.fspath(table)}.json")


def write(table: str | os.PathLike[str], about: dict[str, Any]) -> None:
    """Writes it, whole or not at all."""
    text = json.dumps(about, indent=2, ensure_ascii=False, default=str) + "\n"
    # Bytes of file names that are no text: "\udcff", as Python spells it, is JSON's spelling too.
    write_text(path_of(table), text.encode("utf-8", "backslashreplace").decode("utf-8"))


def read(table: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What an earlier run wrote; None where there is none.

    Raises:
      RunRecordError: for a file that is no JSON object.
    """
    path = path_of(table)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunRecordError(f"{path}: not the JSON that stands beside a table: {error}") from error
    if not isinstance(found, dict):
        raise RunRecordError(f"{path}: not the JSON that stands beside a table: {type(found).__name__}")
    return found


def check_same(table: str | os.PathLike[str], former: dict[str, Any], about: dict[str, Any]) -> None:
    """Refuses to go on with a table of another making.

    Raises:
      RunRecordError: names everything that differs.
    """
    ours = json.loads(json.dumps(about, default=str))
    keys = [key for key in {**former, **ours} if key not in FREE and former.get(key) != ours.get(key)]
    if keys:
        differ = "; ".join(f"{key}: {former.get(key)!r} there, {ours.get(key)!r} now" for key in keys)
        raise RunRecordError(f"{table} cannot be gone on with, it was made otherwise ({differ})")

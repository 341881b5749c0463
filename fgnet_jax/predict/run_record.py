"""The JSON beside a table: the record of the run that wrote it, so that its numbers can be understood and reproduced.

Versions of all that the numbers come from, git commit and date, weights with their checksum, what they have learnt
from, corpus, AUs, thresholds, detector, alignment, device, precision, smoothing, the arguments; and of each input its
SHA-256, size, frame rate and what its decoder found. A resumed run checks that it would write its rows with the same
settings. The comparison is by value, so texts recorded here stay as earlier versions wrote them.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from fgnet_jax.runtime.files import write_text

ALIGNMENT = "FFHQ's square (Karras et al., CVPR 2019, appendix C) from 68 landmarks"
"""How faces are cropped out of images; recorded as `alignment`."""

NO_ALIGNMENT = "none: the pictures are aligned faces"
"""As `ALIGNMENT`, for images that are aligned faces already (`--aligned`)."""

FREE = (
    "arguments",
    "begun",
    "complete",
    "device",
    "frame_rates",
    "git",
    "input_count",
    "inputs",
    "learnt_from",
    "table_bytes",
    "time",
    "versions",
    "weights_sums",
)
"""Keys that may differ between a run and the one that resumes its table."""


_NO_TEXT = re.compile("[\udc80-\udcff]")  # bytes of names among the arguments that are no text: see `media.escaping`


class RunRecordError(ValueError):
    """A table's JSON that does not fit; the message names the difference."""


def path_of(table: str | os.PathLike[str]) -> Path:
    """Return the record's file: `out.csv.json` for `out.csv`."""
    return Path(f"{os.fspath(table)}.json")


def write(table: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write a table's record; the file appears whole or not at all."""
    text = json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n"
    write_text(path_of(table), _NO_TEXT.sub(lambda match: rf"\\x{ord(match[0]) & 0xFF:02x}", text))


def read(table: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the record that an earlier run wrote; None where there is none.

    Raises:
      RunRecordError: The file is no JSON object.
    """
    path = path_of(table)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunRecordError(f"{path}: not the JSON that belongs to a table: {error}") from error
    if not isinstance(record, dict):
        raise RunRecordError(f"{path}: not the JSON that belongs to a table: {type(record).__name__}")
    return record


def check_same(table: str | os.PathLike[str], former: dict[str, Any], record: dict[str, Any]) -> None:
    """Check that two runs write rows with the same settings, all keys but `FREE` being equal.

    Raises:
      RunRecordError: Settings differ; the message names all that do.
    """
    current = json.loads(json.dumps(record, default=str))
    keys = [key for key in {**former, **current} if key not in FREE and former.get(key) != current.get(key)]
    if keys:
        differ = "; ".join(f"{key}: {former.get(key)!r} there, {current.get(key)!r} now" for key in keys)
        raise RunRecordError(f"{table} cannot be resumed, it was written with other settings ({differ})")

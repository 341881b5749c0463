"""Sums over the files of a folder, stored in it as `sums.json`, by which damage to any of them is found and named.

    {"format": 1, "files": {"meta/model.json": {"sha256": "…", "size": 812}, …}, "sha256": "…"}

The last one is over the others as canonical JSON: damage to `sums.json` itself is found, too. Files that the folder
gains afterwards are none of its business.
"""

import concurrent.futures
import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from fgnet_jax.runtime import files

SUMS_FILE = "sums.json"
FORMAT = 1

_BLOCK_BYTES = 4 << 20
_THREADS = min(8, os.cpu_count() or 1)
_PASSING = re.compile(r"\.(tmp|lock)$|^\.(writable|nfs|DS_Store)|\.orbax-checkpoint-tmp")


class Damage(NamedTuple):
    """A file that is not as it was written.

    Attributes:
      file: Its path.
      reason: What is wrong with it, as the end of a sentence: "is missing", "has 3 bytes in place of 8".
    """

    file: Path
    reason: str

    def __str__(self) -> str:
        """Return path and reason, as messages have them."""
        return f"{self.file} {self.reason}"


class _Sum(NamedTuple):
    size: int
    sha256: str


def write(folder: str | os.PathLike[str], leave_out: Collection[str] = ()) -> None:
    """Write the sums of every file below a folder; locks and temporary files are left out.

    Args:
      folder: A folder of this machine, or a remote one (`gs://…`) that `etils.epath` can open.
      leave_out: Names of further files, relative to the folder, that are to have no sums.

    Raises:
      OSError: A file cannot be read, or `sums.json` not be written.
    """
    root = _path(folder)
    found = {_name(file, root) for file in root.rglob("*") if file.is_file()}
    names = sorted(found - {"", *leave_out})
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        entries = pool.map(lambda name: _sum(root / name)._asdict(), names)
        text = _text(dict(zip(names, entries, strict=True)))
    if _is_remote(root):
        (root / SUMS_FILE).write_text(text)
    else:
        files.write_text(root / SUMS_FILE, text)


def has_sums(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has a `sums.json`."""
    return (_path(folder) / SUMS_FILE).exists()


def verify(
    folder: str | os.PathLike[str], only: Collection[str] | None = None, *, content_up_to: int | None = None
) -> list[Damage]:
    """Compare the files of a folder with their sums.

    Args:
      folder: A folder in which `write` wrote them.
      only: Names of the files to compare, relative to the folder; None for all that have sums.
      content_up_to: Of files with more bytes, the size alone is compared: their content is the caller's to verify.

    Returns:
      What is damaged or missing, by file; empty if all is as it was written. Where `sums.json` itself is, that alone.
    """
    root = _path(folder)
    try:
        stored = _read(root / SUMS_FILE)
    except FileNotFoundError:
        return [Damage(root / SUMS_FILE, "is missing")]
    except OSError as error:
        return [Damage(root / SUMS_FILE, f"cannot be read: {error.strerror or error}")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [Damage(root / SUMS_FILE, str(error) if isinstance(error, _SumsError) else "is damaged")]
    names = sorted(stored if only is None else only)
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        reasons = list(pool.map(lambda name: _difference(root / name, stored.get(name), content_up_to), names))
    return [Damage(root / name, reason) for name, reason in zip(names, reasons, strict=True) if reason]


def resized(folder: str | os.PathLike[str], only: Collection[str] | None = None) -> list[Damage]:
    """Compare the sizes of files with those in the sums, as `verify` but without reading them."""
    return verify(folder, only, content_up_to=-1)


class _SumsError(ValueError):
    """A `sums.json` that says something else than sums of this format."""


def _read(file: Path) -> dict[str, _Sum]:
    text = file.read_text(encoding="utf-8")
    values = json.loads(text)
    if _text(values["files"], values["format"]) != text:
        raise _SumsError("is damaged")
    if values["format"] != FORMAT:
        raise _SumsError(f"is of format {values['format']}, of a later version of fgnet_jax")
    return {name: _Sum(**entry) for name, entry in values["files"].items()}


def _text(entries: Mapping[str, Mapping[str, Any]], number: int = FORMAT) -> str:
    values: dict[str, Any] = {"format": number, "files": entries}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps(values | {"sha256": digest}, indent=1) + "\n"


def _sum(file: Path) -> _Sum:
    size, digest = 0, hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            size += len(block)
            digest.update(block)
    return _Sum(size, digest.hexdigest())


def _difference(file: Path, expected: _Sum | None, content_up_to: int | None) -> str:
    """Return what is wrong with a file, empty if nothing is."""
    if expected is None:
        return f"has no sum in {SUMS_FILE}"
    try:
        size = _size(file)
        is_read = size == expected.size and (content_up_to is None or size <= content_up_to)
        found = _sum(file) if is_read else expected._replace(size=size)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if found.size != expected.size:
        return f"has {found.size} bytes in place of {expected.size}"
    return "" if found == expected else "is damaged (its SHA-256 is another)"


def _size(file: Path) -> int:
    status = file.stat()
    return cast(Any, status).length if _is_remote(file) else status.st_size


def _name(file: Path, root: Path) -> str:
    """Return a file's name in the sums; empty if it has no place there."""
    relative = file.relative_to(root)
    name = relative.as_posix()
    return "" if name == SUMS_FILE or any(_PASSING.search(part) for part in relative.parts) else name


def _is_remote(path: str | os.PathLike[str]) -> bool:
    return "://" in os.fspath(path)


def _path(folder: str | os.PathLike[str]) -> Path:
    """Return the folder's path; a remote one, from a library that takes a third of a second to import, acts alike."""
    if not _is_remote(folder):
        return Path(folder)
    from etils import epath

    return cast(Path, epath.Path(os.fspath(folder)))

"""Files that are written whole or not at all, and checks that a folder can be written to."""

import contextlib
import glob
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_LEFTOVER_SECONDS = 600.0  # since a temporary file was written to last


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, whose file replaces `path` when the block ends.

    Whatever happens, a reader of `path` finds either the former file or the whole new one. If the block raises, or
    writes no file, the temporary file is removed and `path` stays as it was.

    Args:
      path: The file to write; its folder must exist.

    Raises:
      OSError: if the file cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    if path.exists() and not path.is_file():
        yield path  # a device or a pipe is written to: in its place, a file would be no use to anybody
        return
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.exists():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename = str(path)  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote this file.

    A process of another machine may write to the same folder: what was written to lately stays.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        process = leftover.name.removesuffix(".tmp").rpartition(".")[2]
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            is_old = time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS
            if is_old and process.isdecimal() and not _is_alive(int(process)):
                leftover.unlink()


def _is_alive(process: int) -> bool:
    """Return whether this machine has a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content, as hexadecimal digits.

    Raises:
      OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class NotWritableError(OSError):
    """A directory cannot be written to; the message names it and the reason."""


def check_writable(directory: str | Path, need_bytes: int = 0) -> None:
    """Create a directory with its parents if it does not exist, and verify that it can be written to.

    Args:
      directory: A folder on a file system of this machine.
      need_bytes: How much must be free there.

    Raises:
      NotWritableError: if the directory cannot be created or written to, or less than `need_bytes` is free.
    """
    directory = Path(directory)
    probe = directory / f".writable.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"1")  # one byte: a full disk still takes empty files
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise NotWritableError(f"cannot write to {directory}: {error.strerror or error}") from error
    if free < need_bytes:
        raise NotWritableError(
            f"cannot write to {directory}: {_gigabytes(need_bytes)} are needed, {_gigabytes(free)} are free"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"

"""Files written whole or not at all, and folders that can be written to."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path`, whose file takes the place of `path` when the block ends.

    Whatever happens, a reader of `path` finds either the former file or the whole new one. Where the block raises, or
    makes no file, the temporary one is removed and `path` stays as it was.

    Args:
      path: The file to be written; its folder must exist.

    Raises:
      OSError: The file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.exists():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


class NotWritableError(OSError):
    """A directory that results cannot be written to; the message names it and says why."""


def check_writable(directory: str | Path, need_bytes: int = 0) -> None:
    """Makes a directory with its parents if need be, and proves that it can be written to.

    Args:
      directory: On a file system of this machine.
      need_bytes: How much must be free there.

    Raises:
      NotWritableError: if it cannot be made or written to, or has less room.
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

"""Files that are written whole or not at all, locks, and checks that a folder can be written to."""

import contextlib
import errno
import fcntl
import functools
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

_LEFTOVER_SECONDS = 600.0  # since a temporary file was written to last
_WRITER = re.compile(r"(?P<process>\d+)(\.(?P<table>[0-9a-f]{8}))?\.tmp")  # older versions named the process alone
_HOLDER_SECONDS = 1.0  # within which whoever took a lock has written its name into it
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system that has none


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{_process_table()}.tmp")
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

    Of a process that this one would see if it were alive, at once. A process of another machine or container may write
    to the same folder: what such a one wrote to lately stays.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        match = _WRITER.fullmatch(leftover.name[len(path.name) + 2 :])
        if match is None or _is_alive(int(match["process"])):
            continue
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            if match["table"] == _process_table() or time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                leftover.unlink()


@functools.cache
def _process_table() -> str:
    """Return eight digits that name what process numbers belong to: the running kernel, and a container of it."""
    table = machine()
    with contextlib.suppress(OSError):
        table += os.readlink("/proc/self/ns/pid")  # containers of one machine have numbers of their own
    return hashlib.sha256(table.encode()).hexdigest()[:8]


def machine() -> str:
    """Return a name of the kernel that this process runs on: machines may have the same host name."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return socket.gethostname()


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


def expanded(path: str) -> str:
    """Expand `~` and `~user` at the beginning of a path, as shells do; a file whose name begins with it is `./~name`.

    Raises:
      ValueError: There is no such user, nor a file of this name.
    """
    if not path.startswith("~"):
        return path
    result = os.path.expanduser(path)
    if result == path and not os.path.lexists(path):
        user = path.partition("/")[0].removeprefix("~")
        raise ValueError(f"{path}: this machine has no user {user!r}; a file or folder of this name is ./{path}")
    return result


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content, as hexadecimal digits.

    Raises:
      OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LockedError(OSError):
    """A lock that another process holds; the message names that process, its machine and since when."""


@contextlib.contextmanager
def locked(
    path: str | os.PathLike[str], *, wait: bool = False, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a lock until the block ends; where the process is killed, the kernel ends it.

    Args:
      path: The lock's file, which stays (removing it is safe, too); its folder must exist. It names its holder.
      wait: Whether to wait for another process that holds it.
      on_wait: Called once with the holder, in words, before that wait.

    Raises:
      LockedError: Another process holds it, and `wait` is false.
      OSError: The file cannot be written.
    """
    path = Path(path)
    with _lock(path, wait, on_wait) as file:
        file.seek(0)
        file.truncate()
        holder = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        json.dump(holder, file)
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def _lock(path: Path, wait: bool, on_wait: Callable[[str], None] | None) -> TextIO:
    """Open the file of a lock and take the lock, which ends when the file is closed."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            if not _take(file, wait=False):
                if not wait:
                    raise LockedError(f"{path.parent} is in use by {_holder(path)}")
                if on_wait:
                    on_wait(_holder(path))
                    on_wait = None
                _take(file, wait=True)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the file was removed in between: whoever comes next locks another one


def _take(file: TextIO, *, wait: bool) -> bool:
    """Take a lock; return False if another process holds it, and it is not waited for."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.getLogger(__name__).warning("%s: this file system has no locks; start one process only", file.name)
    return True


def holder(path: str | os.PathLike[str]) -> str | None:
    """Return which process holds a lock, in words; None if none does. Nothing is written."""
    path = Path(path)
    named = _named(path)
    if named is None:  # trying the lock would keep another process from it for a moment
        return None
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the file is closed
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return named
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return None


def _named(path: Path) -> str | None:
    """Return the process that the file of a lock names, in words; None if it names none, or one that has ended."""
    with contextlib.suppress(ValueError, KeyError, TypeError, FileNotFoundError):  # not written yet
        holder = json.loads(path.read_text(encoding="utf-8"))
        host, process, since = holder["host"], int(holder["pid"]), holder["since"]
        if host != socket.gethostname() or _is_alive(process):
            return f"process {process} on {host}, since {since}"
    return None


def _holder(path: Path) -> str:
    """Return who holds a lock, in words."""
    deadline = time.monotonic() + _HOLDER_SECONDS
    while (named := _named(path)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return named or "another process"


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

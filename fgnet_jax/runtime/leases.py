"""Locks for work that several machines share, also where their file system does not share its locks.

    PATH          locked by the kernel (`files.locked`); names its holder while it is held
    PATH.alive    who holds it; touched every few seconds

The kernel ends a lock with its process, however that ends. Local file systems and most network ones (NFS, GPFS, Lustre
mounted with `flock`) show it to all machines. Some show it to the processes of one machine alone (Lustre mounted with
`localflock`, BeeGFS unless it is configured, NFS with `local_lock=flock`), and which does is not to be found out from
one machine. So a lock of another machine is believed as long as its file was touched within `LEASE_SECONDS`, too: one
whose machine has died is free after that time. The file system's clock is compared with itself alone.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgnet_jax.runtime import files

LEASE_SECONDS = 120.0
"""How long another machine's lock is believed after it was touched last."""

_BEAT_SECONDS = 15.0  # between two touches
_SETTLING_SECONDS = 1.0  # within which two machines that take the same stale lease have both written it

Holder = dict[str, Any]
"""Who holds a lease: `machine`, `host`, `pid`, and a `token` of this holding alone."""


@contextlib.contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a lock against all machines until the block ends; where the process is killed, it ends by itself.

    Args:
      path: The lock's file, which stays; its folder must exist.

    Raises:
      files.LockedError: Another process holds it, of this machine or of another; the message names it.
      OSError: The files cannot be written.
    """
    path = Path(path)
    with files.locked(path):
        own = {"machine": files.machine(), "host": socket.gethostname(), "pid": os.getpid()}
        own["token"] = secrets.token_hex(8)
        _take(path, own)
        ended = threading.Event()
        thread = threading.Thread(target=_touch, args=(path, own, ended), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if _read(path) == own:
                _lease(path).unlink(missing_ok=True)


def holder(path: str | os.PathLike[str]) -> str | None:
    """Return who holds a lock, in words; None if nobody does. Nothing is written, and no lock is taken for long."""
    path = Path(path)
    if by_kernel := files.holder(path):
        return by_kernel
    other = _read(path)
    age = _age(path, touch=False)
    return _words(other, age) if other and _is_believed(other, age) else None


def _lease(path: Path) -> Path:
    return path.with_name(f"{path.name}.alive")


def _take(path: Path, own: Holder) -> None:
    """Write the lease of a lock that the kernel has given, unless another machine's is believed."""
    try:
        with _lease(path).open("x", encoding="utf-8") as file:  # of two machines, one creates it
            json.dump(own, file)
        return
    except FileExistsError:
        other, age = _read(path), _age(path, touch=True)
    if other and _is_believed(other, age):
        raise files.LockedError(f"{path} is in use by {_words(other, age)}")
    if not other and age < LEASE_SECONDS:  # created, and its holder's name is not written yet
        raise files.LockedError(f"{path} is in use by another process")
    files.write_text(_lease(path), json.dumps(own))
    if other and other["machine"] == own["machine"]:
        return  # of a process that was killed here: the kernel's lock keeps all others of this machine away
    time.sleep(_SETTLING_SECONDS)
    if (now := _read(path)) != own:
        raise files.LockedError(f"{path} is in use by {_words(now, 0.0) if now else 'another process'}")


def _read(path: Path) -> Holder | None:
    """Read a lease; None if there is none, or it is not written yet."""
    try:
        values = json.loads(_lease(path).read_text(encoding="utf-8"))
        return {key: values[key] for key in ("machine", "host", "pid", "token")}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _is_believed(other: Holder, age: float) -> bool:
    return other["machine"] != files.machine() and age < LEASE_SECONDS


def _age(path: Path, *, touch: bool) -> float:
    """Return the seconds since a lease was touched, by the file system's clock if its lock may be touched."""
    try:
        with _lease(path).open("rb") as file:  # opened: network file systems then ask their server
            touched = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return LEASE_SECONDS
    if not touch:
        return time.time() - touched
    os.utime(path)
    return path.stat().st_mtime - touched


def _words(other: Holder, age: float) -> str:
    return f"process {other['pid']} on {other['host']}, which was alive {max(0, age):.0f} s ago"


def _touch(path: Path, own: Holder, ended: threading.Event) -> None:
    """Touch a lease until the event is set, or the lease is another's."""
    lease, log = _lease(path), logging.getLogger(__name__)
    while not ended.wait(_BEAT_SECONDS):
        try:
            if (now := _read(path)) not in (None, own):
                log.warning("%s was taken by %s: both may do the same work; stop one", lease, _words(now, 0.0))
                return
            os.utime(lease)
        except FileNotFoundError:
            log.warning("%s was removed: another process may take the same work", lease)
            return
        except OSError as error:  # a server that is gone for a while
            log.warning("%s: %s", lease, error)

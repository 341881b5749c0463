"""The run as the operating system sees it: what made it, signals that stop it, files written whole, its log.

Knows nothing of models, and imports JAX only where it asks JAX something.
"""

import logging as std_logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from absl import flags, logging

import fgnet_jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
"""Whose versions a run's results may depend on."""

_SOURCE = Path(__file__).resolve().parent
_GIT_SECONDS = 20.0  # a checkout on a slow network drive is not worth waiting longer for
_EXPECTED = ("Using custom data configuration", "Variant folder ", "Waiting for previous save to complete")
_OUR_CODE = tuple(str(_SOURCE.parent / name) + os.sep for name in ("fgnet_jax", "convert_weights", "benchmarks"))


def provenance() -> dict[str, Any]:
    """What makes a result repeatable, ready for JSON.

    Returns:
      `versions` (name to version, of Python, fgnet_jax and `PACKAGES`; None for what is not installed), `git`
      ({"commit", "dirty"} of the checkout that fgnet_jax is imported from, None outside one), `devices`
      ({"kind", "platform", "count"} over all processes), `processes`, `hostname`, `time` (UTC, ISO 8601), `argv`.
    """
    import jax

    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), "fgnet_jax": fgnet_jax.__version__} | _versions(),
        "git": git_state(_SOURCE),
        "devices": {"kind": device.device_kind, "platform": device.platform, "count": jax.device_count()},
        "processes": jax.process_count(),
        "hostname": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": list(sys.argv),
    }


def git_state(directory: Path) -> dict[str, Any] | None:
    """The commit of the checkout that `directory` is a tracked part of, and whether a tracked file differs from it.

    None where git, a checkout or a commit is missing, and for an installed copy that merely lies inside some other
    project's folder.
    """
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit or not _git(directory, "ls-files"):
        return None
    changes = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": changes if changes is None else bool(changes)}


class Stopped(Exception):
    """A signal came while nothing was left to be saved; the message is its name."""


class StopSignal:
    """Catches SIGTERM and SIGINT, so that a run can save before it ends. A context manager for the main thread.

        with StopSignal() as stop:
            while not stop.received: ...

    The first signal is only noted, unless `raise_from_now_on` was called; a later SIGINT raises KeyboardInterrupt, a
    later SIGTERM changes nothing. At the end the former handlers are back.

    Attributes:
      received: Name of the first signal, "SIGTERM" or "SIGINT"; None before one came.
    """

    def __init__(self, active: bool = True):
        """Catches nothing before the `with` statement.

        Args:
          active: False catches nothing at all: for runs on several hosts. There JAX has a SIGTERM handler of its own,
            by which the hosts agree on the step to stop at (`reached_preemption`), and which this one would silence.
        """
        self.received: str | None = None
        self._active = active
        self._former: dict[signal.Signals, Any] = {}
        self._raises = False

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGTERM, signal.SIGINT) if self._active else ():
            self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None: a handler that Python did not set (a C library's) cannot be given back by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def raise_from_now_on(self) -> None:
        """Lets the first signal raise `Stopped` where the program is, at once if it has come already."""
        self._raises = True
        if self.received is not None:
            raise Stopped(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None and self._raises:
            self.received = signal.Signals(number).name
            raise Stopped(self.received)
        if self.received is None:
            self.received = signal.Signals(number).name
            # Not print or logging: this may have interrupted either, and they are not made to be entered twice.
            os.write(2, f"\n{self.received} received: finishing this step, then saving and ending\n".encode())
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


def atomic_write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file that is, whatever happens, either the former or the new one as a whole."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def setup_logging(active: bool = True) -> None:
    """Makes absl's log short: time, level and message on standard error, and of libraries only their warnings.

    `--verbosity`, where it is given, decides instead what is shown, of libraries too. Call it after flags are parsed.

    Args:
      active: False for processes other than the first, which then show warnings only.
    """
    logging.use_absl_handler()
    handler = logging.get_absl_handler().python_handler
    handler.setFormatter(std_logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
    handler.removeFilter(_ours_or_warning)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO if active else logging.WARNING)
        handler.addFilter(_ours_or_warning)


def _ours_or_warning(record: std_logging.LogRecord) -> bool:
    if isinstance(record.msg, str) and record.msg.startswith(_EXPECTED):
        return False
    return record.levelno >= std_logging.WARNING or os.path.abspath(record.pathname).startswith(_OUR_CODE)


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _git(directory: Path, *command: str) -> str | None:
    """What git says, or None where it cannot say anything."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *command], capture_output=True, text=True, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"

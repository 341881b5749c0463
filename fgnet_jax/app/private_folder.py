"""A folder that only this process' user can read, and that is gone when the process has ended.

A process that is killed leaves its folder behind. Its lock ends with it, so that the next process knows it is dead.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

_LOCK = ".lock"
_TRIES = 3  # threads that are still at work may write into a folder while it is removed


@contextlib.contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Create a folder of mode 700 in the system's folder for temporary files, and remove it when the block ends.

    First, folders of the same user that killed processes have left there are removed.

    Args:
      prefix: Beginning of its name, by which the leftovers are found; the rest of it is random, so that nobody else can
        create it before.

    Raises:
      OSError: No folder can be created there.
    """
    parent = Path(os.path.realpath(tempfile.gettempdir()))
    remove_leftovers(parent, prefix)
    folder, lock = _locked_folder(parent, prefix)
    with lock:
        try:
            yield folder
        finally:
            _remove(folder)


def remove_leftovers(parent: Path, prefix: str) -> None:
    """Remove the folders of this user whose names begin with `prefix`, unless their processes are alive."""
    for path in parent.glob(f"{prefix}*"):
        # Another process has removed it, or its file system has no locks: who knows whether its process is alive.
        with contextlib.suppress(OSError):
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                with (path / _LOCK).open("a") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, IO[str]]:
    """Create a folder whose lock is taken.

    It has another name until then: `remove_leftovers` of another process never meets it without its holder.
    """
    unnamed = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
    lock = (unnamed / _LOCK).open("a")
    with contextlib.suppress(OSError):  # a file system without locks: in it, nothing is taken for a dead process'
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return unnamed.rename(parent / unnamed.name.removeprefix(".")), lock


def _remove(folder: Path) -> None:
    """Remove a folder.

    Raises:
      OSError: Something in it cannot be removed.
    """
    for left in reversed(range(_TRIES)):
        shutil.rmtree(folder, ignore_errors=left > 0)
        if not folder.exists():
            return


@contextlib.contextmanager
def for_temporary_files(folder: Path) -> Iterator[Mapping[str, str]]:
    """Let this process, and those that it starts, create their temporary files in a folder, those of Gradio among them.

    Gradio must not have been imported before: it reads the variables only then.

    Yields:
      All environment variables as they were, for processes that outlive the folder.
    """
    variables = {"TMPDIR": folder, "GRADIO_TEMP_DIR": folder / "files", "GRADIO_EXAMPLES_CACHE": folder / "examples"}
    original = dict(os.environ)
    former = {name: os.environ.get(name) for name in variables}, tempfile.tempdir
    os.environ |= {name: str(path) for name, path in variables.items()}
    tempfile.tempdir = str(folder)
    try:
        yield original
    finally:
        tempfile.tempdir = former[1]
        for name, value in former[0].items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

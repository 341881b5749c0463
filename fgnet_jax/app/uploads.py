"""Files that were uploaded: they are removed when no tab shows them any more."""

import contextlib
import threading
from collections.abc import Hashable, Iterable
from pathlib import Path

Identity = tuple[int, int]
"""Inode and time of the last change: a file that was uploaded anew has another one."""


class Uploads:
    """The files that tabs show; Gradio stores equal files of equal names once, whichever tab they come from."""

    def __init__(self, folder: Path):
        """Begin with no tab.

        Args:
          folder: Where uploads lie; files elsewhere, such as the example, are never removed.
        """
        self._folder = folder
        self._paths: dict[Hashable, frozenset[str]] = {}
        self._identities: dict[str, Identity | None] = {}
        self._lock = threading.Lock()

    def hold(self, tab: Hashable, paths: Iterable[str]) -> None:
        """Take the files that a tab shows from now on, and remove those of before that no tab shows any more."""
        with self._lock:
            before = self._paths.pop(tab, frozenset())
            now = frozenset(paths)
            if now:
                self._paths[tab] = now
            self._identities |= {path: _identity(path) for path in now}
            for path in before.difference(*self._paths.values()):
                if self._identities.pop(path) == _identity(path):
                    self._remove(Path(path))

    def _remove(self, path: Path) -> None:
        if path.is_file() and path.is_relative_to(self._folder):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a file of equal content and another name is in the same folder
                path.parent.rmdir()


def _identity(path: str) -> Identity | None:
    """Return what distinguishes a file from a later one in its place; None where it does not exist."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns

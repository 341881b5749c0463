"""SHA-256 of files, computed on a thread beside the work that reads them."""

import dataclasses
import hashlib
import os
import queue
import threading
from collections.abc import Callable

_CHUNK = 2**20  # bytes between two looks at whether to stop; while they are hashed, other threads run


@dataclasses.dataclass(frozen=True)
class FileSum:
    """A file's content, in short.

    Attributes:
      sha256: As hexadecimal digits.
      bytes: Its size.
    """

    sha256: str
    bytes: int


class FileHasher:
    """A thread that computes the SHA-256 of files, one after the other, each once.

    It is a daemon: it holds up no process that ends without `close`.
    """

    def __init__(self) -> None:
        self._files: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._sums: dict[str, FileSum] = {}
        self._added: set[str] = set()
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="file hasher", daemon=True)
        self._thread.start()

    def add(self, path: str) -> None:
        """Hand over a file. What is none (a pipe, a device), or cannot be read, has no sum in the end."""
        if path not in self._added:
            self._added.add(path)
            self._files.put(path)

    def sums(self) -> dict[str, FileSum]:
        """Return the sums that are known by now, by path."""
        return self._sums.copy()

    def close(self, should_stop: Callable[[], object] = lambda: None) -> dict[str, FileSum]:
        """Wait for the files that were handed over, end the thread, and return the sums.

        Args:
          should_stop: Called ten times a second; what it returns, if true, ends the wait, and unfinished files have no
            sum.
        """
        self._files.put(None)
        while self._thread.is_alive():
            if should_stop():
                self._is_stopped.set()
            self._thread.join(0.1)
        return self.sums()

    def _work(self) -> None:
        while (path := self._files.get()) is not None and not self._is_stopped.is_set():
            if os.path.isfile(path) and (found := self._sum(path)) is not None:
                self._sums[path] = found

    def _sum(self, path: str) -> FileSum | None:
        """Return a file's sum; None where it cannot be read, which its reader reports, or the thread is stopped."""
        digest, size = hashlib.sha256(), 0
        try:
            with open(path, "rb", buffering=0) as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if self._is_stopped.is_set():
                        return None
        except OSError:
            return None
        return FileSum(digest.hexdigest(), size)

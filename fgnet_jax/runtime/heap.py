"""glibc's heap: a long run keeps the memory of a short one."""

import contextlib
import ctypes
import time

_ARENA_MAX = -8  # glibc's M_ARENA_MAX, of malloc.h
_TRIM_SECONDS = 0.5


class HeapTrimmer:
    """Keeps the memory of a long run that of a short one.

    glibc gives every thread its own heap. Frames are allocated on one thread and freed on another, and with time every
    heap grows to what the fullest one needs, and is full of holes: a tenth of the memory. One heap for all threads,
    whose holes are given back to the system now and then, stays constant; threads seldom contend for it, since their
    allocations are large.
    """

    def __init__(self) -> None:
        self._library, self._trimmed = None, 0.0
        with contextlib.suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL("libc.so.6")
            library.mallopt(_ARENA_MAX, 1)
            library.malloc_trim(0)
            self._library = library

    def trim(self) -> None:
        """Give free memory back to the system, every `_TRIM_SECONDS`."""
        now = time.monotonic()
        if self._library is not None and now - self._trimmed > _TRIM_SECONDS:
            self._library.malloc_trim(0)
            self._trimmed = now

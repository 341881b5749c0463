"""What processes that measure have in common; it imports nothing heavy, so that they start fast."""

import contextlib
import pathlib


def let_be_killed_first() -> None:
    """Let Linux end this process before any other if memory runs out."""
    with contextlib.suppress(OSError):  # another system
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")

"""Errors of conversions."""

from collections.abc import Sequence

MAX_LINES = 100
"""Problems in one message; the others are counted."""


class ConversionError(ValueError):
    """A file cannot be read, or its tensors cannot be converted; the message is for the user."""


class Mismatch(ConversionError):
    """Tensors do not fit the network; all problems at once.

    Attributes:
      problems: One line for each tensor.
    """

    def __init__(self, problems: Sequence[str]):
        """Compose the message out of the problems, of which the first `MAX_LINES` are shown."""
        self.problems = tuple(problems)
        count = f"{len(problems):,} problem{'s' if len(problems) > 1 else ''}"
        rest = [f"and {len(problems) - MAX_LINES:,} more"] * (len(problems) > MAX_LINES)
        lines = (f"the tensors do not fit the network ({count}); nothing was written:", *problems[:MAX_LINES], *rest)
        super().__init__("\n  ".join(lines))

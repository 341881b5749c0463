"""Errors of conversions."""

from collections.abc import Sequence


class ConversionError(ValueError):
    """A file cannot be read, or its tensors cannot be converted; the message is for the user."""


class Mismatch(ConversionError):
    """Tensors do not fit the network; all problems at once.

    Attributes:
      problems: One line for each tensor.
    """

    def __init__(self, problems: Sequence[str]):
        """Compose the message out of the problems."""
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(
            "\n  ".join((f"the tensors do not fit the network ({count}); nothing was written:", *problems))
        )

"""What a conversion says no with."""

from collections.abc import Sequence


class ConversionError(ValueError):
    """A file that is not read, or a set of tensors that is not converted; the message is for the user."""


class Mismatch(ConversionError):
    """Tensors that do not fit the network, all of them at once.

    Attributes:
      problems: One line for each tensor.
    """

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        super().__init__(
            "\n  ".join((f"the tensors do not fit the network ({count}); nothing was written:", *problems))
        )

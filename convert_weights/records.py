"""What the pickle machine makes: names and objects as plain data, and the budget that it works within."""

import dataclasses
from typing import Any

from convert_weights.errors import ConversionError

MAX_OPERATIONS = 2_000_000
"""Pickle opcodes a file may take; the published ones take at most some hundred thousand."""

COPIES = 16
"""How many times its own size a file may have copied by the functions that it calls."""


@dataclasses.dataclass
class Budget:
    """What one file may still cost, all the pickles inside it together.

    Attributes:
      operations: Opcodes left.
      copied: Bytes left for what functions make out of their arguments.
    """

    operations: int
    copied: int

    def spend(self) -> None:
        """Counts one opcode.

        Raises:
          ConversionError: if there were too many.
        """
        self.operations -= 1
        if self.operations < 0:
            raise ConversionError(f"the pickle takes more than {MAX_OPERATIONS:,} operations, which no weights need")

    def copy(self, count: int) -> None:
        """Counts `count` bytes made by a function.

        Raises:
          ConversionError: if there were many times more than the file itself has.
        """
        self.copied -= count
        if self.copied < 0:
            raise ConversionError(f"the pickle makes more than {COPIES} times the bytes that the file has")


def budget_for(size: int) -> Budget:
    """The budget of a file of `size` bytes."""
    return Budget(MAX_OPERATIONS, COPIES * size)


@dataclasses.dataclass(frozen=True)
class Global:
    """A name in a pickle, "module.name". It stands for nothing but itself."""

    name: str


@dataclasses.dataclass(eq=False)
class Record:
    """An object of a class that we know of, as plain data; its own code never runs.

    Attributes:
      name: The class's full name.
      args: What its constructor was to be called with.
      state: What BUILD gave it, or None.
    """

    name: str
    args: tuple = ()
    state: Any = None

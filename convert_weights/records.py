"""Results of the pickle machine: names and objects as plain data; and the budget of a file."""

import dataclasses
from typing import Any

from convert_weights.errors import ConversionError

Pickled = Any
"""A value out of a pickle: plain data, a container, a `Global`, a `Record`, or a constructor's result.

Nothing is known of its type: whoever uses it checks it first.
"""

MAX_OPERATIONS = 2_000_000
"""Pickle opcodes a file may take; the published ones take at most some hundred thousand."""

COPIES = 16
"""How many times its own size a file may let the functions that it calls copy."""


@dataclasses.dataclass
class Budget:
    """The work and memory that one file may still take, all pickles inside it together.

    Attributes:
      operations: Opcodes left.
      copied: Bytes left for results that functions make of their arguments.
    """

    operations: int
    copied: int

    def spend(self) -> None:
        """Count one opcode.

        Raises:
          ConversionError: if there were too many.
        """
        self.operations -= 1
        if self.operations < 0:
            raise ConversionError(f"the pickle takes more than {MAX_OPERATIONS:,} operations, which no weights need")

    def copy(self, count: int) -> None:
        """Count `count` bytes made by a function.

        Raises:
          ConversionError: if there were many times more than the file has.
        """
        self.copied -= count
        if self.copied < 0:
            raise ConversionError(f"the pickle makes more than {COPIES} times the bytes that the file has")


def budget_for(size: int) -> Budget:
    """Return the budget of a file of `size` bytes."""
    return Budget(operations=MAX_OPERATIONS, copied=COPIES * size)


@dataclasses.dataclass(frozen=True)
class Global:
    """A name in a pickle, "module.name": a symbol, never an import."""

    name: str


@dataclasses.dataclass(eq=False)
class Record:
    """An object of a known class, as plain data; the class' own code never runs.

    Attributes:
      name: The class's full name.
      args: Arguments of its constructor.
      state: The state that BUILD gave it, or None.
    """

    name: str
    args: tuple = ()
    state: Pickled = None

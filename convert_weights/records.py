"""Results of the pickle machine: names and objects as plain data; and the budget of a file."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

from convert_weights.errors import ConversionError

Pickled = Any
"""A value out of a pickle: plain data, a container, a `Global`, `Record`, `Text`, `Skipped`, or a constructor's result.

Nothing is known of its type: whoever uses it checks it first, and shows it by `untrusted.shown`.
"""

MAX_OPERATIONS = 1_000_000
"""Pickle opcodes a file may take, and elements that it may let functions read; published ones take 200,000 at most."""

COPIES = 16
"""How many times its own size a file may let the functions that it calls copy text."""

MAX_TEXT = 32 << 20
"""Characters of all names and settings of a file; longer texts are arrays' bytes, and not read before they are used."""

MAX_TUPLE_KEYS = 1000
"""Tuples that are keys: unlike text, tuples of one hash are easily made, and a thousand of them cost little."""


@dataclasses.dataclass
class Budget:
    """The work and memory that one file may still take, all pickles inside it together.

    Attributes:
      operations: Opcodes left.
      copied: Bytes left for texts that functions make of their arguments.
      text: Characters left for texts.
      tuple_keys: Tuples left that may be keys.
    """

    operations: int
    copied: int
    text: int = MAX_TEXT
    tuple_keys: int = MAX_TUPLE_KEYS

    def spend(self, count: int = 1) -> None:
        """Count opcodes, or elements that a function reads.

        Raises:
          ConversionError: if there were too many.
        """
        self.operations -= count
        if self.operations < 0:
            raise ConversionError(f"the pickle takes more than {MAX_OPERATIONS:,} operations, which no weights need")

    def copy(self, count: int) -> None:
        """Count `count` characters read by a function.

        Raises:
          ConversionError: if there were many times more than the file has.
        """
        self.copied -= count
        if self.copied < 0:
            raise ConversionError(f"the pickle makes more than {COPIES} times the bytes that the file has")

    def write(self, count: int) -> None:
        """Count `count` characters of text.

        Raises:
          ConversionError: if there were more than any names and settings have.
        """
        self.text -= count
        if self.text < 0:
            raise ConversionError(f"the pickle has more than {MAX_TEXT:,} characters of text, which no weights need")

    def hash_tuple(self) -> None:
        """Count a tuple that is a key.

        Raises:
          ConversionError: if there were too many.
        """
        self.tuple_keys -= 1
        if self.tuple_keys < 0:
            raise ConversionError(f"the pickle has more than {MAX_TUPLE_KEYS:,} tuples for keys, which no weights need")


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


@dataclasses.dataclass(eq=False)
class Skipped:
    """A class that is not known, or an object of it: a setting, of which nothing is made.

    Attributes:
      name: The class's full name.
      items: The entries that the pickle gave it, where it is a dictionary of settings.
    """

    name: str
    items: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """A text too long for a name: the bytes of an array, as old pickles have them. It is not read before it is used.

    Attributes:
      read: Returns its bytes, one a character.
    """

    read: Callable[[], bytes]

    @cached_property
    def count(self) -> int:
        """The number of its characters."""
        return len(self.read())

"""What all commands have in common: their help, `--version`, flags with `_` or with `-`, and values that are checked."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.runtime.version import __version__

SCRIPT = "fgnet-jax"
"""The command that has all others as its subcommands."""


class Parser(argparse.ArgumentParser):
    """A parser whose help is a module's docstring: the first paragraph above the options, the rest below.

    Flags may be spelled with `_` or with `-`, and not abbreviated. Parsers of subcommands are of this class, too.
    """

    def __init__(self, doc: str = "", prog: str | None = None, **options: Any):  # noqa: ANN401 - argparse's own
        """Takes the docstring, and the command's name as `program` gives it."""
        description, _, details = doc.partition("\n\n")
        super().__init__(
            prog=prog,
            description=description or None,
            epilog=details or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        if doc:
            self.add_argument("--version", action="version", version=f"fgnet_jax {__version__}")

    def parse_known_args(self, args=None, namespace=None):  # noqa: ANN001, ANN201 - as argparse has it
        """Parses as argparse does, after every flag got the spelling that it was defined with."""
        return super().parse_known_args(_spelled(sys.argv[1:] if args is None else args, self._flags()), namespace)

    def _flags(self) -> dict[str, str]:
        return {flag.replace("-", "_"): flag for flag in self._option_string_actions if flag.startswith("--")}


def _spelled(arguments: Sequence[str], flags: dict[str, str]) -> list[str]:
    """Arguments whose flags are spelled as in `flags`; all behind a bare `--` stay as they are."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for k, argument in enumerate(arguments[:end]):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            arguments[k] = flags.get(name.replace("-", "_"), name) + equals + value
    return arguments


def program(name: str) -> str:
    """The name of a command as it was started: `fgnet-jax predict`, or `python -m fgnet_jax.predict`."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {name}"
    return f"python -m {'convert_weights' if name == 'convert' else f'fgnet_jax.{name}'}"


def positive(text: str) -> int:
    """Converts an argument to a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Converts an argument to a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
    return int(text)


def fail(prog: str, error: object, status: int) -> int:
    """Prints an error as the last line on standard error; returns the exit status."""
    print(f"{prog}: error: {error}", file=sys.stderr, flush=True)
    return status


def status(command: str, message: str) -> None:
    """Prints a line about how a command goes on standard error."""
    print(f"fgnet_jax.{command}: {message}", file=sys.stderr, flush=True)

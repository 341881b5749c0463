"""What all commands share: help texts, `--version`, flags spelled with `_` or `-`, checked values, and messages."""

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
        """Create a parser.

        Args:
          doc: The docstring of the command's module; empty for a subcommand, whose parent has `--version`.
          prog: The command's name, as `program` returns it.
          **options: Further arguments of `argparse.ArgumentParser`.
        """
        description, _, details = doc.partition("\n\n")
        super().__init__(
            prog=prog,
            description=description or None,
            epilog=details or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.add_argument("--version", action="version", version=f"fgnet_jax {__version__}")

    def parse_known_args(self, args=None, namespace=None):  # noqa: ANN001, ANN201 - as argparse has it
        """Parse as argparse does, after respelling every flag as it was defined."""
        return super().parse_known_args(_spelled(sys.argv[1:] if args is None else args, self._flags()), namespace)

    def _flags(self) -> dict[str, str]:
        return {flag.replace("-", "_"): flag for flag in self._option_string_actions if flag.startswith("--")}


def _spelled(arguments: Sequence[str], flags: dict[str, str]) -> list[str]:
    """Respell flags as in `flags`; leave everything after a bare `--` as it is."""
    arguments = list(arguments)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for k, argument in enumerate(arguments[:end]):
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            arguments[k] = flags.get(name.replace("-", "_"), name) + equals + value
    return arguments


def program(name: str) -> str:
    """Return the name of a command as it was started: `fgnet-jax predict`, or `python -m fgnet_jax.predict`."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {name}"
    return f"python -m {'convert_weights' if name == 'convert' else f'fgnet_jax.{name}'}"


def positive(text: str) -> int:
    """Convert an argument to a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Convert an argument to a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}")
    return int(text)


def fail(prog: str, error: object, status: int) -> int:
    """Print an error as the last line on standard error, and return the exit status."""
    print(f"{prog}: error: {error}", file=sys.stderr, flush=True)
    return status


def status(command: str, message: str) -> None:
    """Print a status line of a command on standard error."""
    print(f"fgnet_jax.{command}: {message}", file=sys.stderr, flush=True)

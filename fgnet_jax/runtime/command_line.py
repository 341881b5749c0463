"""What all commands share: help texts, `--version`, spelling of flags, home folders, checked values, and messages."""

import argparse
import contextlib
import errno
import functools
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fgnet_jax.runtime import files
from fgnet_jax.runtime.devices import DevicesError
from fgnet_jax.runtime.version import __version__

Main = Callable[..., int]
"""A command's `main`: arguments, or None for those of the process, to the exit status."""

CLOSED_OUTPUT = 141
"""Exit status where whoever reads standard output has closed it, as `head` does: 128 + SIGPIPE."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT."""

SCRIPT = "fgnet-jax"
"""The command that has all others as its subcommands."""


class Once(argparse.Action):
    """Stores a flag's values, and refuses the flag where it is given again: argparse would drop the former ones."""

    def __call__(self, parser, namespace, values, option_string=None):  # noqa: ANN001, ANN204, D102 - as argparse has it
        assert isinstance(parser, Parser)
        if option_string is not None:
            if self.dest in parser.given:
                several = f"; several follow one: {option_string} A B" if self.nargs in ("+", "*") else ""
                raise argparse.ArgumentError(self, f"given twice{several}")
            parser.given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose help is a module's docstring: the first paragraph above the options, the rest below.

    Flags may be spelled with `_` or with `-`, and not abbreviated, and are given once each. Parsers of subcommands are
    of this class, too.

    Attributes:
      given: The flags of the command line that is being parsed, by the names of their values.
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
        self.given: set[str] = set()
        for name in (None, "store"):
            self.register("action", name, Once)
        self.add_argument("--version", action="version", version=f"fgnet_jax {__version__}")

    def parse_known_args(self, args=None, namespace=None):  # noqa: ANN001, ANN201 - as argparse has it
        """Parse as argparse does, after respelling every flag as it was defined, and expanding `~` in every value."""
        words = _spelled(sys.argv[1:] if args is None else args, self._flags())
        try:
            words = [expanded(word) for word in words]
        except ValueError as error:
            self.error(str(error))
        self.given = set()
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with status 2."""
        self.print_usage(sys.stderr)
        raise SystemExit(fail(self.prog, message, 2))

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


def expanded(word: str) -> str:
    """Expand `~` and `~user` at the beginning of an argument, or of a flag's value: shells leave `--flag=~/x` as it is.

    A file whose name begins with `~` is `./~name`.

    Raises:
      ValueError: There is no such user, nor a file of this name.
    """
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    at = "@" if value.startswith("@~") else ""  # a file with a list
    return flag + equals + at + files.expanded(value.removeprefix(at))


def program(name: str) -> str:
    """Return the name of a command as it was started: `fgnet-jax predict`, or `python -m fgnet_jax.predict`."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {name}"
    return f"python -m {module(name)}"


def module(name: str) -> str:
    """Return the module that a command is, by its name in `fgnet-jax`."""
    return {"convert": "convert_weights", "inspect": "fgnet_jax.evaluate.inspection"}.get(name, f"fgnet_jax.{name}")


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
    """Print an error as the last line on standard error, and return the exit status.

    Args:
      prog: The command, as its module is called (`fgnet_jax.predict`), or as `program` returns it.
      error: What is wrong.
      status: The exit status.
    """
    with contextlib.suppress(OSError):  # whoever read standard output has closed it
        sys.stdout.flush()
    print(f"{_label(prog)}: error: {error}", file=sys.stderr, flush=True)
    return status


def _label(prog: str) -> str:
    """Return what stands before messages, the same however a command was started: `fgnet_jax.predict`."""
    words = prog.removeprefix("python -m ").split()
    if words[0] == SCRIPT and words[1:]:
        words[:2] = [module(words[1])]
    return " ".join(words)


def status(command: str, message: str) -> None:
    """Print a status line of a command on standard error."""
    print(f"fgnet_jax.{command}: {message}", file=sys.stderr, flush=True)


def command(name: str) -> Callable[[Main], Main]:
    """Return a decorator for a command's `main`, which ends what may happen to any command in one line.

    These are: no device that JAX may use, standard output that its reader has closed, and Ctrl-C.

    Args:
      name: The command's module, such as `fgnet_jax.evaluate`.
    """

    def decorate(main: Main) -> Main:
        @functools.wraps(main)
        def guarded(argv: Sequence[str] | None = None) -> int:
            try:
                result = main(argv)
                sys.stdout.flush()
                return result
            except DevicesError as error:
                return fail(name, error, 2)
            except BrokenPipeError:
                if not _discard_closed_output():
                    raise
                return fail(name, "standard output was closed before everything was printed", CLOSED_OUTPUT)
            except KeyboardInterrupt:
                return fail(name, "interrupted", INTERRUPTED)
            except OSError as error:  # of a full disk behind standard output: commands report those of files themselves
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                _discard_output()
                return fail(name, f"the disk that is written to is full: {error}", 1)

        return guarded

    return decorate


def _discard_closed_output() -> bool:
    """Return whether standard output is closed; if it is, send to nowhere what Python writes to it at exit."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    if not any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
        return False
    _discard_output()
    return True


def _discard_output() -> None:
    """Send to nowhere what Python still has to write to standard output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def end(status: int) -> NoReturn:
    """End this process at once, after all that was printed: libraries' threads can print nothing behind it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # it is closed
            stream.flush()
    os._exit(status)

"""Detect facial action units: train, predict, evaluate and prepare, each as one command.

Every command has a `--help` of its own, and is also a module: `fgnet-jax predict` is `python -m fgnet_jax.predict`.
"""

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from fgnet_jax.runtime.command_line import SCRIPT, Parser


class Command(NamedTuple):
    """A command: the module whose `main` it is, and what it does in a line."""

    module: str
    summary: str


COMMANDS = {
    "predict": Command("fgnet_jax.predict.__main__", "action units in images and videos: tables, heatmaps, overlays"),
    "app": Command("fgnet_jax.app.__main__", "the same in the browser, on a local page"),
    "train": Command("fgnet_jax.train.__main__", "train on a prepared corpus, or on synthetic faces"),
    "distill": Command("fgnet_jax.distill.__main__", "a small student of a network, for real time, from any faces"),
    "evaluate": Command("fgnet_jax.evaluate.__main__", "metrics with confidence intervals, and the paper's protocols"),
    "inspect": Command("fgnet_jax.evaluate.inspection", "where weights, runs and corpora come from; are they intact?"),
    "prepare": Command("fgnet_jax.prepare.__main__", "BP4D, DISFA or your own corpus to aligned faces with labels"),
    "convert": Command("convert_weights.__main__", "download published weights, convert them, or write them back"),
    "benchmark": Command("fgnet_jax.benchmark", "how fast weights are here: faces a second, latency, memory"),
    "export": Command("fgnet_jax.export.__main__", "the network for other programs, as StableHLO or ONNX"),
}
"""Commands by name, in the order of the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status, 2 if there is no such command.

    Args:
      argv: The command's name and its arguments; those of the process if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith("-"):
        parser().parse_args(arguments)
        parser().error("a command is expected")
    name, *rest = arguments
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(COMMANDS)}"
        parser().error(f"there is no command {name!r}; {hint}")
    return importlib.import_module(COMMANDS[name].module).main(rest)


def parser() -> argparse.ArgumentParser:
    """Build the parser of what comes before a command."""
    lines = "\n".join(f"  {name:<10}{command.summary}" for name, command in COMMANDS.items())
    parser = Parser(__doc__ or "", SCRIPT)
    parser.usage = f"{SCRIPT} COMMAND [argument ...]"
    parser.epilog = f"commands:\n{lines}\n\n{parser.epilog}"
    return parser


if __name__ == "__main__":
    sys.exit(main())

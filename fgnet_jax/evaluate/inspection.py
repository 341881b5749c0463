"""Inspect what this project has written: where it comes from, and whether every byte is as it was written.

    fgnet-jax inspect runs/disfa_f0
    fgnet-jax inspect weights/fgnet_disfa --json
    fgnet-jax inspect data/disfa

WEIGHTS is a weights directory, RUN the workdir of a run, DATASET a prepared corpus, CHECKPOINT a folder of a run's
checkpoints/, REPORT_DIR the folder of an evaluation. It prints every step from published files to these values, which
folds they may be tested on, how the corpus was prepared, and the files that are damaged or missing.

Exit status: 0 if nothing is damaged, also where an earlier version has written no sums that could be compared; 1 if a
file is damaged or missing; 2 if the folder is nothing of these.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fgnet_jax.runtime import command_line, devices

COMMAND = "fgnet_jax.evaluate.inspection"


@command_line.command(COMMAND)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = parser().parse_args(argv)
    from fgnet_jax.evaluate import inspected  # after the help and usage errors, which need not wait for JAX

    devices.check()
    try:
        result = inspected.inspect(arguments.path)
    except inspected.InspectionError as error:
        return command_line.fail(COMMAND, error, 2)
    print(json.dumps(result.to_dict(), indent=1) if arguments.json else "\n".join(result.lines()))
    if result.damaged:
        return command_line.fail(COMMAND, f"{len(result.damaged)} damaged: {result.damaged[0]}", 1)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = command_line.Parser(__doc__ or "", command_line.program("inspect"))
    command.add_argument("path", type=Path, metavar="WEIGHTS|RUN|DATASET|CHECKPOINT|REPORT_DIR", help="the folder")
    command.add_argument("--json", action="store_true", help="print the same as JSON")
    return command


if __name__ == "__main__":
    sys.exit(main())

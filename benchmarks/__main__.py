"""`python -m benchmarks step`: what a training step costs; `python -m benchmarks inference`: the pace of a picture."""

import argparse
import dataclasses
import os

from benchmarks import inference, step
from fgnet_jax.models.config import TINY, ModelConfig


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["step", "inference"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="batch sizes of the step (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each network (default: 5)")
    parser.add_argument("--tiny", action="store_true", help="the tiny network, to try the command")
    arguments = parser.parse_args()
    config = TINY if arguments.tiny else ModelConfig()
    if arguments.what == "step":
        configs = [dataclasses.replace(config, remat=remat) for remat in ("none", "blocks")]
        print(step.table([step.measure(c, batch) for batch in arguments.batch for c in configs]))
    else:
        found = inference.jobs(config, os.cpu_count() or 1)
        print(inference.table(inference.measure(found, arguments.rounds)))


if __name__ == "__main__":
    main()

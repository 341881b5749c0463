"""`python -m benchmarks step`: cost of a training step; `… inference`: pace of a picture; `… preparation`: of faces."""

import argparse
import dataclasses
import os

from benchmarks import inference, preparation, step
from fgnet_jax.models.config import TINY, ModelConfig


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["step", "inference", "preparation"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2], help="batch sizes of the step (default: 1 2)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each network (default: 5)")
    parser.add_argument("--tiny", action="store_true", help="the tiny network, or few faces, to try the command")
    arguments = parser.parse_args()
    config = TINY if arguments.tiny else ModelConfig()
    if arguments.what == "step":
        configs = [dataclasses.replace(config, remat=remat) for remat in ("none", "blocks")]
        print(step.table([step.measure(c, batch) for batch in arguments.batch for c in configs]))
    elif arguments.what == "preparation":
        faces, frames, workers = (3, 8, 1) if arguments.tiny else (60, 1200, os.cpu_count() or 1)
        errors = [preparation.detector_error(f"synthetic_{name}", faces) for name in ("bp4d", "disfa")]
        print(preparation.table(errors, list(preparation.paces(frames, workers))))
    else:
        found = inference.jobs(config, os.cpu_count() or 1)
        print(inference.table(inference.measure(found, arguments.rounds)))


if __name__ == "__main__":
    main()

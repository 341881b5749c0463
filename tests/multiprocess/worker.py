"""Train several configurations one after the other in one process, which may be one of several.

    python -m tests.multiprocess.worker SPECS_JSON [COORDINATOR PROCESSES PROCESS]

SPECS_JSON is a list of {"workdir": ..., "overrides": {"optim.name": "sgd", ...}} over the configuration `tiny`. It
does what the command does; starting one command for each would spend most of the time on imports.
"""

import json
import sys
from pathlib import Path

import jax

from fgnet_jax.train import defaults
from fgnet_jax.train.loop import train

tiny = defaults.load_config_file("tiny")


def main(specs: str, coordinator: str = "", processes: str = "", process: str = "") -> None:
    """Train every configuration."""
    if coordinator:
        jax.distributed.initialize(coordinator, int(processes), int(process))
    for spec in json.loads(specs):
        config = tiny.get_config("steps=5")
        values = {key: tuple(x) if isinstance(x, list) else x for key, x in spec["overrides"].items()}
        config.update_from_flattened_dict(values)
        train(config, Path(spec["workdir"]))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Figures of programs for TPUs and GPUs, printed as JSON or recorded; a program a process, whose memory is freed.

    python -m tests.topology.figures tiny-training-v5e:4x4-sharded
    python -m tests.topology.figures --record tiny-training-v5e:1x1 tiny-training-v5e:4x4 …
    python -m tests.topology.figures --record all

The last needs the extras `tpu` and `cuda`, hours on two cores, and 20 GB.
"""

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.aus import CORPUS_AUS
from fgnet_jax.runtime import compilation_cache, topologies

RECORDED = Path(__file__).with_name("recorded.json")

_HOST = re.compile(
    r' (?:send|recv|infeed|outfeed)(?:-start|-done)?\(|custom_call_target="[^"]*(?:[Hh]ost|callback)[^"]*"'
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A program for a target.

    Attributes:
      network: "tiny" or "published".
      program: "training" or "inference".
      target: The devices.
      batch_size: Images over all devices.
      shard_params: Whether parameters are split over the devices.
    """

    network: str
    program: str
    target: str
    batch_size: int
    shard_params: bool = False

    def __str__(self) -> str:
        return f"{self.network}-{self.program}-{self.target}" + ("-sharded" if self.shard_params else "")


TRAINED = [("v5e:1x1", False), ("v5e:2x2", False), ("v5e:2x2", True), ("v5e:4x4", False), ("v5e:4x4", True)]
TRAINED += [("h100", False), ("h100:4", False), ("h100:4", True), ("h100:16", False), ("h100:16", True)]

CASES = [
    *(Case("tiny", "training", target, 16, shard_params=sharded) for target, sharded in TRAINED),
    Case("tiny", "inference", "v5e:1x1", 16),
    Case("tiny", "inference", "h100", 8),
    # In bfloat16, 16 images over all devices: on a v5e, four a chip fit without further settings.
    *(Case("published", "training", target, 16, shard_params=sharded) for target, sharded in TRAINED[1:]),
    Case("published", "inference", "v5e:1x1", 16),
    Case("published", "inference", "h100", 8),
]


def find(name: str) -> Case:
    """Return the case of a name."""
    return next(case for case in CASES if str(case) == name)


def in_own_process(case: Case) -> dict[str, Any]:
    """Compute the figures of a case in a process of its own, whose memory is then freed."""
    command = [sys.executable, "-m", "tests.topology.figures", str(case)]
    # Without the tests' flags for CPUs, and their cache, which cannot hold these programs.
    environment = {
        key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", compilation_cache.VARIABLE)
    }
    folder = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(case: Case) -> dict[str, Any]:
    """Compile a case in this process."""
    topologies.set_environment()
    target = topologies.open_target(case.target)
    from fgnet_jax.runtime import roofline

    training = _training(case, target) if case.program == "training" else None
    program = training.training() if training else _inference(case, target)
    return {
        "fits": program.fits(target.chip),
        "needed": program.needed,
        "temporaries": program.temporaries,
        "memory": target.chip.memory,
        "float64": "f64[" in program.text,
        "host": sorted({match.strip() for match in _HOST.findall(program.text)}),
        "collectives": dict(sorted(program.collectives.items())),
        "bytes_exchanged": round(program.exchanged),
        "split_kernels": _split_kernels(training) if training else 0,
        "kernels": sum(kernel.times for kernel in roofline.kernels(program.text)),
        "bytes_an_image": round((program.moved or 0) / program.images),
        "images_a_second": round(program.images / program.seconds, 1) if program.seconds else None,
    }


def _training(case: Case, target: topologies.Target):
    from fgnet_jax.models.config import TINY
    from fgnet_jax.train import compile_for, defaults

    config = defaults.published("disfa", None)
    if case.network == "tiny":
        config.model.update(TINY.to_dict())
    config.model.dtype = "bfloat16"
    config.train.batch_size = case.batch_size
    config.train.shard_params = case.shard_params
    return compile_for.Prepared(config, target, CORPUS_AUS["disfa"], None)


def _split_kernels(prepared: Any) -> int:  # noqa: ANN401 - Prepared, which is imported later
    """Count the kernels of which each device has a share."""
    state = prepared.arguments[0]
    return sum(not shape.sharding.is_fully_replicated for shape in state.params.values())


def _inference(case: Case, target: topologies.Target):
    from fgnet_jax.models.config import TINY, ModelConfig
    from fgnet_jax.predict import compile_for

    config = dataclasses.replace(TINY if case.network == "tiny" else ModelConfig(), dtype="bfloat16")
    return compile_for.compile_network(config, len(CORPUS_AUS["disfa"]), target, case.batch_size)


def record(cases: Sequence[Case]) -> None:
    """Write the figures of cases, one after the other, beside those that are there."""
    for case in cases:
        recorded: Mapping[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
        figures = dict(recorded) | {str(case): in_own_process(case)}
        RECORDED.write_text(json.dumps(dict(sorted(figures.items())), indent=2) + "\n")
        print(case, figures[str(case)], flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+", metavar="CASE", choices=["all", *map(str, CASES)], help="programs, or all")
    parser.add_argument("--record", action="store_true", help=f"write their figures into {RECORDED.name}")
    arguments = parser.parse_args(argv)
    cases = CASES if "all" in arguments.cases else [find(name) for name in arguments.cases]
    if arguments.record:
        record(cases)
    elif len(cases) > 1:
        parser.error("without --record, name one program: each needs a process of its own")
    else:
        print(json.dumps(measure(cases[0])))


if __name__ == "__main__":
    main()

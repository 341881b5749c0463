"""`python -m benchmarks`: how fast and how large, beside PyTorch, as a table and as JSON.

    python -m benchmarks                            everything that concerns the network
    python -m benchmarks inference training         parts of it
    python -m benchmarks preparation media          the ways into it: preparing a corpus, videos

inference    the network and its stages, at each batch size and number format, beside PyTorch in the same run
training     a training step, the same
memory       what a step takes, as compiled, for each policy of rematerialisation; nothing is run
scaling      operations and memory by batch and by resolution, as compiled
paths        each fast path switched off, one after the other: what it saves
start        cold start to the first answer; faces drawn and loaded a second
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import jax

from benchmarks import machine, sections
from fgnet_jax.models.config import REMATS

OTHERS = ("preparation", "media")
"""Parts that are measured only where they are named."""


def main() -> None:
    """The command."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # networks in several processes share the card
    parser = _parser()
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.what if part not in sections.PARTS]:
        parser.error(f"no part is called {unknown[0]!r}: expected some of {', '.join(sections.PARTS)}")
    results: dict[str, Any] = {"machine": machine.describe()}
    print(_title(results["machine"]), flush=True)
    for part in arguments.what or [name for name in sections.PARTS if name not in OTHERS]:
        print(f"\n{part}", flush=True)
        results[part] = sections.PARTS[part](arguments)
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.output:
        print(f"\nwritten: {arguments.output}")


def _title(found: dict[str, Any]) -> str:
    versions, device = found["versions"], found["devices"]
    torch = f", torch {versions['torch']}" if "torch" in versions else ""
    where = found["processor"] if device["platform"] == "cpu" else device["kind"]
    return f"{where}, {found['cores']} cores, {found['time'][:10]}: jax {versions['jax']}{torch}"


def _parser() -> argparse.ArgumentParser:
    on_cpu = jax.default_backend() == "cpu"
    about, _, details = (__doc__ or "").partition("\n\n")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=about, epilog=details, formatter_class=raw
    )
    add = parser.add_argument
    add("what", nargs="*", metavar="PART", help="of those below")
    add("--batch", type=int, nargs="+", default=[1, 8] if on_cpu else [1, 8, 32], help="images at once (%(default)s)")
    add("--step_batch", type=int, nargs="+", default=[1, 2] if on_cpu else [1, 2, 16], help="of a step (%(default)s)")
    dtypes = ["float32", "bfloat16"]
    add("--dtype", nargs="+", choices=dtypes, default=dtypes[:1] if on_cpu else dtypes, help="formats (%(default)s)")
    add("--remat", nargs="+", choices=REMATS, default=["none"], help="of a step (%(default)s)")
    add("--rounds", type=int, default=5, help="runs of each that count (%(default)s)")
    add(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="PyTorch's, where there is no card; JAX takes all cores",
    )
    add("--rivals", action=argparse.BooleanOptionalAction, default=machine.has_torch(), help="PyTorch in the same run")
    add("--compile", action=argparse.BooleanOptionalAction, default=True, help="the rival by torch.compile, too")
    add("--tiny", action="store_true", help="the tiny network and few faces, to try the command")
    add("--output", type=Path, default=Path("runs/benchmarks.json"), help="the JSON (%(default)s)")
    return parser


if __name__ == "__main__":
    main()

"""Measures speed and memory of fgnet_jax, beside PyTorch, as a table and as JSON.

    python -m benchmarks                            all parts that concern the network
    python -m benchmarks inference training         some of them
    python -m benchmarks preparation media          its input: preparing a corpus, videos
    python -m benchmarks live                       a student, end to end

inference    the network and its stages, at each batch size and dtype, beside PyTorch in the same run
training     a training step, in the same way
memory       operations and memory of a compiled step, for each policy of rematerialisation; nothing is run
scaling      operations and memory of the compiled forward pass, by batch size and resolution
paths        each fast path switched off, one after the other: what it saves
start        cold start to the first prediction; faces rendered and loaded per second
preparation  the face detector's error, and how fast a corpus is prepared
media        tracking of faces in videos, and how fast videos are read
detection    each face detector: faces found by size and rotation, false ones, landmarks' error, pace
live         a student from a video file to its table, and on a camera: frames a second, latency, frames dropped

    python -m benchmarks gpu                        one measurement of a GPU of under eight minutes, where nothing is
                                                    installed but JAX, Flax, Optax, Orbax and PyTorch: see its --help
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import jax

from benchmarks import machine, sections
from fgnet_jax.faces.detection import DETECTORS
from fgnet_jax.models.config import REMATS
from fgnet_jax.runtime.command_line import Parser

OTHERS = ("preparation", "media", "detection", "live")
"""Parts that are measured only if they are named."""


def main() -> None:
    """Run the command."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # networks in several processes share the GPU
    parser = _parser()
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in sections.PARTS]:
        parser.error(f"no part is called {unknown[0]!r}: expected some of {', '.join(sections.PARTS)}")
    results: dict[str, Any] = {"machine": machine.describe()}
    print(_title(results["machine"]), flush=True)
    for part in arguments.parts or [name for name in sections.PARTS if name not in OTHERS]:
        print(f"\n{part}", flush=True)
        results[part] = sections.PARTS[part](arguments)
        if arguments.output:
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.output:
        print(f"\nwritten: {arguments.output}")


def _title(host: dict[str, Any]) -> str:
    versions, device = host["versions"], host["devices"]
    torch = f", torch {versions['torch']}" if "torch" in versions else ""
    kind = host["processor"] if device["platform"] == "cpu" else device["kind"]
    return f"{kind}, {host['cores']} cores, {host['time'][:10]}: jax {versions['jax']}{torch}"


def _parser() -> argparse.ArgumentParser:
    on_cpu = jax.default_backend() == "cpu"
    parser = Parser(__doc__ or "", "python -m benchmarks")
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="one or more of those below")
    add(
        "--batch",
        type=int,
        nargs="+",
        default=[1, 8] if on_cpu else [1, 8, 32],
        help="batch sizes of inference (%(default)s)",
    )
    add(
        "--step_batch",
        type=int,
        nargs="+",
        default=[1, 2] if on_cpu else [1, 2, 16],
        help="batch sizes of training (%(default)s)",
    )
    dtypes = ["float32", "bfloat16"]
    add(
        "--dtype",
        nargs="+",
        choices=dtypes,
        default=dtypes[:1] if on_cpu else dtypes,
        help="dtypes to compute in (%(default)s)",
    )
    add("--remat", nargs="+", choices=REMATS, default=["none"], help="of training (%(default)s)")
    add("--rounds", type=int, default=5, help="measured runs of each (%(default)s)")
    add(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        help="of PyTorch on CPUs; JAX uses all cores",
    )
    add(
        "--rivals",
        action=argparse.BooleanOptionalAction,
        default=machine.has_torch(),
        help="measure PyTorch in the same run",
    )
    add("--compile", action=argparse.BooleanOptionalAction, default=True, help="measure torch.compile, too")
    add("--detector", choices=DETECTORS, default=DETECTORS[0], help="of media: the face detector (%(default)s)")
    add(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="of detection: a folder of the real pictures that benchmarks/reference_faces.json lists",
    )
    add("--tiny", action="store_true", help="the tiny network and few faces, to try the command")
    add("--output", type=Path, default=Path("runs/benchmarks.json"), help="the JSON file (%(default)s)")
    return parser

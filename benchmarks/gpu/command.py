"""Measures fgnet_jax on a GPU beside PyTorch, within a given time: parity, pace, memory and the largest kernels.

    python -m benchmarks gpu --output $OUT/gpu.json          everything that there is time for, in eight minutes
    python -m benchmarks gpu inference-bfloat16 training     these parts only

It needs a checkout, JAX, Flax, Optax, Orbax, NumPy and (to compare with) PyTorch; nothing is installed or downloaded.
Parts come in the order of their importance. The JSON file is written again after each result. What fails is named at
the end, and the exit status is 1; what there was no time for, and what this machine lacks, is named, too.

machine      card, driver, versions; rates of plain products and copies
inference    at each batch size and number format; errors against the golden numbers of tests/parity
training     a step, in the same way
gradients    the first gradient of the reference step, against golden numbers in float64

A part's name has its format and batch: inference-tf32-8. Formats: bfloat16; float32 (exact); tf32; high (JAX's name).
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import lane, plan, report
from benchmarks.gpu.measuring import Result
from fgnet_jax.runtime import signals
from fgnet_jax.runtime.command_line import Parser, fail, positive

PROG = "python -m benchmarks gpu"
MARGIN = 10.0
"""Seconds of the time that are kept for tables, and for ending processes."""


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    begin = time.monotonic()
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        parts = plan.chosen(options.parts, options.tiny)
    except ValueError as error:
        parser.error(str(error))
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # processes that wait have a share of the card
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        cases = plan.cases(
            parts,
            rivals=options.rivals,
            compiled=options.compile,
            is_tiny=options.tiny,
            rounds=options.rounds,
            folder=folder,
        )
        rows = {case: {"part": case.part, "network": case.network, "status": "not begun"} for case in cases}
        recorder = _recorder(rows, options.output, begin)
        stopped = _run(cases, begin + 60 * options.minutes - MARGIN, recorder)
    return _end([*rows.values()], options.output, begin) if not stopped else _stopped([*rows.values()], stopped)


def _run(cases: Sequence[plan.Case], deadline: float, record: lane.Record) -> str:
    """Measure the cases; return the name of the signal that ended it early, or nothing."""
    try:
        with signals.StopSignal() as stop:
            stop.raise_from_now_on()
            lane.run(cases, deadline, record)
    except signals.Stopped as signal:
        return str(signal)
    return ""


def _stopped(rows: Sequence[report.Row], signal: str) -> int:
    """Print what has been measured, and how the measurement ended; return the exit status."""
    print(f"\n{report.table(rows)}", flush=True)
    return fail(PROG, f"stopped by {signal}; what was measured is in the JSON file", 1)


def _recorder(rows: dict[plan.Case, report.Row], output: Path, begin: float) -> lane.Record:
    """Return a function that adds results to the rows, writes all of them, and prints a row that is complete."""

    def record(case: plan.Case, result: Result) -> None:
        row, seconds = rows[case], time.monotonic() - begin
        row |= {"status": "begun"} | result
        _write(output, [*rows.values()], seconds)
        if "machine" in result:
            print(report.title(result["machine"]), flush=True)
        if "status" in result:
            print(report.line(row, seconds), flush=True)

    return record


def _write(output: Path, rows: Sequence[report.Row], seconds: float) -> None:
    machine = next((row["machine"] for row in rows if "machine" in row), None)
    results: dict[str, Any] = {
        "machine": machine,
        "seconds": round(seconds, 1),
        "rows": [{name: value for name, value in row.items() if name != "machine"} for row in rows],
        "failed": report.failed(rows),
        "left_out": report.left_out(rows),
    }
    partial = output.with_name(f"{output.name}.partial")
    partial.write_text(json.dumps(results, indent=1) + "\n")
    partial.replace(output)


def _end(rows: Sequence[report.Row], output: Path, begin: float) -> int:
    """Print the tables, then what was left out and what failed; return the exit status."""
    for row in rows:
        if "profile" in row:
            print(f"\n{report.profile(row)}")
    machine = next((row for row in rows if "machine" in row), None)
    print(f"\n{report.title(machine['machine'] if machine else None)}")
    print(f"{report.rates(machine) if machine else ''}\n{report.table(rows)}")
    for words in report.left_out(rows):
        print(f"left out: {words}")
    failed = report.failed(rows)
    for words in failed:
        print(f"failed: {words}")
    print(f"written: {output}, after {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        names = "; ".join(words.split(":")[0] for words in failed)
        return fail(PROG, f"{len(failed)} of {len(rows)} measurements failed: {names}", 1)
    return 0


def _parser() -> Parser:
    import argparse

    parser = Parser(__doc__ or "", PROG)
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="names of parts, or their beginnings; * stands for anything")
    add("--minutes", type=float, default=8.0, help="the whole time (%(default)s)")
    add("--rounds", type=positive, default=5, help="measured rounds of each (%(default)s)")
    add("--rivals", action=argparse.BooleanOptionalAction, default=True, help="measure PyTorch, too")
    add("--compile", action=argparse.BooleanOptionalAction, default=True, help="measure torch.compile, too")
    add("--tiny", action="store_true", help="the tiny network on any device, to try the command")
    default = Path(os.environ.get("OUT", "runs")) / "gpu.json"
    add("--output", type=Path, default=default, help="the JSON file; by default gpu.json in $OUT, or in runs/")
    return parser

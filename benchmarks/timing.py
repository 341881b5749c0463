"""Timing of tasks in turns, so that a busy moment of a shared machine affects all of them; medians, and a table."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.tasks import ProgramCost


@dataclasses.dataclass(frozen=True)
class TimingRow:
    """One measurement.

    Attributes:
      task: "inference" or "training".
      stage: Stage of the network, or "whole".
      network: Name of the network.
      dtype: Number format of computation.
      batch: Images at once.
      remat: Policy of rematerialisation; empty where there is no backward pass.
      seconds: Median of the runs.
      slowest_to_fastest: Time of the slowest run divided by that of the fastest.
      images_a_second: `batch / seconds`.
      gflop: Operations of a run in 1e9, counted in the program.
      gflops: Operations per second in 1e9.
      share: `gflops` divided by the machine's rate of matrix products in this dtype.
      temporaries: Bytes that the compiled program needs beside arguments and results.
      peak: Peak memory of the process, or on the GPU, in bytes, weights and loaded libraries included.
      compile_seconds: Time of tracing and compilation.
    """

    task: str
    stage: str
    network: str
    dtype: str
    batch: int
    remat: str
    seconds: float
    slowest_to_fastest: float
    images_a_second: float
    gflop: float | None
    gflops: float | None
    share: float | None
    temporaries: int | None
    peak: int | None
    compile_seconds: float | None


def in_turns(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Measure seconds of every run, by function. The first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, run in functions.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(
    cost: ProgramCost, runs: Sequence[tuple[float, int | None]], rate: float, *, batch: int, **labels: str
) -> TimingRow:
    """Summarise runs in a row.

    Args:
      cost: The task's cost.
      runs: Seconds and peak memory of each run.
      rate: The machine's rate of matrix products, in GFLOP/s.
      batch: Images at once.
      **labels: The row's fields of text.
    """
    seconds, peaks = [run[0] for run in runs], [run[1] for run in runs]
    median = statistics.median(seconds)
    gflops = cost.gflop / median if cost.gflop else None
    return TimingRow(
        **labels,
        **dataclasses.asdict(cost),
        batch=batch,
        seconds=median,
        slowest_to_fastest=max(seconds) / min(seconds),
        images_a_second=batch / median,
        gflops=gflops,
        share=gflops / rate if gflops else None,
        peak=max(peak for peak in peaks if peak is not None) if None not in peaks else None,
    )


def table(rows: Sequence[TimingRow]) -> str:
    """Format the rows; the last column is how many times as long as ours each network takes."""
    lines = ["".join([f"{'':25}{'':9}", *(f"{name:>{width}}" for name, width, *_ in _COLUMNS), f"{'x ours':>8}"])]
    for each in rows:
        label = f"  {each.stage}" if each.stage != "whole" else each.network
        label += f"{', remat ' + each.remat if each.remat not in ('', 'none') else ''}"
        cells = [_cell(value(each), width, form) for _, width, form, value in _COLUMNS]
        lines.append("".join([f"{label:25}{each.dtype:9}", *cells, f"{_ratio(each, rows):>8}"]))
    return "\n".join(lines)


_COLUMNS: tuple[tuple[str, int, str, Callable[[TimingRow], float | None]], ...] = (
    ("batch", 5, "d", lambda row: row.batch),
    ("seconds", 10, ".3f", lambda row: row.seconds),
    ("images/s", 9, ".3g", lambda row: row.images_a_second),
    ("GFLOP", 8, ".0f", lambda row: row.gflop),
    ("GFLOP/s", 9, ".0f", lambda row: row.gflops),
    ("share", 7, ".2f", lambda row: row.share),
    ("temp, GB", 10, ".2f", lambda row: row.temporaries and row.temporaries / 1e9),
    ("peak, GB", 10, ".2f", lambda row: row.peak and row.peak / 1e9),
    ("compile, s", 12, ".1f", lambda row: row.compile_seconds),
)
"""Heading, width, format and value of each column."""


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def _ratio(this: TimingRow, rows: Sequence[TimingRow]) -> str:
    """Divide a row's seconds by those of our own network for the same task, stage, dtype and batch size."""
    same = ("task", "stage", "dtype", "batch")
    baseline = [
        r for r in rows if r.compile_seconds is not None and all(getattr(r, k) == getattr(this, k) for k in same)
    ]
    return f"{this.seconds / baseline[0].seconds:.2f}" if baseline else ""

"""Timing: jobs take turns, so that a busy moment of a shared machine hits all of them; medians, and rows of a table."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.jobs import Figures


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
      task: "inference" or "training".
      stage: Of the network, or "whole".
      network: Whose.
      dtype: Computed in.
      batch: Images at once.
      remat: What is computed again in the backward pass; empty where there is none.
      seconds: Median of the runs.
      spread: Slowest run over the fastest.
      images_a_second: `batch / seconds`.
      gflop: Of a run, counted in the program.
      gflops: Of them a second.
      share: Of the machine's own rate of matrix products in this number format.
      temporaries: Bytes beside arguments and results, as compiled.
      peak: Bytes of the process, or on the card, at their most in the runs: weights and what is loaded are among them.
      compile_seconds: Tracing and compilation.
    """

    task: str
    stage: str
    network: str
    dtype: str
    batch: int
    remat: str
    seconds: float
    spread: float
    images_a_second: float
    gflop: float | None
    gflops: float | None
    share: float | None
    temporaries: int | None
    peak: int | None
    compile_seconds: float | None


def in_turns(jobs: Mapping[Any, Callable[[], object]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of every run, by job. The first round warms up and does not count."""
    seconds: dict[Any, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, run in jobs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(figures: Figures, runs: Sequence[tuple[float, int | None]], rate: float, **what: Any) -> Row:
    """Of the runs' seconds and peaks; `rate` is the machine's, in GFLOP/s, and `what` the row's first fields."""
    seconds, peaks = [run[0] for run in runs], [run[1] for run in runs]
    median = statistics.median(seconds)
    gflops = figures.gflop / median if figures.gflop else None
    return Row(
        **what,
        **dataclasses.asdict(figures),
        seconds=median,
        spread=max(seconds) / min(seconds),
        images_a_second=what["batch"] / median,
        gflops=gflops,
        share=gflops / rate if gflops else None,
        peak=max(peak for peak in peaks if peak is not None) if None not in peaks else None,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows, to read: how many times the pace of each is ours comes last."""
    lines = ["".join([f"{'':25}{'':9}", *(f"{name:>{width}}" for name, width, *_ in _COLUMNS), f"{'x ours':>8}"])]
    for each in rows:
        indent, what = ("  ", each.stage) if each.stage != "whole" else ("", each.network)
        named = f"{indent}{what}{', remat ' + each.remat if each.remat not in ('', 'none') else ''}"
        cells = [_cell(value(each), width, form) for _, width, form, value in _COLUMNS]
        lines.append("".join([f"{named:25}{each.dtype:9}", *cells, f"{_ratio(each, rows):>8}"]))
    return "\n".join(lines)


_COLUMNS: tuple[tuple[str, int, str, Callable[[Row], float | None]], ...] = (
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
"""Heading, width, form and value of each."""


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def _ratio(this: Row, rows: Sequence[Row]) -> str:
    """Seconds over those of our own row of the same task, stage, format and batch."""
    same = ("task", "stage", "dtype", "batch")
    ours = [r for r in rows if r.compile_seconds is not None and all(getattr(r, k) == getattr(this, k) for k in same)]
    return f"{this.seconds / ours[0].seconds:.2f}" if ours else ""

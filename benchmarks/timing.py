"""Timing: jobs take turns, so that a busy moment of a shared machine hits all of them; medians, and rows of a table."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.jobs import Job


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
      task: "inference" or "training".
      stage: Of the network, or "whole".
      network: Whose.
      dtype: Computed in.
      batch: Pictures at once.
      remat: What is computed again in the backward pass; empty where there is none.
      seconds: Median of the runs.
      spread: Slowest run over the fastest.
      images_a_second: `batch / seconds`.
      gflop: Of a run, counted in the program.
      gflops: Of them a second.
      share: Of the machine's own rate of matrix products in this number format.
      temporaries: Bytes beside arguments and results, as compiled.
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


def row(task: str, stage: str, network: str, job: Job, seconds: Sequence[float], rate: float, **how) -> Row:
    """The figures of one job; `rate` is the machine's, in GFLOP/s, and `how` its number format, batch and remat."""
    median = statistics.median(seconds)
    gflops = job.gflop / median if job.gflop else None
    return Row(
        task=task,
        stage=stage,
        network=network,
        seconds=median,
        spread=max(seconds) / min(seconds),
        images_a_second=how["batch"] / median,
        gflop=job.gflop,
        gflops=gflops,
        share=gflops / rate if gflops else None,
        temporaries=job.temporaries,
        compile_seconds=job.compile_seconds,
        **how,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows, to read: how many times the pace of each is ours comes last."""
    head = f"{'':25}{'':9}{'batch':>5}  {'seconds':>8}{'images/s':>9}{'GFLOP':>8}{'GFLOP/s':>9}{'share':>7}{'GB':>7}"
    lines = [f"{head}{'compile':>9}{'x ours':>8}"]
    for each in rows:
        what = each.stage if each.stage != "whole" else each.network
        named = f"{what}{', remat ' + each.remat if each.remat not in ('', 'none') else ''}"
        lines.append(
            f"{'  ' * (each.stage != 'whole')}{named:{25 - 2 * (each.stage != 'whole')}}{each.dtype:9}{each.batch:5}  "
            f"{each.seconds:8.3f}{each.images_a_second:9.3g}{_cell(each.gflop, '8.0f')}{_cell(each.gflops, '9.0f')}"
            f"{_cell(each.share, '7.2f')}{_cell(each.temporaries and each.temporaries / 1e9, '7.2f')}"
            f"{_cell(each.compile_seconds, '8.1f')}s{_ratio(each, rows):>8}"
        )
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return format("" if value is None else value, form if value is not None else form.split(".")[0])


def _ratio(this: Row, rows: Sequence[Row]) -> str:
    """Seconds over those of our own row of the same task, stage, format and batch."""
    same = ("task", "stage", "dtype", "batch")
    ours = [r for r in rows if r.compile_seconds is not None and all(getattr(r, k) == getattr(this, k) for k in same)]
    return f"{this.seconds / ours[0].seconds:.2f}" if ours else ""

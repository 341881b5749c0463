"""Timing on a GPU, where calls return before their work is done: single runs, and bursts that follow each other."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

Result = dict[str, Any]
"""Fields of a measurement, as JSON has them."""
Measure = Callable[[], Iterator[Result]]
"""What a process does when it is its turn: it yields results as soon as it has them, and `FREE` among them."""

FREE: Result = {}
"""What a process yields when it needs the device no longer, though it still computes."""

Start = Callable[[], object]
"""Starts one run, and returns what it will have computed."""
Wait = Callable[[object], object]
"""Waits for what was started last, and so for all before it."""


class UnavailableError(Exception):
    """Something that a measurement needs is not on this machine, such as a compiler: no failure of what is measured."""


def timings(start: Start, wait: Wait, *, batch: int, rounds: int, burst_seconds: float) -> Result:
    """Measure a program that has run before.

    Args:
      start: Starts one run.
      wait: Waits for it.
      batch: Images of a run.
      rounds: Measured bursts, and measured single runs.
      burst_seconds: Shortest duration of a burst.

    Returns:
      `seconds` of a run among others (the median burst's), and of one `alone`, from its start to its result on the
      device; `slowest_to_fastest` burst; `images_a_second`; `runs` in all bursts.
    """
    wait(start())
    alone = statistics.median(_elapsed(start, wait, 1) for _ in range(rounds))
    count = max(1, math.ceil(burst_seconds / alone))
    bursts = [_elapsed(start, wait, count) / count for _ in range(rounds)]
    seconds = statistics.median(bursts)
    return {
        "seconds": seconds,
        "alone": alone,
        "slowest_to_fastest": max(bursts) / min(bursts),
        "images_a_second": batch / seconds,
        "runs": rounds * count,
    }


def first_loss(loss: float) -> Result:
    """Return the loss of a first step as a result; that of a wrong measurement if it is not finite."""
    return {"loss": loss} if math.isfinite(loss) else {"problem": f"the first loss is {loss}: expected a finite one"}


def _elapsed(start: Start, wait: Wait, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        result = start()
    wait(result)
    return time.perf_counter() - begin

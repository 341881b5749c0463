"""All sequences' work, over the cores, with a progress bar."""

import functools
import multiprocessing
import sys
import time
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import tqdm

from fgnet_jax.prepare.layouts.records import LabelledSequence
from fgnet_jax.prepare.sequence import PrepareSettings, process
from fgnet_jax.runtime.workers import as_done

_counter: Any = None  # of this worker: frames done by all of them


def process_all(
    sequences: Items[LabelledSequence], settings: PrepareSettings, work: Path, workers: int
) -> tuple[int, float]:
    """Prepares all sequences into chunks below `work`; what is there already is left.

    Args:
      sequences: In any order; each is one worker's.
      settings: How faces are prepared.
      work: Folder of chunks, `work/SUBJECT/NAME`.
      workers: Processes.

    Returns:
      Frames that were done now, and the seconds that it took.
    """
    total = sum(len(sequence.frames) for sequence in sequences)
    begun = sum(len(sequence.frames) for sequence in sequences if (work / sequence.key).exists())
    start = time.perf_counter()
    quiet = not sys.stderr.isatty()
    bar = tqdm.tqdm(total=total, unit="frame", desc="preparing", disable=False, mininterval=30 if quiet else 0.2)
    with bar:
        if begun:
            bar.write("going on with what an earlier run has done", file=sys.stderr)
        run = _here if workers == 1 else _in_processes
        skipped = run(sequences, settings, work, workers, bar)
    return bar.n - skipped, time.perf_counter() - start


def _here(
    sequences: Items[LabelledSequence], settings: PrepareSettings, work: Path, workers: int, bar: tqdm.tqdm
) -> int:
    del workers
    skipped = 0
    for sequence in sequences:
        ticks: list[int] = []

        def tick(count: int, ticks: list[int] = ticks) -> None:
            ticks.append(count)
            bar.update(count)

        process(sequence, settings, work / sequence.key, tick)
        skipped += ticks[0]  # the first is of what was there
    return skipped


def _in_processes(
    sequences: Items[LabelledSequence], settings: PrepareSettings, work: Path, workers: int, bar: tqdm.tqdm
) -> int:
    # Frames done, and those of them that were there. Read without its lock, which a worker that was killed may hold.
    counter = multiprocessing.get_context("spawn").Array("q", 2)
    done = counter.get_obj()
    # the longest first, so that the last to end is a short one
    order = sorted(sequences, key=lambda sequence: -len(sequence.frames))
    items = [(sequence, settings, work / sequence.key) for sequence in order]
    for _ in as_done(_process, items, workers, functools.partial(_begin, counter), seconds=0.5):
        bar.update(done[0] - bar.n)
    bar.update(done[0] - bar.n)
    return done[1]


def _begin(counter: Any) -> None:
    """First thing in a worker."""
    import cv2

    global _counter
    _counter = counter
    cv2.setNumThreads(1)  # every core has a worker


def _process(item: tuple[LabelledSequence, PrepareSettings, Path]) -> None:
    first = True

    def tick(count: int) -> None:
        nonlocal first
        with _counter.get_lock():
            _counter[0] += count
            _counter[1] += count if first else 0
        first = False

    process(*item, tick)

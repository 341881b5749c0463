"""Prepares all sequences of a corpus, over the cores, with reports of progress."""

import functools
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path

from fgnet_jax.prepare.layouts.records import LabelledSequence
from fgnet_jax.prepare.sequence import PrepareSettings, process
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.runtime.workers import as_done

Counter = SynchronizedArray
"""Two numbers that all workers share: frames done, and those of them that an earlier run did."""

_counter: Counter | None = None  # of this worker process


def process_all(
    sequences: Sequence[LabelledSequence], settings: PrepareSettings, work: Path, workers: int
) -> tuple[int, float]:
    """Prepare all sequences into chunks below `work`; chunks that exist are left as they are.

    Args:
      sequences: In any order; each is prepared by one worker.
      settings: How faces are prepared.
      work: Folder of chunks, `work/SUBJECT/NAME`.
      workers: Processes.

    Returns:
      Frames that were prepared in this run, and the seconds that it took.
    """
    total = sum(len(sequence.frames) for sequence in sequences)
    start = time.perf_counter()
    with Progress("preparing", total, "frames") as progress:
        if any((work / sequence.key).exists() for sequence in sequences):
            progress.say("resuming from what an earlier run has done")
        if workers == 1:
            former = _in_this_process(sequences, settings, work, progress)
        else:
            former = _in_workers(sequences, settings, work, workers=workers, progress=progress)
    return progress.done - former, time.perf_counter() - start


def _in_this_process(
    sequences: Sequence[LabelledSequence], settings: PrepareSettings, work: Path, progress: Progress
) -> int:
    """Prepare all sequences; returns the number of frames that an earlier run had prepared."""
    former = 0
    for sequence in sequences:
        counts: list[int] = []

        def count_frames(count: int, counts: list[int] = counts) -> None:
            counts.append(count)
            if count:
                progress.update(progress.done + count)

        process(sequence, settings, work / sequence.key, count_frames)
        former += counts[0]  # the first count is that of earlier runs
    return former


def _in_workers(
    sequences: Sequence[LabelledSequence], settings: PrepareSettings, work: Path, *, workers: int, progress: Progress
) -> int:
    """Prepare all sequences in worker processes; returns the number of frames that an earlier run had prepared."""
    # Read without its lock, which a worker that was killed may hold.
    counter = multiprocessing.get_context("spawn").Array("q", 2)
    done = counter.get_obj()
    # the longest first, so that the last to end is a short one
    order = sorted(sequences, key=lambda sequence: -len(sequence.frames))
    items = [(sequence, settings, work / sequence.key) for sequence in order]
    for _ in as_done(_process, items, workers, begin=functools.partial(_begin, counter), seconds=0.5):
        progress.update(done[0])
    progress.update(done[0])
    return done[1]


def _begin(counter: Counter) -> None:
    """Set up a worker process."""
    import cv2

    global _counter
    _counter = counter
    cv2.setNumThreads(1)  # every core has a worker


def _process(item: tuple[LabelledSequence, PrepareSettings, Path]) -> None:
    """Prepare a sequence in a worker process."""
    sequence, settings, folder = item
    is_first = True

    def count_frames(count: int) -> None:
        nonlocal is_first
        assert _counter is not None
        with _counter.get_lock():
            _counter[0] += count
            _counter[1] += count if is_first else 0
        is_first = False

    process(sequence, settings, folder, count_frames)

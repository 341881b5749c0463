"""Smoothing of scores along a face in a video: a weighted mean over the neighbouring frames, by their true times.

The weights are a Hann window, centred (no delay: a smile stays at its time) or causal (for a camera, whose later frames
do not exist yet). Only scores are smoothed; heatmaps stay those of their frame.
"""

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")

WINDOW = 0.5
"""Default width of the window in seconds: the weights' mean distance is a tenth of a second."""


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """Options of smoothing.

    Attributes:
      window: Width in seconds.
      causal: Only over earlier frames, `window` seconds back; otherwise half of it to either side.
    """

    window: float = WINDOW
    causal: bool = False

    def describe(self) -> dict[str, Any]:
        """Return the entry of the JSON beside a table."""
        return {
            "window": "hann",
            "seconds": self.window,
            "causal": self.causal,
            "of": "scores, per face_id while it is tracked without a gap",
        }


@dataclasses.dataclass(frozen=True, eq=False)
class ObservedScores:
    """Scores of one frame's F faces.

    Attributes:
      video: Identifies the video; None for an image, whose scores stay as they are.
      seconds: When the frame is shown; None where that is unknown, and scores stay as they are.
      faces: What each of the F faces has in common with the same face of other frames, and with nothing else.
      scores: (F, K), NaN where there is no result.
    """

    video: Hashable | None
    seconds: float | None
    faces: tuple[Hashable, ...]
    scores: np.ndarray


def smooth(
    items: Iterable[Item], observe: Callable[[Item], ObservedScores], options: Smoothing
) -> Iterator[tuple[Item, np.ndarray]]:
    """Pair every item with its smoothed scores (F, K), in order, as soon as the frames of its window are known.

    Args:
      items: Frames in order; those within half a window are held back.
      observe: Returns an item's scores.
      options: The window.
    """
    reach = 0.0 if options.causal else options.window / 2
    waiting: collections.deque[tuple[Item, ObservedScores]] = collections.deque()
    around: collections.deque[ObservedScores] = collections.deque()

    def next_smoothed() -> tuple[Item, np.ndarray]:
        item, observed = waiting.popleft()
        return item, _mean(observed, around, options)

    for item in items:
        observed = observe(item)
        is_still = observed.video is None or observed.seconds is None
        if is_still or (around and around[-1].video != observed.video):
            while waiting:
                yield next_smoothed()
            around.clear()
        if is_still:
            yield item, observed.scores
            continue
        waiting.append((item, observed))
        around.append(observed)
        while waiting and _seconds(observed) >= _seconds(waiting[0][1]) + reach:
            yield next_smoothed()
        _forget(around, _seconds(waiting[0][1] if waiting else observed) - options.window)
    while waiting:
        yield next_smoothed()


def _seconds(observed: ObservedScores) -> float:
    assert observed.seconds is not None
    return observed.seconds


def _forget(around: collections.deque[ObservedScores], before: float) -> None:
    """Remove the frames before a time."""
    while around and _seconds(around[0]) < before:
        around.popleft()


def _mean(observed: ObservedScores, around: Iterable[ObservedScores], options: Smoothing) -> np.ndarray:
    """Return the weighted mean of each face's scores over the frames around that have the face and a result."""
    reach = options.window if options.causal else options.window / 2
    total, weights = np.zeros(observed.scores.shape, np.float64), np.zeros((len(observed.scores), 1))
    for other in around:
        distance = abs(_seconds(other) - _seconds(observed))
        if distance >= reach or (options.causal and _seconds(other) > _seconds(observed)):
            continue
        weight = 0.5 + 0.5 * np.cos(np.pi * distance / reach)
        for row, face in enumerate(observed.faces):
            if face in other.faces and np.isfinite(scores := other.scores[other.faces.index(face)]).all():
                total[row] += weight * scores
                weights[row] += weight
    known = np.isfinite(observed.scores).all(1, keepdims=True)  # a frame without a result gets none
    return np.where(known, total / np.maximum(weights, 1e-9), np.nan).astype(np.float32)

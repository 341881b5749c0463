"""Smoothing of scores along a face in a video: a weighted mean over the frames around, by their true times.

The weights are a Hann window, centred (no delay in time, a face's smile is not moved) or causal (for a camera, where
the frames to come are not there yet). Only scores are smoothed; heatmaps stay those of their frame.
"""

import collections
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")

WINDOW = 0.5
"""Width of the window in seconds, if nobody says another: the weights' mean distance is a tenth of a second."""


@dataclasses.dataclass(frozen=True)
class Smoothing:
    """How scores are smoothed.

    Attributes:
      window: Width in seconds.
      causal: Only over frames before, `window` seconds back; else half of it to either side.
    """

    window: float = WINDOW
    causal: bool = False

    def describe(self) -> dict[str, Any]:
        """What a table's JSON says about it."""
        return {"window": "hann", "seconds": self.window, "causal": self.causal, "of": "scores, per face_id"}


@dataclasses.dataclass(frozen=True, eq=False)
class ObservedScores:
    """A frame's scores.

    Attributes:
      video: What tells videos apart; None for an image, whose scores stay as they are.
      seconds: When it is shown; None where nobody knows, and scores stay as they are.
      face_ids: Of the F faces.
      scores: (F, K), NaN where there is no result.
    """

    video: Hashable | None
    seconds: float | None
    face_ids: tuple[int, ...]
    scores: np.ndarray


def smooth(
    items: Iterable[Item], observed: Callable[[Item], ObservedScores], how: Smoothing
) -> Iterator[tuple[Item, np.ndarray]]:
    """Pairs every item with its smoothed scores (F, K), in order, as soon as the frames it needs are there.

    Args:
      items: Frames in order; a few are held back.
      observed: What an item's scores are of.
      how: The window.
    """
    reach = 0.0 if how.causal else how.window / 2
    waiting: collections.deque[tuple[Item, ObservedScores]] = collections.deque()
    around: collections.deque[ObservedScores] = collections.deque()

    def ready() -> Iterator[tuple[Item, np.ndarray]]:
        item, about = waiting.popleft()
        yield item, _mean(about, around, how)

    for item in items:
        about = observed(item)
        if about.video is None or about.seconds is None or (around and around[-1].video != about.video):
            while waiting:
                yield from ready()
            around.clear()
        if about.video is None or about.seconds is None:
            yield item, about.scores
            continue
        waiting.append((item, about))
        around.append(about)
        while waiting and about.seconds >= _seconds(waiting[0][1]) + reach:
            yield from ready()
        _forget(around, _seconds(waiting[0][1] if waiting else about) - how.window)
    while waiting:
        yield from ready()


def _seconds(about: ObservedScores) -> float:
    assert about.seconds is not None
    return about.seconds


def _forget(around: collections.deque[ObservedScores], before: float) -> None:
    while around and _seconds(around[0]) < before:
        around.popleft()


def _mean(about: ObservedScores, around: Iterable[ObservedScores], how: Smoothing) -> np.ndarray:
    """The weighted mean of each face's scores over the frames around that have the face and a result."""
    reach = how.window if how.causal else how.window / 2
    total, weights = np.zeros(about.scores.shape, np.float64), np.zeros((len(about.scores), 1))
    for other in around:
        apart = abs(_seconds(other) - _seconds(about))
        if apart >= reach or (how.causal and _seconds(other) > _seconds(about)):
            continue
        weight = 0.5 + 0.5 * np.cos(np.pi * apart / reach)
        for row, face in enumerate(about.face_ids):
            if face in other.face_ids and np.isfinite(scores := other.scores[other.face_ids.index(face)]).all():
                total[row] += weight * scores
                weights[row] += weight
    known = np.isfinite(about.scores).all(1, keepdims=True)  # a frame without a result gets none
    return np.where(known, total / np.maximum(weights, 1e-9), np.nan).astype(np.float32)

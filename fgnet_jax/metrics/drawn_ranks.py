"""Area under the ROC curve and average precision for many draws of subjects at once.

Frames of a subject are drawn together, so nothing is summed frame by frame for every draw: the pairs of a present and
an absent frame are counted once for each pair of subjects, and the steps of the precision once for each subject. What a
draw gives is then a product of its multiplicities with these counts. All counts are whole or half numbers, and exact.

Products are in blocks that stay in a core's cache, and that are too small for BLAS to share among threads: where other
programs use the cores, its threads wait for each other a hundred times as long as the product takes.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

_STEPS = 192  # of the curves in a block
_PRODUCT = 2**18  # multiplications of a product that OpenBLAS leaves to one thread
_DRAWS = 256  # in a block, about

_EXACT = 2**24  # whole numbers below are exact in float32


@dataclasses.dataclass(frozen=True, eq=False)
class _SortedFrames:
    """N frames in the order of falling scores; each score that a present frame has is a step of the curves.

    Attributes:
      member: (N,), the subjects.
      is_present: (N,) bool.
      step: (N,), the first step at which a frame is predicted present; after the last step, their number.
      is_on_step: (N,) bool, whether the score is the step's, not one between the step before and it.
      steps: Their number.
    """

    member: np.ndarray
    is_present: np.ndarray
    step: np.ndarray
    is_on_step: np.ndarray
    steps: int


def auc(scores: np.ndarray, labels: np.ndarray, member: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the area under the ROC curve of one AU for every draw; equal scores are one step.

    Args:
      scores: (N,), finite.
      labels: (N,): 1 present, 0 absent.
      member: (N,), each frame's subject, 0 to S - 1.
      weights: (B, S), how often each subject is drawn.

    Returns:
      float64 (B,); NaN where a draw lacks a class.
    """
    subjects, weights = weights.shape[1], np.asarray(weights, np.float64)
    present, absent = (np.bincount(member[labels == value], minlength=subjects) for value in (1, 0))
    pairs = np.zeros((subjects, subjects))  # of a present frame of the first with an absent, lower one of the second
    for new, hits, predicted, tied in _counts_by_step(_sorted(scores, labels == 1, member), subjects):
        pairs += new @ (absent[:, None] - (predicted - hits) + tied / 2).T  # ties count half
    return _ratio(((weights @ pairs) * weights).sum(1), (weights @ present) * (weights @ absent))


def average_precision(scores: np.ndarray, labels: np.ndarray, member: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the average precision of one AU for every draw: arguments and result are those of `auc`.

    NaN where the AU is present in no drawn frame.
    """
    subjects, blocks = weights.shape[1], _blocks(np.asarray(weights))
    sums, largest = np.zeros(blocks.shape[:2]), (weights @ np.bincount(member, minlength=subjects)).max(initial=0)
    for new, hits, predicted, _ in _counts_by_step(_sorted(scores, labels == 1, member), subjects):
        hits = np.concatenate([hits[:, :1] - new[:, :1], hits], 1)  # with those before the first step
        most = largest * max(weights.max(initial=0) * new.sum(0).max(), 1)
        dtype = np.float32 if most < _EXACT else np.float64  # exact in either, and twice as fast in float32
        _add_precision(sums, blocks, hits.astype(dtype), predicted.astype(dtype))
    drawn = np.asarray(weights, np.float64) @ np.bincount(member[labels == 1], minlength=subjects)
    return _ratio(sums.ravel()[: len(drawn)], drawn)


def _sorted(scores: np.ndarray, is_present: np.ndarray, member: np.ndarray) -> _SortedFrames:
    """Sort frames by score, and find the steps."""
    order = np.argsort(-scores, kind="stable")
    falling, is_present, member = -scores[order], is_present[order], member[order]
    steps = np.unique(falling[is_present])
    step = np.searchsorted(steps, falling)
    return _SortedFrames(
        member=member,
        is_present=is_present,
        step=step,
        is_on_step=np.append(steps, np.nan)[step] == falling,
        steps=len(steps),
    )


def _counts_by_step(
    frames: _SortedFrames, subjects: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Count each subject's frames at each step, block by block; float64 (S, G) each.

    Yields:
      Present frames at the step; present ones up to it; all frames up to it; absent ones at the step.
    """
    hits, predicted = np.zeros((subjects, 1)), np.zeros((subjects, 1))
    for start in range(0, frames.steps, _STEPS):
        stop = min(start + _STEPS, frames.steps)
        rows = slice(*np.searchsorted(frames.step, (start, stop)))
        shape = subjects, stop - start
        place = frames.member[rows] * shape[1] + frames.step[rows] - start
        is_present, is_on_step = frames.is_present[rows], frames.is_on_step[rows]
        new, every, tied = (
            np.bincount(chosen, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
            for chosen in (place[is_present], place, place[is_on_step & ~is_present])
        )
        hits, predicted = hits[:, -1:] + np.cumsum(new, 1), predicted[:, -1:] + np.cumsum(every, 1)
        yield new, hits, predicted, tied


def _blocks(weights: np.ndarray) -> np.ndarray:
    """Return draws (B, S) in blocks (C, R, S), each multiplied by one thread; the last is filled up with zeros."""
    draws, subjects = weights.shape
    rows = max(1, min(draws, _PRODUCT // (_STEPS * max(subjects, 1))))
    count = -(-draws // rows)
    padded = np.zeros((count * rows, subjects), weights.dtype)
    padded[:draws] = weights
    return padded.reshape(count, rows, subjects)


def _add_precision(sums: np.ndarray, blocks: np.ndarray, hits: np.ndarray, predicted: np.ndarray) -> None:
    """Add to `sums` (C, R) the precision at some steps, each times the present frames that are new there.

    Args:
      sums: Of every draw.
      blocks: (C, R, S), how often each subject is drawn.
      hits: (S, 1 + G), present frames of each subject before the steps, and up to each.
      predicted: (S, G), all frames of each subject up to each step.
    """
    size, steps = max(1, _DRAWS // blocks.shape[1]), predicted.shape[1]
    shape = (min(size, len(blocks)), blocks.shape[1], steps)
    drawn_hits, drawn = np.empty((*shape[:2], 1 + steps), hits.dtype), np.empty(shape, hits.dtype)
    added, parts = np.empty(shape, hits.dtype), np.empty(shape)
    for first in range(0, len(blocks), size):
        times = blocks[first : first + size].astype(hits.dtype)
        within = slice(len(times))
        np.matmul(times, hits, out=drawn_hits[within])
        np.matmul(times, predicted, out=drawn[within])
        if not drawn[within, :, 0].min():  # of a draw without a frame up to there, and so without a hit
            np.maximum(drawn, 1, out=drawn)
        np.subtract(drawn_hits[..., 1:], drawn_hits[..., :-1], out=added)
        np.multiply(added, drawn_hits[..., 1:], out=added)
        np.divide(added, drawn, out=parts, dtype=np.float64)
        sums[first : first + size] += parts[within].sum(-1)


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Compute `part / total`, NaN where total is 0."""
    return np.divide(part, total, out=np.full(len(part), np.nan), where=total > 0)

"""Area under the ROC curve and average precision for many draws of subjects at once.

Frames of a subject are drawn together, so nothing is summed frame by frame for every draw: the pairs of a present and
an absent frame are counted once for each pair of subjects, and the steps of the precision once for each subject. What a
draw gives is then a product of its multiplicities with these counts. All counts are whole or half numbers, and exact.
"""

import numpy as np

_CHUNK = 2**19  # values of (draws, steps) in memory at once

_EXACT = 2**24  # whole numbers below are exact in float32


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
    _, step = np.unique(scores, return_inverse=True)
    steps, is_absent = step.max(initial=-1) + 1, labels == 0
    pairs = np.zeros((subjects, subjects))  # of a present frame of the first with an absent, lower one of the second
    for subject in np.unique(member[labels == 1]):
        of_step = np.bincount(step[(labels == 1) & (member == subject)], minlength=steps)
        above = of_step.sum() - np.cumsum(of_step) + of_step / 2  # ties count half
        pairs[subject] = np.bincount(member[is_absent], above[step[is_absent]], minlength=subjects)
    present, absent = (np.bincount(member[labels == value], minlength=subjects) for value in (1, 0))
    return _ratio(((weights @ pairs) * weights).sum(1), (weights @ present) * (weights @ absent))


def average_precision(scores: np.ndarray, labels: np.ndarray, member: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the average precision of one AU for every draw: arguments and result are those of `auc`.

    NaN where the AU is present in no drawn frame.
    """
    subjects, is_present = weights.shape[1], labels == 1
    steps = np.unique(-scores[is_present])  # precision counts only where present frames are added
    total = np.zeros(len(weights))
    size = max(1, _CHUNK // max(len(weights), 1))
    before = {"present": np.zeros(subjects), "all": np.zeros(subjects)}
    step = np.searchsorted(steps, -scores)  # the first of these steps at which a frame is predicted present
    order = np.argsort(step, kind="stable")
    for start in range(0, len(steps), size):
        stop = min(start + size, len(steps))
        rows = order[slice(*np.searchsorted(step[order], (start, stop)))]
        new, every = (
            _counts(member[chosen], step[chosen] - start, (subjects, stop - start))
            for chosen in (rows[is_present[rows]], rows)
        )
        hits, predicted = (
            before[kind][:, None] + np.cumsum(counts, 1) for kind, counts in (("present", new), ("all", every))
        )
        before = {"present": hits[:, -1], "all": predicted[:, -1]}
        added, hits, predicted = (_product(weights, counts) for counts in (new, hits, predicted))
        total += np.einsum("bg,bg->b", added, hits / np.maximum(predicted, 1))
    return _ratio(total, np.asarray(weights, np.float64) @ np.bincount(member[is_present], minlength=subjects))


def _counts(member: np.ndarray, step: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count frames by subject and step, float64 of this shape."""
    return np.bincount(member * shape[1] + step, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def _product(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Multiply multiplicities (B, S) by counts (S, G), exactly: in float32, twice as fast, where that is exact."""
    largest = weights.max(initial=0) * counts.sum(0).max(initial=0)
    dtype = np.float32 if largest < _EXACT else np.float64
    return (weights.astype(dtype) @ counts.astype(dtype)).astype(np.float64)


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Compute `part / total`, NaN where total is 0."""
    return np.divide(part, total, out=np.full(len(part), np.nan), where=total > 0)

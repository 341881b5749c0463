"""The order in which faces are trained on: which face stands at which position of an endless sequence.

A sampler maps a position to a face, and knows nothing else: batch k is the faces at positions k N to (k + 1) N - 1,
whichever process loads it, and wherever a run is resumed.
"""

import functools
from collections.abc import Callable

import numpy as np

Sampler = Callable[[int], int]
"""Position, from 0, to the index of a face in the corpus. Called by several threads at once."""

SHUFFLED, BALANCED = "shuffled", "balanced"
"""Values of `config.data.sampler`."""

_ROUNDS, _MEMBERS = 2, 3  # streams of random numbers; without one: epochs. 1 permutes `samples` (train/splits.py)


def shuffled(indices: np.ndarray, *, per_epoch: int, seed: int) -> Sampler:
    """Return the published order: every epoch is the beginning of a new permutation.

    Args:
      indices: Indices of the faces to train on.
      per_epoch: Positions of an epoch, at most as many as there are faces.
      seed: Seed of the permutations.
    """

    @functools.lru_cache(maxsize=2)  # threads begin the next epoch before the last one ends
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(indices)

    def sample(position: int) -> int:
        epoch, place = divmod(position, per_epoch)
        return int(permutation(epoch)[place])

    return sample


def balanced(indices: np.ndarray, labels: np.ndarray, *, seed: int) -> Sampler:
    """Return an order in which each AU's positive faces are drawn equally often: class-aware sampling.

    The classes are the AUs, each with the faces on which it is present, and one more with the faces on which none is.
    Positions come in rounds of one per class, in an order that is drawn anew for each round; a class gives its faces in
    permutations, each without a repetition. (Shen, Lin and Huang, Relay Backpropagation, ECCV 2016, section 3.2, for
    one label per image. A face with several AUs belongs to several classes here.)

    With C classes, the share of faces that show AU k is

        1/C + sum over the other AUs j of (share of the faces with AU j that show k) / C

    Args:
      indices: (N,) indices of the faces to train on.
      labels: (N, K) of these faces: 1 present, 0 absent; -1, unknown, is no reason to draw a face.
      seed: Seed of rounds and permutations.

    Raises:
      ValueError: There is no face.
    """
    groups = balanced_groups(labels)
    if not groups:
        raise ValueError("there are no faces to draw from")

    @functools.lru_cache(maxsize=64)  # more than the rounds of a batch, whose faces several threads load
    def order(turn: int) -> np.ndarray:
        return np.random.default_rng([seed, turn, _ROUNDS]).permutation(len(groups))

    @functools.lru_cache(maxsize=2 * len(groups))  # threads begin the next permutation before the last one ends
    def members(group: int, repetition: int) -> np.ndarray:
        return np.random.default_rng([seed, group, repetition, _MEMBERS]).permutation(groups[group])

    def sample(position: int) -> int:
        turn, place = divmod(position, len(groups))
        group = int(order(turn)[place])
        repetition, k = divmod(turn, len(groups[group]))
        return int(indices[members(group, repetition)[k]])

    return sample


def balanced_groups(labels: np.ndarray) -> list[np.ndarray]:
    """Return the positions of the faces of each class of `balanced`: of AUs that occur, then of faces without any."""
    present = labels == 1
    groups = [np.flatnonzero(present[:, k]) for k in range(labels.shape[1])]
    groups.append(np.flatnonzero(~present.any(1)))
    return [group for group in groups if group.size]

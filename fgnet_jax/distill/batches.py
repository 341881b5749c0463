"""Cached faces to train on and to compare with the teachers on, and batches of them: batch k depends on k alone."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from fgnet_jax.data import sampling
from fgnet_jax.data.pipeline import HostBatch
from fgnet_jax.distill.cache import CachedFaces

SOURCES = 20
"""Files from which on whole files are held out; of fewer, single frames are."""

_AHEAD = 8


@dataclasses.dataclass(frozen=True, eq=False)
class StudentFaces:
    """The faces of a run.

    Attributes:
      cached: All of them.
      train: Positions of those that are trained on, (n,) int64.
      held_out: Positions of those that the student is compared with its teachers on.
      rule: How they were held out, in words.
    """

    cached: CachedFaces
    train: np.ndarray
    held_out: np.ndarray
    rule: str


def divide(
    cached: CachedFaces, *, corpus_train: int | None, names: Sequence[str], share: float, seed: int, count: int
) -> StudentFaces:
    """Divide cached faces: those of a corpus by subject, as it was opened; those of files by file or by frame.

    Args:
      cached: The faces.
      corpus_train: Frames of the corpus, source 0, that are trained on; the rest is held out. None without a corpus.
      names: Names of the sources, in order.
      share: Share of the faces of files that is held out.
      seed: Seed of the choices.
      count: Faces to train on: the first of a permutation; 0 for all.

    Raises:
      ValueError: All faces would be held out, or none.
    """
    held_out = np.zeros(len(cached), bool)
    rules = []
    files = np.ones(len(cached), bool)
    if corpus_train is not None:
        files = cached.source > 0
        held_out |= ~files & (cached.frame > corpus_train)
        rules.append("held-out training subjects")
    if files.any():
        chosen, rule = _of_files(cached, np.flatnonzero(files), names, share, seed)
        held_out[chosen] = True
        rules.append(rule)
    train = np.flatnonzero(~held_out)
    if not len(train) or held_out.sum() == 0:
        few = f"{len(cached)} faces are too few to hold out a share of {share} of them (data.held_out)"
        raise ValueError(f"{few}: give more faces, and another --output")
    if count > len(train):
        have = f"{len(train):,} are there to train on"
        raise ValueError(f"distill.faces asks for {count:,} faces, and {have}; 0 is for all")
    if count:
        train = np.sort(np.random.default_rng([seed, 1]).permutation(train)[:count])
    return StudentFaces(cached, train, np.flatnonzero(held_out), " and ".join(rules))


def _of_files(
    cached: CachedFaces, faces: np.ndarray, names: Sequence[str], share: float, seed: int
) -> tuple[np.ndarray, str]:
    """Choose faces of files to hold out, by the hash of their group: a file, or of a few files a frame."""
    sources = cached.source[faces]
    by_file = len(np.unique(sources)) >= SOURCES
    keys = [
        names[source] if by_file else f"{names[source]} {frame}"
        for source, frame in zip(sources.tolist(), cached.frame[faces].tolist(), strict=True)
    ]
    hashes = {key: hashlib.sha256(f"{seed} {key}".encode()).digest() for key in dict.fromkeys(keys)}
    chosen, total = set(), 0
    counts = dict(zip(*np.unique(keys, return_counts=True), strict=True))
    for key in sorted(hashes, key=lambda key: hashes[key]):
        if total >= share * len(faces) or (len(chosen) + 1 == len(hashes) and len(hashes) > 1):
            break
        chosen.add(key)
        total += int(counts[key])
    rule = "files drawn by hash" if by_file else "frames drawn by hash, of the same files"
    return faces[[key in chosen for key in keys]], rule


def train_batches(faces: StudentFaces, *, batch_size: int, seed: int, start: int, threads: int) -> Iterator[HostBatch]:
    """Load endless batches from step `start` on: one permutation of the faces after the other.

    Returns:
      `image` (N, S, S, 3) uint8, `heatmaps` (N, M, M, K) float16, `scores` (N, K), `labels`, `landmarks`, `index`.
    """
    sample = sampling.shuffled(faces.train, per_epoch=len(faces.train), seed=seed)

    def load(position: int) -> HostBatch:
        return faces.cached.load(sample(int(position)))

    endless = np.iinfo(np.int64).max // 2
    positions = grain.MapDataset.range(start * batch_size, endless).map(load).batch(batch_size, drop_remainder=True)
    return iter(positions.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD)))


def eval_batches(cached: CachedFaces, indices: np.ndarray, *, batch_size: int, threads: int) -> Iterator[HostBatch]:
    """Load every face of `indices` once, in order; the last batch is padded with repetitions, `valid` False there."""
    total = -(-len(indices) // batch_size) * batch_size
    padded = np.resize(indices, total)

    def load(place: int) -> HostBatch:
        return cached.load(int(padded[place])) | {"valid": np.bool_(place < len(indices))}

    batches = grain.MapDataset.range(total).map(load).batch(batch_size)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD)))

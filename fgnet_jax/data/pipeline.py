"""Faces from disk to batches, with Grain: deterministic in (seed, step), for any number of processes.

Batch k depends on k alone, so a resumed run starts at its step and nothing of the loader is saved.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from fgnet_jax.data.corpus import decode_resized

HostBatch = dict[str, Any]
"""NumPy arrays by name."""


class FaceSource(Protocol):
    """A random-access source of records with their image still encoded, such as `fgnet_jax.data.corpus.Corpus`."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> dict[str, Any]:
        """One face, its image encoded."""
        ...


@dataclasses.dataclass(frozen=True)
class ProcessShard:
    """What this process loads of every batch.

    Attributes:
      index: Number of this process.
      count: Number of processes.
    """

    index: int = 0
    count: int = 1


@dataclasses.dataclass(frozen=True)
class LoaderConfig:
    """How faces are loaded.

    Attributes:
      batch_size: Faces of a batch, over all processes.
      image_size: Side that images (and landmarks) are brought to.
      threads: Threads that decode.
      columns: Columns of the corpus' labels, in the order of the network's channels; -1 for an AU that it lacks.
    """

    batch_size: int
    image_size: int
    threads: int = 4
    columns: tuple[int, ...] | None = None


def train_batches(
    faces: FaceSource,
    indices: np.ndarray,
    loading: LoaderConfig,
    steps_per_epoch: int,
    seed: int,
    share: ProcessShard,
    start: int = 0,
) -> Iterator[HostBatch]:
    """Endless training batches from step `start` on.

    Every epoch is the beginning of a new permutation of `indices`: steps_per_epoch batches without a repetition, as
    the published script draws them. Each batch has this process' share.

    Args:
      faces: The corpus.
      indices: Which of its faces are trained on.
      loading: How they are loaded.
      steps_per_epoch: Batches of an epoch.
      seed: Of the permutations.
      share: What this process loads.
      start: Step of the first batch.

    Raises:
      ValueError: where there are fewer faces than an epoch takes.
    """
    per_epoch = steps_per_epoch * loading.batch_size
    if per_epoch > len(indices):
        raise ValueError(f"{steps_per_epoch} batches of {loading.batch_size} need more than {len(indices)} faces")
    local = _local_batch(loading, share)

    @functools.lru_cache(maxsize=2)  # threads run into the next epoch before the last one ends
    def drawn(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(indices)

    def load(position: int) -> HostBatch:
        epoch, place = divmod(int(position), per_epoch)
        return load_face(faces, int(drawn(epoch)[place]), loading)

    endless = np.iinfo(np.int64).max // 2
    positions = grain.MapDataset.range(start * loading.batch_size, endless)
    batches = positions[share.index :: share.count].map(load).batch(local, drop_remainder=True)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=loading.threads, prefetch_buffer_size=8)))


def eval_batches(
    faces: FaceSource, indices: np.ndarray, loading: LoaderConfig, share: ProcessShard
) -> Iterator[HostBatch]:
    """Every face of `indices` once, in order, in batches of one size with `index` and `valid` beside.

    The end is filled up with repetitions, `valid` False, so that each process has as many batches as any other.
    """
    local = _local_batch(loading, share)
    total = -(-len(indices) // loading.batch_size) * loading.batch_size
    padded = np.concatenate([indices, np.resize(indices, total - len(indices))]) if len(indices) else indices

    def load(position: int) -> HostBatch:
        place = int(position)
        face = load_face(faces, int(padded[place]), loading)
        return face | {"index": np.int32(padded[place]), "valid": np.bool_(place < len(indices))}

    batches = grain.MapDataset.range(total)[share.index :: share.count].map(load).batch(local)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=loading.threads, prefetch_buffer_size=8)))


def load_face(faces: FaceSource, index: int, loading: LoaderConfig) -> HostBatch:
    """One face: `image` (S, S, 3) uint8, `landmarks` (68, 2) float32 in its pixels, `labels` (K,) int8, `index`."""
    record = faces.record(index)
    image, scale = decode_resized(record["image"], loading.image_size)
    return {
        "image": image,
        "landmarks": record["landmarks"] * np.float32(scale),
        "labels": select_columns(record["labels"], loading.columns),
        "index": np.int32(index),
    }


def select_columns(labels: np.ndarray, columns: Sequence[int] | None) -> np.ndarray:
    """Labels (K,) in the network's order; unknown (-1) for an AU that the corpus lacks."""
    if columns is None:
        return labels
    return np.array([labels[column] if column >= 0 else -1 for column in columns], np.int8)


def describe(faces: FaceSource, indices: Sequence[int]) -> list[str]:
    """Where faces come from, "F001/T1 frame 12", for messages."""
    records: list[Mapping[str, Any]] = [faces.record(int(index)) for index in indices]
    return [f"{record['subject']}/{record['sequence']} frame {record['frame']}" for record in records]


def _local_batch(loading: LoaderConfig, share: ProcessShard) -> int:
    local, rest = divmod(loading.batch_size, share.count)
    if rest:
        raise ValueError(f"a batch of {loading.batch_size} does not divide over {share.count} processes")
    return local

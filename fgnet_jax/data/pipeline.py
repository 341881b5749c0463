"""Loads faces from disk to batches, with Grain: deterministic in (seed, step), for any number of processes.

Batch k depends on k alone, so that a resumed run starts at its step and the loader's state need not be saved.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import grain
import numpy as np

from fgnet_jax.data import sampling
from fgnet_jax.data.corpus import Decoded, decode_resized
from fgnet_jax.data.sampling import Sampler

HostBatch = dict[str, Any]
"""NumPy arrays by name."""


class FaceSource(Protocol):
    """A random-access source of records with their image still encoded, such as `fgnet_jax.data.corpus.Corpus`."""

    def __len__(self) -> int:
        """Return the number of faces."""
        ...

    def record(self, index: int) -> dict[str, Any]:
        """Read a face; its image stays encoded."""
        ...

    def decoded(self, index: int, encoded: bytes, decoder: Callable[[bytes], Decoded]) -> Decoded:
        """Decode the image of a face; an error names its record."""
        ...


@dataclasses.dataclass(frozen=True)
class ProcessShard:
    """The part of every batch that this process loads.

    Attributes:
      index: Index of this process, from 0.
      count: Number of processes.
    """

    index: int = 0
    count: int = 1


@dataclasses.dataclass(frozen=True)
class LoaderConfig:
    """How faces are loaded.

    Attributes:
      batch_size: Faces per batch, over all processes.
      image_size: Side to which images (and their landmarks) are resized, in pixels.
      threads: Threads that decode.
      columns: Columns of the corpus' labels, in the order of the network's channels; -1 for an AU that it lacks. None
        for all columns in their own order.
      intensities: Whether faces have their `intensities`, too.
    """

    batch_size: int
    image_size: int
    threads: int = 4
    columns: tuple[int, ...] | None = None
    intensities: bool = False


def train_batches(
    faces: FaceSource,
    indices: np.ndarray,
    config: LoaderConfig,
    *,
    steps_per_epoch: int,
    seed: int,
    shard: ProcessShard,
    start: int = 0,
    sampler: Sampler | None = None,
) -> Iterator[HostBatch]:
    """Load endless training batches from step `start` on.

    Every epoch is the beginning of a new permutation of `indices`: `steps_per_epoch` batches without a repetition, as
    in the published script; another sampler has an order of its own. Each batch has this process' part.

    Args:
      faces: The corpus.
      indices: Indices of the faces to train on.
      config: How they are loaded.
      steps_per_epoch: Batches per epoch.
      seed: Seed of the permutations.
      shard: The part that this process loads.
      start: Step of the first batch.
      sampler: Another order of the faces, such as `sampling.balanced`.

    Raises:
      ValueError: if there are fewer faces than an epoch needs, or the batch does not divide over the processes.
    """
    per_epoch = steps_per_epoch * config.batch_size
    if per_epoch > len(indices):
        raise ValueError(f"{steps_per_epoch} batches of {config.batch_size} need more than {len(indices)} faces")
    local = _local_batch(config, shard)

    sample = sampler or sampling.shuffled(indices, per_epoch=per_epoch, seed=seed)

    def load(position: int) -> HostBatch:
        return load_face(faces, sample(int(position)), config)

    endless = np.iinfo(np.int64).max // 2
    positions = grain.MapDataset.range(start * config.batch_size, endless)
    batches = positions[shard.index :: shard.count].map(load).batch(local, drop_remainder=True)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=8)))


def eval_batches(
    faces: FaceSource, indices: np.ndarray, config: LoaderConfig, *, shard: ProcessShard, start: int = 0
) -> Iterator[HostBatch]:
    """Load every face of `indices` once, in order, in batches of equal size that also have `index` and `valid`.

    The last batch is padded with repetitions, `valid` False, so that all processes have as many batches.

    Args:
      faces: The corpus.
      indices: Indices of the faces.
      config: How they are loaded.
      shard: The part that this process loads.
      start: The first batch.
    """
    local = _local_batch(config, shard)
    total = -(-len(indices) // config.batch_size) * config.batch_size
    padded = np.concatenate([indices, np.resize(indices, total - len(indices))]) if len(indices) else indices

    def load(position: int) -> HostBatch:
        place = int(position)
        face = load_face(faces, int(padded[place]), config)
        return face | {"index": np.int32(padded[place]), "valid": np.bool_(place < len(indices))}

    places = grain.MapDataset.range(start * config.batch_size, total)[shard.index :: shard.count]
    batches = places.map(load).batch(local)
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=8)))


def load_face(faces: FaceSource, index: int, config: LoaderConfig) -> HostBatch:
    """Load a face.

    Returns:
      `image` (S, S, 3) uint8, `landmarks` (68, 2) float32 in its pixels, `labels` (K,) int8, `index`; and `intensities`
      (K,) float32, -1 unknown, where `config` says so.
    """
    record = faces.record(index)
    image, scale = faces.decoded(index, record["image"], lambda encoded: decode_resized(encoded, config.image_size))
    face = {
        "image": image,
        "landmarks": record["landmarks"] * np.float32(scale),
        "labels": select_columns(record["labels"], config.columns),
        "index": np.int32(index),
    }
    if config.intensities:
        face["intensities"] = select_columns(record["intensities"], config.columns)
    return face


def select_columns(values: np.ndarray, columns: Sequence[int] | None) -> np.ndarray:
    """Return labels or intensities (K,) in the network's order; -1, unknown, for an AU that the corpus lacks."""
    if columns is None:
        return values
    return np.array([values[column] if column >= 0 else -1 for column in columns], values.dtype)


def describe(faces: FaceSource, indices: Sequence[int]) -> list[str]:
    """Name faces for messages: "F001/T1 frame 12"."""
    records: list[Mapping[str, Any]] = [faces.record(int(index)) for index in indices]
    return [f"{record['subject']}/{record['sequence']} frame {record['frame']}" for record in records]


def _local_batch(config: LoaderConfig, shard: ProcessShard) -> int:
    """Return this process' number of faces per batch."""
    local, remainder = divmod(config.batch_size, shard.count)
    if remainder:
        raise ValueError(f"a batch of {config.batch_size} does not divide over {shard.count} processes")
    return local

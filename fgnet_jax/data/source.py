"""Random access to the records of one split, each error with the file, the split and the record that it is in."""

import bisect
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import tensorflow_datasets as tfds

from fgnet_jax.data import damage
from fgnet_jax.data.index import DatasetIndex, FaceIndex

Record = dict[str, Any]
"""A record as TFDS gives it: images encoded, names as bytes."""


class SplitSource(Sequence[Record]):
    """Records of a split."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, index: DatasetIndex | None = None):
        """Open the records; none is read yet.

        Args:
          builder: The dataset's builder.
          split: Name of the split.
          index: The dataset's index, which every record is compared with once it is loaded; None for no comparison.
        """
        self._builder, self._split, self._dataset_index = builder, split, index
        info = builder.info.splits[split]
        self._shards = [Path(path) for path in info.filepaths]
        self._ends = list(itertools.accumulate(info.shard_lengths))

    @functools.cached_property
    def _records(self) -> Any:  # noqa: ANN401 - TFDS gives its source no type
        # typed loosely: TFDS wraps the method in a decorator that hides its parameters
        decoders = {"image": tfds.decode.SkipDecoding()}
        return cast(Any, self._builder).as_data_source(split=self._split, decoders=decoders)

    @property
    def index(self) -> FaceIndex:
        """Whom and what each record shows."""
        assert self._dataset_index is not None
        return self._dataset_index.splits[self._split]

    def __len__(self) -> int:
        """Return the number of records."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, place: Any) -> Record:  # noqa: ANN401 - a single place: slices are of no use here
        """Read a record.

        Raises:
          CorpusError: It is damaged, or is not the one that was written there.
        """
        if not 0 <= place < len(self):
            raise IndexError(f"no record {place} in {self._split}: it has {len(self)}")
        try:
            record = self._records[place]
        except MemoryError:
            raise
        except Exception as error:  # of array_record, Protocol Buffers or TFDS: each has types of its own
            raise self.damaged(place, f"cannot be read ({damage.first_line(error)})") from error
        loaded = self._dataset_index is not None and self._dataset_index.is_loaded
        if loaded and self.index.differs(place, record):
            raise self.damaged(place, "is not the one that the index beside it names")
        return record

    def damaged(self, place: int, what: str) -> damage.CorpusError:
        """Return the error of a damaged record, which names its file, its split and its number from 0."""
        shard = bisect.bisect_right(self._ends, place)
        begin = self._ends[shard - 1] if shard else 0
        where = f"{self._shards[shard]}: record {place - begin} ({self._split} {place}) {what}"
        return damage.damaged(self._shards[shard].parent, where)

"""Prediction by several machines: which inputs are in which shard, and what its files are called.

--csv out.csv --shard 2/8        out.shard-2-of-8.csv, with its JSON: the rows of consecutive inputs
--per_input DIR --shard 2/8      the tables of these inputs, with the names of a single run
--overlays DIR --shard 2/8       likewise
"""

import dataclasses
import glob
import os
from collections.abc import Sequence

from fgnet_jax.media.frames import SEVERAL_KINDS
from fgnet_jax.media.sources import Source
from fgnet_jax.predict import run_record
from fgnet_jax.predict.outputs import OutputOptions
from fgnet_jax.runtime import shards
from fgnet_jax.runtime.shards import Shard

_FRAME_BYTES = 20_000  # of a video, about: how many frames it has is not known before it is read


def part_of(sources: Sequence[Source], shard: Shard) -> range:
    """Return which inputs a shard has: consecutive ones, with about as many frames as those of any other."""
    return shards.consecutive([_weight(source) for source in sources], shard)


def outputs_of(outputs: OutputOptions, sources: Sequence[Source], shard: Shard) -> OutputOptions:
    """Return the outputs of a shard: its own table and archive, and files for each input as those of a single run."""
    return dataclasses.replace(
        outputs,
        table=outputs.table if outputs.per_input else named(outputs.table, shard),
        archive=named(outputs.archive, shard) if outputs.archive else None,
        part=(tuple(sources), part_of(sources, shard)),
    )


def named(path: str, shard: Shard) -> str:
    """Return the name of a shard's file: `out.shard-2-of-8.csv` for `out.csv`."""
    stem, suffix = os.path.splitext(path.rstrip("/"))
    return f"{stem}.{shard.name}{suffix}"


def counts(table: str) -> list[int]:
    """Return the numbers of shards that a table's shards are of, as far as any has begun; one number, usually."""
    stem, suffix = os.path.splitext(os.path.normpath(table))
    found = glob.glob(f"{glob.escape(stem)}.shard-*-of-*{glob.escape(suffix)}.json")
    every = {shard for path in found if (shard := shards.of_name(path[len(stem) :]))}
    return sorted({shard.count for shard in every if str(run_record.path_of(named(stem + suffix, shard))) in found})


def _weight(source: Source) -> int:
    """Estimate the frames of an input."""
    if source.kind not in SEVERAL_KINDS or not isinstance(source.path, str) or not os.path.exists(source.path):
        return 1
    return max(1, os.path.getsize(source.path) // _FRAME_BYTES)

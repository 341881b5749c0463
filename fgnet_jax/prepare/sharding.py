"""Preparation by several machines: each prepares some of the sequences (`--shard I/N`), then one writes the dataset.

    WORK/SUBJECT/NAME/00000.npz        chunks, by whichever shard the sequence is in
    WORK/shard-2-of-8.json             what that shard has done; `.lock` beside it names who is at it

The work folder's name is a fingerprint of source and settings, so shards of others are in other folders. Which
sequences a shard has depends on the corpus alone; and a sequence's chunks are the same, whichever machine made them.
"""

import json
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.prepare import chunks, pool
from fgnet_jax.prepare.builders import DatasetPlan
from fgnet_jax.prepare.layouts.records import LabelledSequence
from fgnet_jax.prepare.report import ProcessingSpeed
from fgnet_jax.prepare.sequence import PrepareSettings
from fgnet_jax.runtime import leases, shards
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.files import replacing, write_text
from fgnet_jax.runtime.shards import Shard


class ShardError(ValueError):
    """Shards that cannot be merged: the message names those that are missing, not finished, or of something else."""


def process(plan: DatasetPlan, chosen: PrepareSettings, shard: Shard, workers: int) -> None:
    """Prepare the sequences of a shard into chunks; continues after those that exist.

    Args:
      plan: The dataset.
      chosen: How faces are prepared.
      shard: Which part.
      workers: Processes.

    Raises:
      LockedError: Another process prepares the same shard.
    """
    plan.work.mkdir(parents=True, exist_ok=True)
    with leases.held(_lock(plan.work, shard)):
        record = _read(plan.work, shard)
        _write(plan.work, shard, record | {"complete": False})
        part = sequences_of(plan.corpus.sequences, shard)
        frames, seconds = pool.process_all(part, chosen, plan.work, workers)
        done = {"frames": record["frames"] + frames, "seconds": record["seconds"] + seconds, "workers": workers}
        _write(plan.work, shard, {"host": socket.gethostname(), **done, "complete": True})
    labelled = sum(len(sequence.frames) for sequence in part)
    status(
        "prepare",
        f"shard {shard} of {plan.corpus.name} is prepared: {len(part)} sequences, {labelled:,} labelled frames; "
        "when all are, the same command with --merge in place of --shard writes the dataset",
    )


def sequences_of(sequences: Sequence[LabelledSequence], shard: Shard) -> list[LabelledSequence]:
    """Return the sequences of a shard, which has about as many frames as any other."""
    numbers = shards.balanced([len(sequence.frames) for sequence in sequences], shard.count)
    return [sequence for sequence, number in zip(sequences, numbers, strict=True) if number == shard.number]


def check_idle(work: Path) -> None:
    """Refuse to write a dataset while another process prepares one of its shards.

    Raises:
      ShardError: with who does.
    """
    for path in sorted(work.glob("shard-*.lock")):
        if holder := leases.holder(path):
            raise ShardError(f"shard {shards.of_name(path.name)} is being prepared by {holder}; wait until it is done")


def take(plan: DatasetPlan, data_dirs: Sequence[Path]) -> None:
    """Copy the work of shards from folders of datasets of other machines.

    Raises:
      ShardError: A folder has none of this source and these settings.
    """
    for data_dir in data_dirs:
        source = data_dir / plan.corpus.name / plan.work.name
        if not source.is_dir():
            found = ", ".join(sorted(path.name for path in source.parent.glob(".work-*")))
            other = f"; it has work of another source or other options: {found}" if found else ""
            raise ShardError(f"{data_dir} has no shard of this {plan.corpus.name}: expected {source}{other}")
        for sequence in plan.corpus.sequences:
            if not chunks.done(plan.folder(sequence))[1]:
                _copy(source / sequence.key, plan.folder(sequence))
        for path in sorted(source.glob("shard-*.json")):
            _copy_file(path, plan.work / path.name)


def check_complete(plan: DatasetPlan) -> ProcessingSpeed:
    """Check that every sequence is prepared; return the speed of all shards together.

    Raises:
      ShardError: with the shards that are missing or not finished.
    """
    missing = {sequence.key for sequence in plan.corpus.sequences if not chunks.done(plan.folder(sequence))[1]}
    begun = sorted(shard for path in plan.work.glob("shard-*.json") if (shard := shards.of_name(path.name)))
    if not begun:
        others = sorted(path.name for path in plan.work.parent.glob(".work-*") if path != plan.work)
        more = f"; there is work of another source or other options: {', '.join(others)}" if others else ""
        raise ShardError(f"no shard of {plan.corpus.name} is in {plan.work.parent}: begin with --shard 1/N{more}")
    if missing:
        lines = "; ".join(_missing(plan, begun, missing))
        raise ShardError(f"{plan.corpus.name} is not complete: {lines}. Run the same command with --shard for these")
    records = [_read(plan.work, shard) for shard in begun]
    return ProcessingSpeed(
        frames=sum(record["frames"] for record in records),
        seconds=max(record["seconds"] for record in records),
        workers=sum(record["workers"] for record in records),
    )


def _missing(plan: DatasetPlan, begun: Sequence[Shard], missing: set[str]) -> list[str]:
    """Describe the shards that sequences are missing of, by the number of shards of which most are there."""
    counts = [shard.count for shard in begun]
    count = max(sorted(set(counts)), key=counts.count)
    lines = []
    for number in range(1, count + 1):
        shard = Shard(count=count, number=number)
        part = sequences_of(plan.corpus.sequences, shard)
        of_shard = [sequence.key for sequence in part if sequence.key in missing]
        if of_shard:
            state = "has not finished" if shard in begun else "is missing"
            lines.append(f"shard {shard} {state} ({len(of_shard)} of {len(part)} sequences, {of_shard[0]} among them)")
    return lines


def _lock(work: Path, shard: Shard) -> Path:
    return work / f"{shard.name}.lock"


def _read(work: Path, shard: Shard) -> dict[str, Any]:
    """Read what a shard has done; nothing where it has not begun, or its file is damaged: chunks count."""
    empty = {"frames": 0, "seconds": 0.0, "workers": 0}
    try:
        return empty | json.loads((work / f"{shard.name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return empty


def _write(work: Path, shard: Shard, record: dict[str, Any]) -> None:
    write_text(work / f"{shard.name}.json", json.dumps(record, indent=1) + "\n")


def _copy(source: Path, target: Path) -> None:
    """Copy the chunks of a sequence, in order, so that those of a copy that was stopped are its first ones."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("[0-9]*.npz")):
        _copy_file(path, target / path.name)


def _copy_file(source: Path, target: Path) -> None:
    if source.resolve() != target.resolve():
        with replacing(target) as temporary:
            shutil.copyfile(source, temporary)

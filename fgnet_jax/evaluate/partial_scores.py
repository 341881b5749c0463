"""Scores of faces, kept on the way: an evaluation that is stopped, however it is, goes on where it was.

    FOLDER/KEY-000000320.npz       scores of the faces from the 320th on, as many as one file has

The key is of all that scores depend on: weights, corpus, faces, batches, versions and device. Files of another key are
never read, and removed. Files begin with a batch, and batch k depends on k alone, so that scores have the same bits.
"""

import dataclasses
import hashlib
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fgnet_jax.data.pipeline import FaceSource, HostBatch, LoaderConfig, ProcessShard, eval_batches
from fgnet_jax.models import fgnet
from fgnet_jax.runtime import command_line, provenance, sharding
from fgnet_jax.runtime.files import replacing
from fgnet_jax.runtime.sharding import Sharding
from fgnet_jax.train.evaluator import EvalStep, ScoredFaces

SECONDS = 20.0
"""Work that is lost at most where the process is killed, beside the batch that it was at."""

_ARRAYS = ("scores", "labels", "index")

Scores = dict[str, np.ndarray]
"""Of consecutive faces: `scores` (N, K), `labels` (N, K), and `index` (N,), their places in the corpus."""


@dataclasses.dataclass(frozen=True)
class PartialScores:
    """Where scores are kept.

    Attributes:
      folder: The folder; it need not exist.
      key: Of what they are.
    """

    folder: Path
    key: str

    def read(self, batch_size: int, total: int) -> list[Scores]:
        """Read what an earlier evaluation has kept, and remove what is of another key.

        Args:
          batch_size: Faces per batch.
          total: Number of all faces.

        Returns:
          The scores of the first faces: of whole batches, unless it is all of them.
        """
        kept, first = [], 0
        while (part := _load(self._file(first))) is not None:
            kept.append(part)
            first += len(part["index"])
            if first % batch_size:
                break
        if first % batch_size and first != total:
            kept = []
        others = [path for path in self.folder.glob("*.npz") if not path.name.startswith(f"{self.key}-")]
        if others:
            command_line.status("evaluate", f"{self.folder}: of other weights, faces or versions: predicted anew")
        for path in others:
            path.unlink(missing_ok=True)
        return kept

    def write(self, part: Scores, first: int) -> None:
        """Keep the scores of consecutive faces, complete or not at all; `first` is the number of those before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._file(first)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **part)  # pyright: ignore[reportArgumentType]  # no name is `allow_pickle`

    def remove(self) -> None:
        """Remove them, after they were written elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, first: int) -> Path:
        return self.folder / f"{self.key}-{first:09d}.npz"


def beside(path: Path, metadata: Mapping[str, Any], indices: np.ndarray, batch_size: int) -> PartialScores:
    """Return where the scores are kept until a file of predictions is written.

    Args:
      path: That file.
      metadata: What the predictions are of and depend on, as the file has it.
      indices: (N,) places of the faces in the corpus.
      batch_size: Faces per batch.
    """
    device = jax.devices()[0]
    computed = [device.platform, device.device_kind, jax.device_count(), batch_size, provenance.versions()]
    digest = hashlib.sha256(json.dumps([metadata, computed], sort_keys=True, default=str).encode())
    digest.update(np.asarray(indices, np.int64).tobytes())
    return PartialScores(path.with_name(f"{path.name}.parts"), digest.hexdigest()[:16])


def score(
    step: EvalStep,
    variables: fgnet.Variables,
    corpus: FaceSource,
    indices: np.ndarray,
    *,
    loader: LoaderConfig,
    layout: Sharding,
    before: Sequence[Scores],
    keep: Callable[[Scores, int], None],
    done: Callable[[int], None],
) -> ScoredFaces:
    """Score faces of a corpus in one process, from where an earlier evaluation was.

    Args:
      step: The jitted step.
      variables: The network's variables.
      corpus: The corpus that the faces are in.
      indices: Which of its faces.
      loader: How they are loaded.
      layout: Placement of batches on the devices.
      before: Scores of the first faces (`PartialScores.read`).
      keep: Keeps the scores of consecutive faces, with the number of those before (`PartialScores.write`).
      done: Called with the number of faces that are scored, after every batch.
    """
    parts, recent = list(before), list[Scores]()
    first, since = _count(parts), time.monotonic()

    def join() -> None:
        nonlocal parts, recent, first, since
        if recent:
            keep(_joined(recent), first)
        parts, recent, first, since = [*parts, *recent], [], first + _count(recent), time.monotonic()

    try:
        start = -(-first // loader.batch_size)
        for batch in _batches(corpus, indices, loader, start) if first < len(indices) else ():
            result = {name: np.asarray(x) for name, x in step(variables, sharding.global_batch(batch, layout)).items()}
            recent.append({name: result[name][result["valid"]] for name in _ARRAYS})
            done(first + _count(recent))
            if time.monotonic() - since >= SECONDS:
                join()
    finally:  # Ctrl-C loses nothing
        join()
    joined = _joined(parts)
    order = np.argsort(joined["index"], kind="stable")
    return ScoredFaces(scores=joined["scores"][order], labels=joined["labels"][order], indices=joined["index"][order])


def _batches(corpus: FaceSource, indices: np.ndarray, loader: LoaderConfig, start: int) -> Iterator[HostBatch]:
    return eval_batches(corpus, indices, loader, shard=ProcessShard(), start=start)


def _count(parts: Sequence[Scores]) -> int:
    return sum(len(part["index"]) for part in parts)


def _joined(parts: Sequence[Scores]) -> Scores:
    return {name: np.concatenate([part[name] for part in parts]) for name in _ARRAYS}


def _load(path: Path) -> Scores | None:
    """Read a file; None where there is none, or it is damaged: its faces are scored again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            part = {name: stored[name] for name in _ARRAYS}
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return None
    return part if len(part["index"]) else None

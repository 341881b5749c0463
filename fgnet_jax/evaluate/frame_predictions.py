"""What a network said of each frame, in memory and as Parquet: any statistic comes from it, without a GPU.

    split, subject, sequence, frame, AU01_label, AU01_score, AU01_c, …      a row a frame

`_label` is 1, 0 or -1 (unknown), `_score` the mean of the heatmap, `_c` whether the score lies above the threshold.
The file's own metadata say which weights and corpus it is of (key `fgnet_jax`, JSON).
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from fgnet_jax.aus import label as au_label

_KEY = b"fgnet_jax"


class FramePredictionsError(ValueError):
    """A Parquet file that holds no answers; the message names it."""


@dataclasses.dataclass(frozen=True, eq=False)
class FramePredictions:
    """Scored frames, in the corpus' order.

    Attributes:
      aus: The K AUs that network and corpus both have.
      splits: (N,) str.
      subjects: (N,) str.
      sequences: (N,) str.
      frames: (N,) int64.
      labels: (N, K) int8: 1 present, 0 absent, -1 unknown.
      scores: (N, K) float32 in [-1, 1].
      thresholds: (N, K) float64: an AU is said to be present where its score is above.
    """

    aus: tuple[int, ...]
    splits: np.ndarray
    subjects: np.ndarray
    sequences: np.ndarray
    frames: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, thresholds: Sequence[float] | np.ndarray) -> "FramePredictions":
        """The same scores with other thresholds, (K,)."""
        return dataclasses.replace(
            self, thresholds=np.broadcast_to(np.asarray(thresholds, np.float64), self.scores.shape)
        )

    def of_split(self, split: str) -> "FramePredictions":
        """The frames of one split."""
        return self._rows(self.splits == split)

    def _rows(self, chosen: np.ndarray) -> "FramePredictions":
        rows = {f.name: getattr(self, f.name)[chosen] for f in dataclasses.fields(self) if f.name != "aus"}
        return FramePredictions(self.aus, **rows)


def join(parts: Sequence[FramePredictions]) -> FramePredictions:
    """All frames of several, of the same AUs, one after the other."""
    names = [field.name for field in dataclasses.fields(FramePredictions) if field.name != "aus"]
    return FramePredictions(parts[0].aus, **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def write(path: str | Path, answers: FramePredictions, about: dict[str, Any]) -> None:
    """Writes answers as Parquet, the whole file at once.

    Args:
      path: The file.
      answers: What was said.
      about: What made them, for JSON.
    """
    columns: dict[str, Any] = {
        "split": pyarrow.array(answers.splits.tolist()).dictionary_encode(),
        "subject": pyarrow.array(answers.subjects.tolist()).dictionary_encode(),
        "sequence": pyarrow.array(answers.sequences.tolist()).dictionary_encode(),
        "frame": pyarrow.array(answers.frames, pyarrow.int32()),
    }
    for k, au in enumerate(answers.aus):
        name = au_label(au)
        columns[f"{name}_label"] = pyarrow.array(answers.labels[:, k], pyarrow.int8())
        columns[f"{name}_score"] = pyarrow.array(answers.scores[:, k], pyarrow.float32())
        columns[f"{name}_c"] = pyarrow.array((answers.scores > answers.thresholds)[:, k].astype(np.int8))
    text = json.dumps(about | {"aus": list(answers.aus), "thresholds": _common(answers.thresholds)})
    table = pyarrow.table(columns).replace_schema_metadata({_KEY: text.encode()})
    temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    try:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> tuple[FramePredictions, dict[str, Any]]:
    """Answers and what is said of them.

    Raises:
      FramePredictionsError: for a file that `write` did not write.
    """
    try:
        table = pyarrow.parquet.read_table(path)
        about = json.loads((table.schema.metadata or {})[_KEY])
        aus = tuple(about["aus"])
        columns = [np.asarray(table[f"{au_label(au)}_{kind}"]) for kind in ("label", "score") for au in aus]
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        raise FramePredictionsError(f"{path}: not a file of per-frame predictions: {error!r}") from error
    splits, subjects, sequences = (np.array(table[name].to_pylist()) for name in ("split", "subject", "sequence"))
    labels, scores = (np.stack(part, 1) for part in (columns[: len(aus)], columns[len(aus) :]))
    thresholds = np.broadcast_to(np.array(about["thresholds"], np.float64), scores.shape)
    frames = np.asarray(table["frame"], np.int64)
    labels, scores = labels.astype(np.int8), scores.astype(np.float32)
    return FramePredictions(aus, splits, subjects, sequences, frames, labels, scores, thresholds), about


def _common(thresholds: np.ndarray) -> list[float]:
    """The thresholds (K,) that all frames share."""
    if not len(thresholds):
        return [0.0] * thresholds.shape[1]
    if (thresholds != thresholds[0]).any():
        raise ValueError("a file holds the answers of one network, at one threshold an AU")
    return thresholds[0].tolist()

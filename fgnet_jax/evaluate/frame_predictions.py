"""A network's predictions for each frame, in memory and as Parquet: any statistic follows from them, without a GPU.

    split, subject, sequence, frame, AU01_label, AU01_score, AU01_c, …      one row per frame

`_label` is 1, 0 or -1 (unknown), `_score` the mean of the heatmap, `_c` 1 where the score is above the threshold. Of
weights that know intensities, `AU01_r` is the estimated one, 0 to 5 (NaN for an AU that is not calibrated), and
`AU01_intensity` the coded one (-1 unknown).
The file's metadata (key `fgnet_jax`, JSON) name the weights and the corpus.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from fgnet_jax.aus import label as au_label
from fgnet_jax.runtime.files import replacing

KEY = b"fgnet_jax"
"""Key of the metadata of a Parquet file of predictions."""


class FramePredictionsError(ValueError):
    """A Parquet file that holds no per-frame predictions; the message names it."""


@dataclasses.dataclass(frozen=True, eq=False)
class FramePredictions:
    """Predictions for N frames, in the corpus' order.

    Attributes:
      aus: The K AUs that network and corpus share.
      splits: (N,) str.
      subjects: (N,) str.
      sequences: (N,) str.
      frames: (N,) int64.
      labels: (N, K) int8: 1 present, 0 absent, -1 unknown.
      scores: (N, K) float32 in [-1, 1].
      thresholds: (N, K) float64: an AU is predicted present where its score is above.
      intensities: (N, K) float32, coded, 0 to 5; -1 unknown. None where the weights know presence alone.
      estimates: (N, K) float32, estimated, 0 to 5; NaN for an AU that is not calibrated. None likewise.
    """

    aus: tuple[int, ...]
    splits: np.ndarray
    subjects: np.ndarray
    sequences: np.ndarray
    frames: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    thresholds: np.ndarray
    intensities: np.ndarray | None = None
    estimates: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, thresholds: Sequence[float] | np.ndarray) -> "FramePredictions":
        """Return the same scores with other thresholds, (K,)."""
        return dataclasses.replace(
            self, thresholds=np.broadcast_to(np.asarray(thresholds, np.float64), self.scores.shape)
        )

    def of_split(self, split: str) -> "FramePredictions":
        """Return the frames of one split."""
        chosen = self.splits == split
        return FramePredictions(self.aus, **{name: getattr(self, name)[chosen] for name in _array_names([self])})

    def of_aus(self, aus: Sequence[int]) -> "FramePredictions":
        """Return the predictions of these AUs, in this order; labels of AUs that are not predicted are -1 (unknown)."""
        places = [self.aus.index(au) if au in self.aus else len(self.aus) for au in aus]
        columns = {}
        missing_values = {"labels": -1, "scores": 0, "thresholds": 0, "intensities": -1, "estimates": np.nan}
        for name in missing_values.keys() & set(_array_names([self])):
            values, missing = getattr(self, name), missing_values[name]
            filler = np.full((len(self), 1), missing, values.dtype)
            columns[name] = np.concatenate([values, filler], 1)[:, places]
        return dataclasses.replace(self, aus=tuple(aus), **columns)

    def sorted_by_au(self) -> "FramePredictions":
        """Return the same predictions in ascending order of AU numbers."""
        return self.of_aus(sorted(self.aus))


def _array_names(parts: Sequence[FramePredictions]) -> list[str]:
    """Return the names of the arrays that all of these predictions have."""
    names = [field.name for field in dataclasses.fields(FramePredictions) if field.name != "aus"]
    return [name for name in names if all(getattr(part, name) is not None for part in parts)]


def join(parts: Sequence[FramePredictions]) -> FramePredictions:
    """Concatenate the frames of several predictions, AU by AU, whatever order their columns have.

    Frames of predictions without an AU that others have get it with label -1 (unknown), and score and threshold 0.
    There are intensities only if all parts have them.
    """
    aus = tuple(dict.fromkeys(au for part in parts for au in part.aus))  # those of the first part come first
    parts = [part if part.aus == aus else part.of_aus(aus) for part in parts]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _array_names(parts)}
    return FramePredictions(aus, **arrays)


def write(path: str | Path, predictions: FramePredictions, metadata: dict[str, Any]) -> None:
    """Write predictions as Parquet, whole or not at all.

    Args:
      path: The file.
      predictions: Of one network, at one threshold per AU.
      metadata: Where they come from, for JSON.
    """
    columns: dict[str, Any] = {
        "split": pyarrow.array(predictions.splits.tolist()).dictionary_encode(),
        "subject": pyarrow.array(predictions.subjects.tolist()).dictionary_encode(),
        "sequence": pyarrow.array(predictions.sequences.tolist()).dictionary_encode(),
        "frame": pyarrow.array(predictions.frames, pyarrow.int32()),
    }
    present = predictions.scores > predictions.thresholds
    for k, au in enumerate(predictions.aus):
        name = au_label(au)
        columns[f"{name}_label"] = pyarrow.array(predictions.labels[:, k], pyarrow.int8())
        columns[f"{name}_score"] = pyarrow.array(predictions.scores[:, k], pyarrow.float32())
        columns[f"{name}_c"] = pyarrow.array(present[:, k].astype(np.int8))
        for suffix, values in (("r", predictions.estimates), ("intensity", predictions.intensities)):
            if values is not None:
                columns[f"{name}_{suffix}"] = pyarrow.array(values[:, k], pyarrow.float32())
    thresholds = _common_thresholds(predictions.thresholds)
    text = json.dumps(metadata | {"aus": list(predictions.aus), "thresholds": thresholds})
    table = pyarrow.table(columns).replace_schema_metadata({KEY: text.encode()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def read(path: str | Path) -> tuple[FramePredictions, dict[str, Any]]:
    """Read predictions and their metadata.

    Raises:
      FramePredictionsError: `write` did not write this file.
    """
    try:
        table = pyarrow.parquet.read_table(path)
        metadata = json.loads((table.schema.metadata or {})[KEY])
        aus = tuple(metadata["aus"])
        labels = [np.asarray(table[f"{au_label(au)}_label"], np.int8) for au in aus]
        scores = [np.asarray(table[f"{au_label(au)}_score"], np.float32) for au in aus]
        intensities, estimates = (_columns(table, aus, suffix) for suffix in ("intensity", "r"))
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        raise FramePredictionsError(f"{path}: not a file of per-frame predictions: {error!r}") from error
    predictions = FramePredictions(
        aus=aus,
        splits=np.array(table["split"].to_pylist()),
        subjects=np.array(table["subject"].to_pylist()),
        sequences=np.array(table["sequence"].to_pylist()),
        frames=np.asarray(table["frame"], np.int64),
        labels=np.stack(labels, 1),
        scores=np.stack(scores, 1),
        thresholds=np.broadcast_to(np.array(metadata["thresholds"], np.float64), (len(table), len(aus))),
        intensities=intensities,
        estimates=estimates,
    )
    return predictions, metadata


def _columns(table: pyarrow.Table, aus: Sequence[int], suffix: str) -> np.ndarray | None:
    """Return a column per AU, (N, K) float32; None where the table has none."""
    names = [f"{au_label(au)}_{suffix}" for au in aus]
    if not any(name in table.column_names for name in names):
        return None
    return np.stack([np.asarray(table[name], np.float32) for name in names], 1)


def _common_thresholds(thresholds: np.ndarray) -> list[float]:
    """Return the K thresholds that all frames (N, K) share."""
    if not len(thresholds):
        return [0.0] * thresholds.shape[1]
    if (thresholds != thresholds[0]).any():
        raise ValueError("a file holds the predictions of one network, at one threshold per AU")
    return thresholds[0].tolist()

"""What two methods predict, before they are compared: kept predictions of an evaluation, or a table of any tool.

A method may be several networks: of different folds, which have different frames, or of different seeds, where each
frame has as many predictions.
"""

import dataclasses
import glob
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from fgnet_jax.evaluate import from_predictions, result_tables, review
from fgnet_jax.evaluate.frame_predictions import KEY, join
from fgnet_jax.evaluate.from_predictions import PredictionsFile, RecordedPredictor
from fgnet_jax.evaluate.method import Method, at_thresholds
from fgnet_jax.evaluate.runs import EvaluationError
from fgnet_jax.evaluate.tested import TestedRun, check_fitted_on
from fgnet_jax.metrics import thresholds

_TABLES = (".csv", ".tsv", ".parquet")
_OF_A_RUN = ("name", "seed", "init_from", "init_fold", "data.fold", "data.seed", "data.dir", "data.threads")


@dataclasses.dataclass(frozen=True)
class MethodOptions:
    """How a method's predictions are read.

    Attributes:
      name: Its name in the report; "" for that of its folder or file.
      inputs: Regular expression with the groups `subject` and perhaps `sequence` and `frame`, that says which subject a
        table's input or file shows; "" where the table has a column `subject`.
      threshold: A number, a file of thresholds, or "" for the method's own.
    """

    name: str = ""
    inputs: str = ""
    threshold: str = ""


def read(source: str, options: MethodOptions) -> Method:
    """Read a method's predictions.

    Args:
      source: A report's folder, its folder of predictions, Parquet files of these, tables (CSV or Parquet) of
        `fgnet-jax predict` or another tool, a folder of such tables, or a pattern of files.
      options: How they are read.

    Raises:
      EvaluationError: There are none, they are of several methods, or they cannot be used as the options say.
      FramePredictionsError: A file of predictions is damaged.
      LeakageError: A network, or its thresholds, has learnt from subjects who are tested.
      ThresholdsError: A file of thresholds cannot be used.
    """
    paths = _paths(source)
    if _are_kept(paths):
        method = _of_runs(from_predictions.collect(paths).files, source)
    else:
        method = result_tables.read(_tables(paths), source=source, inputs=options.inputs)
    method = dataclasses.replace(method, name=options.name or _name(source))
    return _at(method, options.threshold) if options.threshold else method


def _name(source: str) -> str:
    path = Path(source).absolute()
    path = path.parent if path.name == "predictions" else path
    return path.stem if path.suffix.lower() in _TABLES else path.name


def _paths(source: str) -> list[Path]:
    """Return the folder or file that is named, or the files that a pattern finds."""
    if Path(source).exists():
        return [Path(source)]
    found = sorted(Path(path) for path in glob.glob(source, recursive=True))
    if not found:
        raise EvaluationError(f"{source}: no such file or folder")
    if len(found) > 1 and any(path.is_dir() for path in found):
        raise EvaluationError(f"{source} matches a folder and {len(found) - 1} more: name one folder, or files")
    return found


def _are_kept(paths: Sequence[Path]) -> bool:
    """Return whether these are predictions that an evaluation has kept."""
    first = paths[0]
    if not first.is_dir():
        return _is_kept(first)
    folders = (first, first / "predictions")
    if any(_is_kept(path) for folder in folders for path in sorted(folder.glob("*.parquet"))[:1]):
        return True
    return (first / "report.json").exists()  # without predictions: `collect` says so


def _is_kept(path: Path) -> bool:
    if path.suffix.lower() != ".parquet":
        return False
    try:
        return KEY in (pyarrow.parquet.read_schema(path).metadata or {})
    except (pyarrow.ArrowException, OSError) as error:
        raise EvaluationError(f"{path}: cannot be read as Parquet: {error}") from error


def _tables(paths: Sequence[Path]) -> list[Path]:
    """Return the tables that are named, or all below a folder, by path."""
    if not paths[0].is_dir():
        return list(paths)
    files = sorted(path for path in paths[0].rglob("*") if path.suffix.lower() in _TABLES and path.is_file())
    found = [path for path in files if not any(part.startswith(".") for part in path.relative_to(paths[0]).parts)]
    if not found:
        raise EvaluationError(f"{paths[0]}: no predictions of an evaluation, and no table (*.csv, *.parquet)")
    return found


def _of_runs(files: Sequence[PredictionsFile], source: str) -> Method:
    """Return the predictions of one network, or of several that are one method."""
    corpora = sorted({file.metadata["corpus"] for file in files})
    if len(corpora) > 1:
        raise EvaluationError(f"{source} has predictions for several corpora: {', '.join(corpora)}; name files of one")
    predictor = RecordedPredictor(files)
    splits: dict[str, list[str]] = {}
    for file in files:
        splits.setdefault(file.run.name, []).append(file.split)
    runs = {file.run.name: file.run for file in files}
    tested = [predictor.tested(runs[name], corpus=corpora[0], splits=parts) for name, parts in splits.items()]
    predictions = join([run.predictions for run in tested])
    identity = tested[0].identities[0] if tested[0].identities else None
    return Method(
        aus=predictions.aus,
        subjects=predictions.subjects,
        sequences=predictions.sequences,
        frames=predictions.frames,
        splits=predictions.splits,
        labels=predictions.labels,
        present=(predictions.scores > predictions.thresholds).astype(np.int8),
        scores=predictions.scores.astype(np.float64),
        recordings=identity.recordings if identity else corpora[0],
        identities=tuple(dict.fromkeys(item for run in tested for item in run.identities)),
        rule=" / ".join(dict.fromkeys(run.thresholds_text for run in tested)),
        warnings=review.of_tested(tested),
        settings=_settings(tested),
        weights=tuple(run.run.recorded_sha256 for run in tested),
    )


def _settings(tested: Sequence[TestedRun]) -> tuple[str, ...]:
    """Return what the configurations of a method's networks differ in, but for what differs from run to run."""
    flat = [_flat(run.run.config) for run in tested if run.run.config]
    keys = dict.fromkeys(key for values in flat for key in values if key not in _OF_A_RUN)
    return tuple(key for key in keys if len({json.dumps(values.get(key)) for values in flat}) > 1)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by their whole keys, `data.fold`."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _at(method: Method, threshold: str) -> Method:
    """Return a method at another threshold: a number for all AUs, or those of a file."""
    if (number := _number(threshold)) is not None:
        return at_thresholds(method, np.full(len(method.aus), number), f"{number:g}")
    stored = thresholds.read(threshold)
    subjects, corpus = set(method.subjects.tolist()), method.recordings
    # Whose recordings a table shows is not known: subjects of any corpus with these names may be those.
    fitted_on = stored.fitted_on if corpus else {"": sorted({name for k in stored.fitted_on.values() for name in k})}
    check_fitted_on(fitted_on, corpus=corpus, subjects=subjects, source=f"those of {threshold}")
    return at_thresholds(method, stored.of(method.aus), f"those of {threshold}")


def _number(threshold: str) -> float | None:
    """Return a threshold that is a number; None for the name of a file.

    Raises:
      EvaluationError: It is not finite: nothing, or everything, would be present.
    """
    try:
        number = float(threshold)
    except ValueError:
        return None
    if not math.isfinite(number):
        raise EvaluationError(f"--threshold {threshold}: expected a finite number, or a file of thresholds")
    return number

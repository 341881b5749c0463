"""A report from kept predictions alone: every table and plot again, without weights and corpora.

Each Parquet file says of which run, corpus and split it is; report.json beside the folder says by which protocol, and
with how many resamples, it was evaluated. The figures have the same bits as those of the evaluation that kept them.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgnet_jax.data.folds import NUM_FOLDS, base_name, is_published, numbers
from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import evaluation, frame_predictions, leakage, protocols, report_folder, request, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, FramePredictionsError, join
from fgnet_jax.evaluate.protocols import Evaluation
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import TestedRun, check_fitted_on
from fgnet_jax.metrics import bootstrap
from fgnet_jax.runtime import files


@dataclasses.dataclass(frozen=True)
class PredictionsFile:
    """A file of predictions: of one run, for one split of a corpus.

    Attributes:
      path: The file.
      predictions: The predictions.
      metadata: What they are of (`scoring.StoredPredictions`).
      run: The run, as far as the metadata have it: its weights need not exist.
    """

    path: Path
    predictions: FramePredictions
    metadata: dict[str, Any]
    run: EvaluatedRun

    @property
    def split(self) -> str:
        """The split that was tested."""
        return self.metadata["split"]


@dataclasses.dataclass(frozen=True)
class StoredPredictions:
    """Files of predictions, and the report.json that was made of them, if it is beside them.

    Attributes:
      files: At least one.
      report: Contents of report.json; empty without it.
    """

    files: tuple[PredictionsFile, ...]
    report: dict[str, Any]

    @property
    def recorded(self) -> dict[str, Any]:
        """The request that report.json records; empty without report.json."""
        return self.report.get(request.KEY, {})


def collect(paths: Sequence[Path]) -> StoredPredictions:
    """Read predictions: those that a report's folder records, or the files that are named.

    Args:
      paths: A report's folder, its folder of predictions, or files.

    Raises:
      EvaluationError: There are none, or a file is not the one that report.json was made of.
      FramePredictionsError: A file holds no predictions, or does not say what they are of.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return _collect_folder(paths[0])
    return StoredPredictions(files=tuple(map(_read, paths)), report={})


def _collect_folder(folder: Path) -> StoredPredictions:
    for place in (folder, folder.parent):
        report = place / "report.json"
        if report.exists() and (place == folder or folder.name == report_folder.PREDICTIONS):
            content = read_report(report)
            if report_folder.PREDICTIONS in content and request.KEY in content:
                return StoredPredictions(files=_recorded_files(content, place), report=content)
    paths = sorted([*folder.glob("*.parquet"), *(folder / report_folder.PREDICTIONS).glob("*.parquet")])
    if not paths:
        raise EvaluationError(f"{folder}: no predictions: expected *.parquet, or report.json of an evaluation")
    return StoredPredictions(files=tuple(map(_read, paths)), report={})


def read_report(path: Path) -> dict[str, Any]:
    """Read a report.json.

    Raises:
      EvaluationError: It cannot be read, or is no report.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise EvaluationError(f"{path}: expected a report as JSON: {error}") from error
    if not isinstance(content, dict) or "rows" not in content:
        raise EvaluationError(f"{path}: expected a report of an evaluation, with its `rows`")
    return content


def _recorded_files(content: Mapping[str, Any], folder: Path) -> tuple[PredictionsFile, ...]:
    """Read the files that a report was made of; refuse one that has changed."""
    if not content[report_folder.PREDICTIONS]:
        raise EvaluationError(f"{folder}/report.json: its predictions were not kept")
    read = []
    for record in content[report_folder.PREDICTIONS]:
        path = folder / record["file"]
        if not path.exists():
            raise EvaluationError(f"{path}: missing; report.json was made of it")
        if files.sha256(path) != record["sha256"]:
            raise EvaluationError(f"{path}: changed since report.json was made of it (its SHA-256 is another)")
        read.append(_read(path))
    return tuple(read)


def _read(path: Path) -> PredictionsFile:
    """Read a file of predictions with the run that it is of."""
    predictions, metadata = frame_predictions.read(path)
    missing = [key for key in (scoring.EVALUATED_RUN, scoring.CORPORA, "corpus", "split") if key not in metadata]
    if missing:
        raise FramePredictionsError(
            f"{path}: does not say what it is of (no {', '.join(missing)}): an earlier version wrote it; evaluate anew"
        )
    run = EvaluatedRun.from_dict(metadata[scoring.EVALUATED_RUN], metadata["weights_sha256"])
    return PredictionsFile(path=path, predictions=predictions, metadata=metadata, run=run)


def _check_alike(parts: Sequence[PredictionsFile]) -> None:
    """Refuse files of one run that are of other weights, preparations or thresholds: no figure may mix them.

    Raises:
      EvaluationError: They are; the message names two files and what differs.
    """
    first = parts[0]
    for part in parts[1:]:
        for key in ("weights_sha256", scoring.CORPORA, scoring.THRESHOLDS_RULE, scoring.FITTED_ON, "thresholds"):
            if part.metadata.get(key) != first.metadata.get(key):
                both = f"{part.path} and {first.path} are both of {first.run.name}"
                raise EvaluationError(f"{both}, but differ in {key}: evaluate them anew")


class RecordedPredictor:
    """Predictions that were kept, at the thresholds that they were kept with."""

    def __init__(self, stored: Sequence[PredictionsFile]):
        """Take files of predictions."""
        self._files = {(file.run.name, base_name(file.metadata["corpus"]), file.split): file for file in stored}
        if len(self._files) < len(stored):
            raise EvaluationError(
                f"several files of one run, corpus and split: {', '.join(str(f.path) for f in stored)}"
            )

    def tested(self, run: EvaluatedRun, *, corpus: str, splits: Sequence[str]) -> TestedRun:
        """Return the kept predictions of a run for splits of a corpus; subjects trained on are refused as ever.

        Raises:
          EvaluationError: Those of a split were not kept.
          LeakageError: Subjects of the splits were trained on, or the thresholds were fitted on them.
        """
        parts = [self._file(run, corpus, split) for split in splits]
        _check_alike(parts)
        predictions = join([part.predictions for part in parts])
        metadata, subjects = parts[0].metadata, set(predictions.subjects.tolist())
        identities = tuple(map(CorpusIdentity.from_dict, metadata[scoring.CORPORA]))
        recordings = identities[0].recordings if identities else corpus
        leakage.check_no_leakage(run.meta, corpus=recordings, subjects=subjects, name=run.name, fold=run.trained_fold)
        text = metadata.get(scoring.THRESHOLDS_RULE, scoring.PUBLISHED_RULE)
        fitted_on = metadata.get(scoring.FITTED_ON, {})
        check_fitted_on(fitted_on, corpus=recordings, subjects=subjects, source=text)
        return TestedRun(
            run=run,
            corpus=corpus,
            predictions=predictions,
            thresholds=predictions.thresholds[0],
            identities=identities,
            files=tuple(part.path for part in parts),
            thresholds_text=text,
            fitted_on=fitted_on,
        )

    def folds(self, corpus: str) -> tuple[int, ...]:
        """Return the folds of a corpus, ascending: those that its files say it has, the three of a published one."""
        if is_published(corpus):
            return tuple(range(NUM_FOLDS))
        of_corpus = [file.metadata for (_, name, _), file in self._files.items() if name == base_name(corpus)]
        faces = [record.get("faces") or {} for metadata in of_corpus for record in metadata[scoring.CORPORA]]
        return numbers({split for splits in faces for split in splits}) or tuple(range(NUM_FOLDS))

    def _file(self, run: EvaluatedRun, corpus: str, split: str) -> PredictionsFile:
        file = self._files.get((run.name, base_name(corpus), split))
        if file is None:
            stored = ", ".join(" ".join(key) for key in self._files)
            raise EvaluationError(f"no predictions of {run.name} for {corpus} {split}; there are: {stored}")
        return file


def evaluate(
    stored: StoredPredictions, *, protocol: str | None = None, resamples: int | None = None, seed: int | None = None
) -> Evaluation:
    """Evaluate kept predictions.

    Args:
      stored: The predictions.
      protocol: One of `request.PROTOCOLS`; None for that of report.json, or `SINGLE` without it.
      resamples: Bootstrap resamples of subjects; None for those of report.json, or the default.
      seed: Seed of the resampling; None likewise.

    Raises:
      EvaluationError: The files do not make the protocol.
    """
    recorded = stored.recorded if protocol in (None, stored.recorded.get("protocol")) else {}
    options = EvalOptions(
        resamples=resamples if resamples is not None else stored.recorded.get("resamples", bootstrap.RESAMPLES),
        seed=seed if seed is not None else stored.recorded.get("seed", 0),
    )
    spec = _recorded_request(stored, recorded, options) if recorded else _request(stored, protocol, options)
    done = evaluation.evaluate(RecordedPredictor(stored.files), spec)
    if recorded and (left_out := stored.report.get(protocols.LEFT_OUT)):
        done = protocols.name_left_out(done, left_out["runs"], left_out["reason"])
    values = spec.to_dict(None) | {key: recorded[key] for key in ("fit_thresholds", "thresholds_file") if recorded}
    extra = done.report.extra | {request.KEY: values | {"from_predictions": True}}
    return dataclasses.replace(done, report=dataclasses.replace(done.report, extra=extra))


def _runs(stored: StoredPredictions) -> dict[str, EvaluatedRun]:
    """Return the runs of files by their names."""
    return {file.run.name: file.run for file in stored.files}


def _recorded_request(stored: StoredPredictions, recorded: Mapping[str, Any], options: EvalOptions) -> Request:
    """Return the request of report.json, with the runs whose predictions were kept."""
    runs = _runs(stored)
    chosen = tuple(runs[run["name"]] for run in recorded["runs"] if run["name"] in runs)
    names = {key: recorded[key] for key in ("protocol", "corpus", "source", "split")}
    return Request(runs=chosen, options=options, **names)


def _request(stored: StoredPredictions, protocol: str | None, options: EvalOptions) -> Request:
    """Return the request that the files themselves make."""
    corpora = list(dict.fromkeys(file.metadata["corpus"] for file in stored.files))
    if len(corpora) > 1:
        raise EvaluationError(f"files of several corpora: {', '.join(corpora)}; name those of one")
    runs, split, source = tuple(_runs(stored).values()), "", ""
    protocol = protocol or request.SINGLE
    if protocol == request.SINGLE:
        if len(runs) > 1:
            names = ", ".join(run.name for run in runs)
            raise EvaluationError(f"files of several runs: {names}; give --protocol, or name the files of one run")
        split = "+".join(file.split for file in stored.files)
    if protocol in (request.CROSS, request.STUDY):
        source = stored.files[0].run.meta.corpus or ""
    return Request(protocol, runs, corpora[0], source=source, split=split, options=options)

"""Reports from kept predictions alone: the same figures, bit for bit, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fgnet_jax.data.identity import CorpusIdentity
from fgnet_jax.evaluate import evaluation, frame_predictions, from_predictions, report_folder, request, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, FramePredictionsError
from fgnet_jax.evaluate.request import EvalOptions, Request
from fgnet_jax.evaluate.runs import EvaluatedRun, EvaluationError
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.models.weights import WeightsMeta

PREPARED = CorpusIdentity.of("disfa/1.0.0", aus=(1, 12), preparation={"threshold": 2}, faces={"fold_0": 30})


def _run(fold: int, samples: int = 0) -> EvaluatedRun:
    record = {
        "corpus": "disfa",
        "fold": fold,
        "samples": samples,
        "frames": samples or 500,
        "updates": 8 if samples else 80,
        "equal_updates": False,
        "subjects": {"disfa": [f"fold_{k}a" for k in range(3) if k != fold]},
        "held_out": {},
    }
    meta = WeightsMeta(aus=(12, 1), corpus="disfa", extra={"trained_on": record, "selection": "held out"})
    name = f"disfa_f{fold}" + (f"_n{samples}" if samples else "")
    return EvaluatedRun(name, Path(f"runs/{name}/best"), meta, config={}, fold=fold, recorded_sha256=f"{name:x<64}")


class _KeepingPredictor:
    """Predicts at random, and keeps the predictions as `scoring` does."""

    def __init__(self, folder: Path):
        self._folder = folder

    def folds(self, corpus) -> tuple[int, ...]:
        return (0, 1, 2)

    def tested(self, run, *, corpus, splits) -> TestedRun:
        rng = np.random.default_rng([ord(splits[0][-1]), len(run.name)])
        labels = rng.integers(-1, 2, (30, 2)).astype(np.int8)
        names = np.array([f"{splits[0]}{letter}" for letter in "abc" for _ in range(10)])
        thresholds = np.array([0.125, 0.0])
        predictions = FramePredictions(
            aus=(12, 1),
            splits=np.full(30, splits[0]),
            subjects=names,
            sequences=names,
            frames=np.arange(30),
            labels=labels,
            scores=rng.normal(size=(30, 2)).astype(np.float32),
            thresholds=np.zeros((30, 2)),
            intensities=rng.integers(-1, 6, (30, 2)).astype(np.float32),
            estimates=rng.uniform(0, 5, (30, 2)).astype(np.float32),
        ).at(thresholds)
        path = scoring.predictions_path(self._folder, run, corpus=corpus, split=splits[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {
            "weights_sha256": run.recorded_sha256,
            "corpus": corpus,
            "split": splits[0],
            scoring.CORPORA: [PREPARED.to_dict()],
            scoring.EVALUATED_RUN: run.to_dict(),
            scoring.THRESHOLDS_RULE: "fitted",
            scoring.FITTED_ON: {"disfa": ["other"]},
        }
        frame_predictions.write(path, predictions, metadata)
        return TestedRun(
            run=run,
            corpus=corpus,
            predictions=predictions,
            thresholds=thresholds,
            identities=(PREPARED,),
            files=(path,),
            thresholds_text="fitted",
            fitted_on={"disfa": ["other"]},
        )


def _evaluated(protocol: str, folder: Path) -> dict:
    """Evaluate by a protocol into a folder; return its report.json."""
    runs = tuple(map(_run, range(3)))
    runs = {request.SINGLE: runs[:1], request.EFFICIENCY: (*runs, _run(0, samples=100))}.get(protocol, runs)
    source, split = "disfa" if protocol == request.CROSS else "", "fold_0" if protocol == request.SINGLE else ""
    corpus = "bp4d" if protocol == request.CROSS else "disfa/left"
    spec = Request(protocol, runs, corpus, source=source, split=split, options=EvalOptions(resamples=9, seed=4))
    done = evaluation.evaluate(_KeepingPredictor(folder / "predictions"), spec)
    extra = done.report.extra | {request.KEY: spec.to_dict(None)}
    done = dataclasses.replace(done, report=dataclasses.replace(done.report, extra=extra))
    report_folder.write(done, data=None, folder=folder)
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("protocol", [request.SINGLE, request.WITHIN, request.EFFICIENCY])
def test_every_figure_and_plot_again(tmp_path, protocol):
    """Make the same tables, plots and thresholds from the folder, wherever it was moved to, without weights."""
    first = _evaluated(protocol, tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "moved")
    done = from_predictions.evaluate(from_predictions.collect([tmp_path / "moved"]))
    report_folder.write(done, data=None, folder=tmp_path / "again")
    again = json.loads((tmp_path / "again/report.json").read_text())
    place = {"provenance", "request", "predictions", "sha256"}  # the last is over the others
    assert {key: first[key] for key in first.keys() - place} == {key: again[key] for key in again.keys() - place}
    assert again["request"]["resamples"] == 9 and again["corpora"] == [PREPARED.to_dict()]
    assert again["intensity"]["aus"]["AU01"]["icc"] == first["intensity"]["aus"]["AU01"]["icc"] is not None
    for path in (tmp_path / "moved").iterdir():
        if path.suffix in (".png", ".csv"):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    names = {path.name for path in (tmp_path / "moved").iterdir()}
    assert names - {path.name for path in (tmp_path / "again").iterdir()} == {"predictions"}


def test_files_alone_make_a_report(tmp_path):
    """Take a protocol, resamples and seed where there is no report.json."""
    first = _evaluated(request.WITHIN, tmp_path)
    (tmp_path / "report.json").unlink()
    files = sorted((tmp_path / "predictions").iterdir())
    for paths in (files, [tmp_path], [tmp_path / "predictions"]):
        stored = from_predictions.collect(paths)
        done = from_predictions.evaluate(stored, protocol=request.WITHIN, resamples=9, seed=4)
        assert done.report.main.metrics.mean("f1") == first["mean_f1"]
    with pytest.raises(EvaluationError, match="files of several runs: disfa_f0, disfa_f1, disfa_f2; give --protocol"):
        from_predictions.evaluate(from_predictions.collect(files))
    one = from_predictions.evaluate(from_predictions.collect(files[:1]), resamples=0)
    assert one.report.title == "disfa_f0 on disfa fold_0"


@pytest.mark.parametrize("key", ["weights_sha256", scoring.CORPORA, "thresholds"])
def test_files_of_other_weights_or_preparations_are_not_mixed(tmp_path, key):
    """Even if the run has the same name: no figure is of two networks, two preparations or two thresholds."""
    _evaluated(request.WITHIN, tmp_path)
    path = sorted((tmp_path / "predictions").iterdir())[0]
    read, metadata = frame_predictions.read(path)
    changed = {
        "weights_sha256": "f" * 64,
        scoring.CORPORA: [PREPARED.to_dict() | {"fingerprint": "0" * 12}],
        "thresholds": None,
    }
    other = dataclasses.replace(read, splits=np.full(len(read), "fold_1"))
    other = other.at([0.5, 0.5]) if key == "thresholds" else other
    frame_predictions.write(tmp_path / "other.parquet", other, metadata | {"split": "fold_1", key: changed[key]})
    stored = from_predictions.collect([path, tmp_path / "other.parquet"])
    with pytest.raises(EvaluationError, match=f"are both of disfa_f0, but differ in {key}"):
        from_predictions.evaluate(stored)


def test_what_is_not_as_recorded_is_refused(tmp_path):
    """Refuse a changed file, a missing one, and a folder without predictions, by name."""
    _evaluated(request.WITHIN, tmp_path)
    first, second, _ = sorted((tmp_path / "predictions").iterdir())
    shutil.copy(second, first)
    with pytest.raises(EvaluationError, match=f"{first.name}: changed since report.json was made of it"):
        from_predictions.collect([tmp_path])
    first.unlink()
    with pytest.raises(EvaluationError, match=f"{first.name}: missing"):
        from_predictions.collect([tmp_path / "predictions"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvaluationError, match="empty: no predictions"):
        from_predictions.collect([tmp_path / "empty"])
    (tmp_path / "empty/report.json").write_text("{")
    with pytest.raises(EvaluationError, match=r"report\.json: expected a report as JSON"):
        from_predictions.collect([tmp_path / "empty"])


def test_files_of_an_earlier_version_are_refused(tmp_path):
    """Say that they do not name what they are of."""
    tested = _KeepingPredictor(tmp_path).tested(_run(0), corpus="disfa", splits=["fold_0"])
    frame_predictions.write(tmp_path / "old.parquet", tested.predictions, {"run": "disfa_f0", "corpus": "disfa"})
    with pytest.raises(FramePredictionsError, match=r"old\.parquet: does not say what it is of \(no evaluated_run"):
        from_predictions.collect([tmp_path / "old.parquet"])

"""The folder of an evaluation: a report with its images, sheets of mistakes, and fitted thresholds."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.folds import base_name
from fgnet_jax.evaluate import charts, mistakes, runs, scoring
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.frame_predictions import join
from fgnet_jax.evaluate.protocols import Evaluation
from fgnet_jax.evaluate.report import Report
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.evaluate.tested import TestedRun
from fgnet_jax.metrics import thresholds
from fgnet_jax.runtime import files

MAX_SHEETS = 3
"""Most sheets of mistakes in a report: one for each fold's run."""

PREDICTIONS = "predictions"
"""Key of report.json for the files of predictions, and the folder that they are in."""


def write(evaluation: Evaluation, *, data: EvalData | None, folder: Path) -> Report:
    """Draw a report's images and write everything; return the report with its images.

    Args:
      evaluation: The finished evaluation.
      data: Where the faces are that sheets of mistakes show; None for no sheets.
      folder: The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = _draw_charts(evaluation, folder)
    if data:
        images |= _draw_sheets(data, evaluation, folder)
    for run in evaluation.tested:
        name = f"thresholds_{run.run.name}.json" if len(evaluation.tested) > 1 else "thresholds.json"
        _save_thresholds(run, folder / name)
    extra = evaluation.report.extra | {PREDICTIONS: _files(evaluation.tested, folder)}
    report = dataclasses.replace(evaluation.report, images=images, extra=extra)
    report_lib.write(report, folder)
    return report


def _files(tested: Sequence[TestedRun], folder: Path) -> list[dict[str, str]]:
    """Return the files of predictions with their SHA-256, by their paths from the report's folder."""
    paths = dict.fromkeys(path for run in tested for path in run.files)
    return [{"file": os.path.relpath(path, folder), "sha256": files.sha256(path)} for path in paths]


def _draw_charts(evaluation: Evaluation, folder: Path) -> dict[str, str]:
    """Draw the curve, F1 by AU and the reliability of scores; return the files by caption."""
    report, images = evaluation.report, {}
    if evaluation.curves:
        charts.efficiency(evaluation.curves, folder / "efficiency.png", report.title, footer=report.footer)
        images["Mean F1 over the number of training frames; lines are 95 % intervals"] = "efficiency.png"
    charts.per_au(
        [(report.main.name, report.main.metrics)],
        published=[(row.name, row.f1, row.mean) for row in report.published],
        path=folder / "per_au.png",
        title=report.title,
        footer=report.footer,
    )
    images[f"F1 by AU, {report.main.name}; lines are 95 % intervals"] = "per_au.png"
    pooled = join([run.predictions for run in evaluation.tested]).sorted_by_au()
    charts.reliability(
        pooled.scores,
        labels=pooled.labels,
        thresholds=pooled.thresholds,
        aus=pooled.aus,
        path=folder / "reliability.png",
        title=report.title,
        footer=report.footer,
    )
    caption = "How often an AU is present at each score, over all frames tested; dashed: threshold, dotted: base rate"
    return images | {caption: "reliability.png"}


def _draw_sheets(data: EvalData, evaluation: Evaluation, folder: Path) -> dict[str, str]:
    """Draw a sheet of mistakes for each of the first runs; return the files by caption."""
    images = {}
    for run in evaluation.tested[:MAX_SHEETS]:
        name = f"mistakes_{run.run.name}.png"
        _draw_mistakes(data, run, folder / name, evaluation.report.footer)
        images[f"The surest mistakes of {run.run.name} on {base_name(run.corpus)}, with their heatmaps"] = name
    return images


def _draw_mistakes(data: EvalData, tested: TestedRun, path: Path, footer: str) -> None:
    predictions = tested.predictions.sorted_by_au()

    def load_faces(rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        faces, heatmaps = [], []
        for split in dict.fromkeys(predictions.splits[rows].tolist()):
            first = int(np.flatnonzero(predictions.splits == split)[0])
            indices = [row - first for row in rows if predictions.splits[row] == split]
            images, maps, aus = scoring.predict_heatmaps(
                data, tested.run, corpus=tested.corpus, split=split, indices=indices
            )
            faces.append(images)
            heatmaps.append(maps[..., [aus.index(au) for au in predictions.aus]])
        return np.concatenate(faces), np.concatenate(heatmaps)

    title = f"The surest mistakes of {tested.run.name} on {base_name(tested.corpus)}: score, subject/sequence and frame"
    found = mistakes.find(predictions)
    mistakes.draw(predictions, found, load_faces=load_faces, path=path, title=title, footer=footer)


def _save_thresholds(tested: TestedRun, path: Path) -> None:
    """Write a run's thresholds, unless they are the published ones."""
    if not tested.thresholds.any():
        return
    metadata = {
        "run": tested.run.name,
        "weights_sha256": runs.checksum(tested.run),
        "fitted_on": tested.fitted_on,
    }
    thresholds.save(path, aus=tested.predictions.aus, values=tested.thresholds, metadata=metadata)

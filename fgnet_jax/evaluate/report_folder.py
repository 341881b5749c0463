"""The folder of an evaluation: a report with its images, sheets of mistakes, and fitted thresholds."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.data.folds import base_name
from fgnet_jax.evaluate import charts, mistakes, runs, scoring
from fgnet_jax.evaluate import report as report_lib
from fgnet_jax.evaluate.frame_predictions import join
from fgnet_jax.evaluate.protocols import TestedRun
from fgnet_jax.evaluate.report import Report
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds
from fgnet_jax.metrics.bootstrap import MeasuredMetrics

MAX_SHEETS = 3
"""Most sheets of mistakes in a report: one for each fold's run."""


def write(report: Report, *, data: EvalData, tested: Sequence[TestedRun], folder: Path) -> Report:
    """Draw a report's images and write everything; return the report with its images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = report.images | _draw_charts(report, tested, folder)
    for run in tested[:MAX_SHEETS]:
        name = f"mistakes_{run.run.name}.png"
        _draw_mistakes(data, run, folder / name)
        images[f"The surest mistakes of {run.run.name} on {base_name(run.corpus)}, with their heatmaps"] = name
    for run in tested:
        name = f"thresholds_{run.run.name}.json" if len(tested) > 1 else "thresholds.json"
        _save_thresholds(run, folder / name)
    report = dataclasses.replace(report, images=images)
    report_lib.write(report, folder)
    return report


def draw_curve(report: Report, curves: Mapping[str, Sequence[tuple[int, MeasuredMetrics]]], folder: Path) -> Report:
    """Draw the data-efficiency curve into a folder; return the report with it."""
    folder.mkdir(parents=True, exist_ok=True)
    charts.efficiency(curves, folder / "efficiency.png", report.title)
    image = {"Mean F1 over the number of training frames; lines are 95 % intervals": "efficiency.png"}
    return dataclasses.replace(report, images=image | report.images)


def _draw_charts(report: Report, tested: Sequence[TestedRun], folder: Path) -> dict[str, str]:
    """Draw F1 by AU and the reliability of scores; return the files by caption."""
    charts.per_au(
        [(report.main.name, report.main.metrics)],
        published=[(row.name, row.f1, row.mean) for row in report.published],
        path=folder / "per_au.png",
        title=report.title,
    )
    pooled = join([run.predictions for run in tested]).sorted_by_au()
    charts.reliability(
        pooled.scores,
        labels=pooled.labels,
        thresholds=pooled.thresholds,
        aus=pooled.aus,
        path=folder / "reliability.png",
        title=report.title,
    )
    return {
        f"F1 by AU, {report.main.name}; lines are 95 % intervals": "per_au.png",
        "How often an AU is present at each score, over all frames tested; dashed: threshold, dotted: base rate": (
            "reliability.png"
        ),
    }


def _draw_mistakes(data: EvalData, tested: TestedRun, path: Path) -> None:
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
    mistakes.draw(predictions, mistakes.find(predictions), load_faces=load_faces, path=path, title=title)


def _save_thresholds(tested: TestedRun, path: Path) -> None:
    """Write a run's thresholds, unless they are the published ones."""
    if not tested.thresholds.any():
        return
    metadata = {
        "run": tested.run.name,
        "weights_sha256": runs.checksum(tested.run),
        "fitted_on": tested.run.trained_on.get("held_out", {}),
    }
    thresholds.save(path, aus=tested.predictions.aus, values=tested.thresholds, metadata=metadata)

"""The folder of an evaluation: a report with its images, sheets of mistakes, and fitted thresholds."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fgnet_jax.evaluate import charts, mistakes, report, runs, scoring
from fgnet_jax.evaluate.frame_predictions import FramePredictions, join
from fgnet_jax.evaluate.protocols import TestedRun, base_name
from fgnet_jax.evaluate.report import Report
from fgnet_jax.evaluate.scoring import EvalData
from fgnet_jax.metrics import thresholds
from fgnet_jax.metrics.bootstrap import MeasuredMetrics

MAX_SHEETS = 3
"""Sheets of mistakes a report: one for each fold's run."""


def write(made: Report, setup: EvalData, tested: Sequence[TestedRun], folder: Path) -> Report:
    """Draws a report's images and writes everything; returns the report with its images."""
    folder.mkdir(parents=True, exist_ok=True)
    images = dict(made.images)
    published = [(row.name, row.f1, row.mean) for row in made.published]
    charts.per_au([(made.main.name, made.main.measured)], published, folder / "per_au.png", made.title)
    images[f"F1 by AU, {made.main.name}; lines are 95 % intervals"] = "per_au.png"
    whole = _sorted(join([one.answers for one in tested]))
    charts.reliability(whole.scores, whole.labels, whole.thresholds, whole.aus, folder / "reliability.png", made.title)
    caption = "How often an AU is present at each score, of all frames tested; dashed: threshold, dotted: base rate"
    images[caption] = "reliability.png"
    for one in tested[:MAX_SHEETS]:
        name = f"mistakes_{one.run.name}.png"
        _draw_mistakes(setup, one, folder / name)
        images[f"The surest mistakes of {one.run.name} on {base_name(one.corpus)}, with their heatmaps"] = name
    for one in tested:
        _save_thresholds(one, folder, len(tested) > 1)
    made = dataclasses.replace(made, images=images)
    report.write(made, folder)
    return made


def draw_curve(made: Report, curves: Mapping[str, Sequence[tuple[int, MeasuredMetrics]]], folder: Path) -> Report:
    """Draws the data-efficiency curve into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    charts.efficiency(curves, folder / "efficiency.png", made.title)
    image = {"Mean F1 over the number of training frames; lines are 95 % intervals": "efficiency.png"}
    return dataclasses.replace(made, images=image | made.images)


def _sorted(answers: FramePredictions) -> FramePredictions:
    """The same, by AU number."""
    order = np.argsort(answers.aus)
    columns = {name: getattr(answers, name)[:, order] for name in ("labels", "scores", "thresholds")}
    return dataclasses.replace(answers, aus=tuple(answers.aus[k] for k in order), **columns)


def _draw_mistakes(setup: EvalData, one: TestedRun, path: Path) -> None:
    answers = _sorted(one.answers)

    def look(rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        faces, maps = [], []
        for split in dict.fromkeys(answers.splits[rows].tolist()):
            first = int(np.flatnonzero(answers.splits == split)[0])
            mine = [row - first for row in rows if answers.splits[row] == split]
            images, heatmaps, aus = scoring.heatmaps(setup, one.run, one.corpus, split, mine)
            faces.append(images)
            maps.append(heatmaps[..., [aus.index(au) for au in answers.aus]])
        return np.concatenate(faces), np.concatenate(maps)

    title = f"The surest mistakes of {one.run.name} on {base_name(one.corpus)}: score, subject/sequence and frame"
    mistakes.draw(answers, mistakes.find(answers), look, path, title)


def _save_thresholds(one: TestedRun, folder: Path, is_one_of_several: bool) -> None:
    if not one.thresholds.any():
        return
    name = f"thresholds_{one.run.name}.json" if is_one_of_several else "thresholds.json"
    about = {"run": one.run.name, "weights_sha256": runs.checksum(one.run)}
    about |= {"fitted_on": one.run.trained_on.get("held_out", {})}
    thresholds.save(folder / name, one.answers.aus, one.thresholds, about)

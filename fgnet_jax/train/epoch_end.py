"""The end of an epoch: evaluation on the selection set, and the weights that are among the best."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.pipeline import ProcessShard, eval_batches
from fgnet_jax.models import fgnet, lineage
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import sharding
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.train import best as best_lib
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import intensity, splits, state
from fgnet_jax.train.best import Evaluation, Ranking
from fgnet_jax.train.evaluator import METRICS, ScoredFaces, score
from fgnet_jax.train.metrics_writer import MetricsWriter
from fgnet_jax.train.run import TrainingRun
from fgnet_jax.train.targets import targets
from fgnet_jax.visualization import heatmap_sheet


class NotFiniteError(ArithmeticError):
    """Loss, gradient or scores are not finite; the message says at which step, and on which faces if it is known.

    Attributes:
      diverged: Number of updates of the state that gave them.
    """

    def __init__(self, diverged: int, message: str):
        super().__init__(message)
        self.diverged = diverged


def end_epoch(
    run: TrainingRun, writer: MetricsWriter, progress: Progress, *, current: state.TrainState, best: Ranking
) -> Ranking:
    """Evaluate on the selection set, save the weights if they are among the best, and write an image of heatmaps.

    This is done at epochs' ends, or at the steps that `train.evaluate_steps` says.

    Raises:
      NotFiniteError: A score is not finite.
    """
    step, metric, variables = int(current.step), run.config.train.select_metric, current.evaluated
    scored = evaluate(run, variables, run.data.select)
    if not np.isfinite(scored.scores).all():
        raise NotFiniteError(step, f"not finite: scores of {run.data.select.name} after step {step}.")
    f1, value = scored.f1_by_au(run.data.aus), scored.mean(metric)
    measured = {"mean_f1": scored.mean_f1(), "validation_loss": scored.loss(), f"mean_{metric}": value}
    writer.scalars(step, measured | {f"f1/{au_label(au)}": each for au, each in f1.items()})
    writer.image(step, "heatmaps", draw_heatmaps(run, variables))
    new = Evaluation(value, step)
    following = best.added(new, run.config.train.keep_best)
    progress.say(f"{_title(run, measured, step=step)}{' (best)' * (following.since == 0)}")
    if step in following.steps:
        calibrated = intensity.metadata(run.config, run.data.select, scored, run.data.aus)
        recorded = best_meta(run, step, measured["mean_f1"], calibrated, selected_by=value)
        best_lib.save(run.workdir, following, config=run.step.model, variables=variables, meta=recorded)
    return following


def _title(run: TrainingRun, measured: Mapping[str, float], *, step: int) -> str:
    """Return what was evaluated, and its metrics, for the log."""
    metric = run.config.train.select_metric
    epoch, rest = divmod(step, run.schedule.steps_per_epoch)
    text = f"step {step}" if rest else f"epoch {epoch}"
    text += f": mean F1 {100 * measured['mean_f1']:.1f}"
    text += f", mean {METRICS[metric]} {100 * measured[f'mean_{metric}']:.1f}" if metric != "f1" else ""
    return f"{text} on {run.data.select.name}"


def best_meta(
    run: TrainingRun,
    step: int,
    mean_f1: float,
    calibrated: Mapping[str, Any] | None = None,
    *,
    selected_by: float | None = None,
) -> WeightsMeta:
    """Return what the weights of a step record: how it was selected, what it has learnt from, and of intensities.

    Args:
      run: The run.
      step: The step.
      mean_f1: On the selection set.
      calibrated: `intensity.metadata`.
      selected_by: The metric that it was selected by on the selection set, where that is not F1.
    """
    metric = run.config.train.select_metric
    by = {} if metric == "f1" else {"selection_metric": {"name": metric, "value": selected_by}}
    *earlier, own = run.lineage
    chain = [*earlier, dataclasses.replace(own, steps=step)]
    extra = {
        "step": step,
        "selection": run.data.selection,
        "selection_mean_f1": mean_f1,
        **by,
        "trained_on": run.trained_on,
        lineage.KEY: [link.to_dict() for link in chain],
        "corpora": [identity.to_dict() for identity in run.data.identities],
        **(calibrated or {}),
    }
    return WeightsMeta(aus=run.data.aus, corpus=run.config.data.corpus, extra=extra)


def evaluate(run: TrainingRun, variables: fgnet.Variables, faces: splits.FaceSubset) -> ScoredFaces:
    """Score faces, by the AUs that are trained."""
    batch_size = run.config.train.eval_batch_size
    return score(
        run.compiled.evaluate,
        variables,
        faces.corpus,
        faces.indices,
        loader=config_lib.loader_config(run.config, batch_size=batch_size, corpus=faces.corpus, aus=run.data.aus),
        sharding=run.sharding,
        shard=run.shard,
    )


def draw_heatmaps(run: TrainingRun, variables: fgnet.Variables, path: Path | None = None) -> np.ndarray:
    """Draw targets beside predictions for some faces of the test fold.

    Args:
      run: The run.
      variables: The network's variables.
      path: Where to write the image as PNG, if anywhere.

    Returns:
      uint8 (height, width, 3).
    """
    faces, count = run.data.test, run.config.train.eval_batch_size
    indices = faces.indices[np.linspace(0, len(faces.indices) - 1, count).astype(int)]
    loader = config_lib.loader_config(run.config, batch_size=count, corpus=faces.corpus, aus=run.data.aus)
    batch = next(eval_batches(faces.corpus, indices, loader, shard=ProcessShard()))
    predicted = np.asarray(run.compiled.heatmaps(variables, sharding.place(batch, run.sharding.batch)))
    drawn = targets(
        jnp.asarray(batch["landmarks"]),
        jnp.asarray(batch["labels"]),
        run.step.centres,
        size=predicted.shape[1],
        image_size=batch["image"].shape[1],
        intensities=jnp.asarray(batch["intensities"]) if "intensities" in batch else None,
    )
    return heatmap_sheet.heatmap_sheet(
        batch["image"],
        targets=np.asarray(drawn),
        predictions=predicted,
        labels=batch["labels"],
        aus=run.data.aus,
        path=path,
    )

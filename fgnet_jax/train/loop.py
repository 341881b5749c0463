"""Training from a configuration to results: a run's loop over steps and epochs, and its end.

A run lives in its workdir: configuration and provenance, the latest checkpoints, metrics, the best epoch's weights, and
at its end results and plots. It saves in the middle and at the end of epochs, can be stopped at any step, and resumes
with the same numbers. `fgnet_jax.train.run` has its start.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.pipeline import HostBatch, ProcessShard, describe, eval_batches, train_batches
from fgnet_jax.metrics import f1_table
from fgnet_jax.models import fgnet, lineage, weights
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import provenance as provenance_lib
from fgnet_jax.runtime import sharding, signals
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.train import checkpoints, results, splits, state, workdirs
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.config import Config
from fgnet_jax.train.evaluator import ScoredFaces, score
from fgnet_jax.train.metrics_writer import MetricsWriter, read_metrics
from fgnet_jax.train.run import BestEpoch, TrainingRun, prepare_run, start, write_provenance
from fgnet_jax.train.targets import targets
from fgnet_jax.visualization import heatmap_sheet, training_curves


class NotFiniteError(ArithmeticError):
    """Loss, gradient or scores are not finite; the message says at which step, and on which faces if it is known.

    Attributes:
      diverged: Number of updates of the state that gave them.
    """

    def __init__(self, diverged: int, message: str):
        super().__init__(message)
        self.diverged = diverged


class StepMetrics(NamedTuple):
    """The metrics of a step, possibly still being computed on the devices.

    Attributes:
      step: Updates so far.
      values: Scalars by name.
      indices: The faces that this process loaded for it, by their positions in the corpus.
    """

    step: int
    values: Mapping[str, jax.Array]
    indices: np.ndarray


def train(config: Config, workdir: Path) -> dict[str, Any]:
    """Run an experiment to its end, or resume it; return the contents of results.json.

    Raises:
      ConfigError: The configuration cannot be run, the workdir was begun with another one, or another training is
        running there.
      NotFiniteError: The loss is not finite; the last good checkpoint stays.
      SystemExit: With status 0: a signal stopped the run, and all is saved.
    """
    with workdirs.held(workdir):
        return _train(prepare_run(config_lib.with_home(config), workdir))


def _train(run: TrainingRun) -> dict[str, Any]:
    """Run an experiment, in a workdir that is held."""
    folder = run.workdir / "checkpoints"
    # Signals outermost: they are caught until the last save, which is waited for when the manager is closed, has ended.
    with (
        signals.StopSignal(active=jax.process_count() == 1, later=True) as stop,
        checkpoints.open_manager(folder) as manager,
    ):
        run, current, best = start(run, manager)
        write_provenance(run)
        with MetricsWriter(run.workdir, active=run.is_first, resume_step=int(current.step)) as writer:
            try:
                stopped_by = run_steps(run, manager, writer, stop=stop, current=current, best=best)
                manager.wait_until_finished()
                if not stopped_by:
                    stop.begin()  # a run that is only tested has no step
                    stop.raise_from_now_on()
                    return finish(run, writer)
            except NotFiniteError as error:
                raise discard_diverged(run, manager, error) from None
            except signals.Stopped as signal:
                stopped_by = str(signal)
        run.say(f"Stopped by {stopped_by}; all is saved. The same command resumes from here.")
        raise SystemExit(0)


def run_steps(
    run: TrainingRun,
    manager: ocp.CheckpointManager,
    writer: MetricsWriter,
    *,
    stop: signals.StopSignal,
    current: state.TrainState,
    best: BestEpoch,
) -> str:
    """Run all remaining steps; return what stopped the run before its end, empty if nothing did.

    A step's metrics are read while the next one runs. A state is saved before it is evaluated: that takes longer than
    whoever stops a run may wait.
    """
    settings, schedule = run.config.train, run.schedule
    key = jax.random.key(run.config.seed)
    first = int(current.step)
    batches = training_batches(run, first)
    with _progress(run, first) as progress:
        if first and first % schedule.steps_per_epoch == 0:
            stop.begin()
            best = end_epoch(run, writer, progress, current=current, best=best)
        pending = None
        for step in range(first + 1, schedule.total + 1):
            if settings.patience and best.epochs_since >= settings.patience:
                progress.say(f"No better epoch in the last {settings.patience}: stopped early")
                break
            batch = next(batches)
            indices = batch.pop("index")
            current, metrics = run.compiled.train(current, sharding.global_batch(batch, run.sharding), key)
            stop.begin()  # before, there is nothing to save
            if pending:
                write_metrics(run, writer, progress, pending)
            pending = StepMetrics(step, metrics, indices)
            ends_epoch, stopping = step % schedule.steps_per_epoch == 0, must_stop(stop, manager, step)
            if ends_epoch or stopping or step % settings.checkpoint_steps == 0:
                write_metrics(run, writer, progress, pending)  # before anything is saved: a diverged state must not be
                pending = None
                checkpoints.save_step(manager, step, current, {"best": dataclasses.asdict(best)})
            if stopping:
                return stop.received or "pre-emption"
            if ends_epoch:
                best = end_epoch(run, writer, progress, current=current, best=best)
    return ""


def _progress(run: TrainingRun, first: int) -> Progress:
    """Return the progress of a run of which `first` steps are done."""
    rate = (run.config.train.batch_size, "images")
    return Progress(run.config.name, run.schedule.total, "steps", start=first, rate=rate, active=run.is_first)


def training_batches(run: TrainingRun, first: int) -> Iterator[HostBatch]:
    """Load this process' batches, from the one after step `first` on."""
    faces, batch_size = run.data.train, run.config.train.batch_size
    return train_batches(
        faces.corpus,
        faces.indices,
        config_lib.loader_config(run.config, batch_size=batch_size, corpus=faces.corpus, aus=run.data.aus),
        steps_per_epoch=run.schedule.steps_per_pass,
        seed=run.config.seed,
        shard=run.shard,
        start=first,
    )


def must_stop(stop: signals.StopSignal, manager: ocp.CheckpointManager, step: int) -> bool:
    """Return whether a signal came; on several hosts, whether any is pre-empted (they agree on the step)."""
    return manager.reached_preemption(step) if jax.process_count() > 1 else stop.received is not None


def write_metrics(run: TrainingRun, writer: MetricsWriter, progress: Progress, metrics: StepMetrics) -> None:
    """Write and show the metrics of a step.

    Raises:
      NotFiniteError: One of them is not finite.
    """
    step, values = metrics.step, {name: float(value) for name, value in metrics.values.items()}
    if not all(map(math.isfinite, values.values())):
        faces = "\n  ".join(describe(run.data.train.corpus, metrics.indices.tolist()))
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        message = f"not finite at step {step}: {text}. Its faces (process {run.shard.index}):\n  {faces}"
        raise NotFiniteError(step - 1, message)
    writer.scalars(step, values)
    progress.update(step, detail=f"loss {values['loss']:.4f}")


def discard_diverged(run: TrainingRun, manager: ocp.CheckpointManager, error: NotFiniteError) -> NotFiniteError:
    """Delete a checkpoint of the diverged state, if there is an older one, and add to the error what is left."""
    latest = checkpoints.discard_step(manager, error.diverged)
    left = (
        "Nothing had been saved." if latest is None else f"{run.workdir}/checkpoints keeps the state of step {latest}."
    )
    return NotFiniteError(error.diverged, f"{error}\n{left}")


def end_epoch(
    run: TrainingRun, writer: MetricsWriter, progress: Progress, *, current: state.TrainState, best: BestEpoch
) -> BestEpoch:
    """Evaluate on the selection set, save the weights if they are the best so far, and write an image of heatmaps.

    Raises:
      NotFiniteError: A score is not finite.
    """
    step = int(current.step)
    scored = evaluate(run, current.variables, run.data.select)
    if not np.isfinite(scored.scores).all():
        raise NotFiniteError(step, f"not finite: scores of {run.data.select.name} after step {step}.")
    f1, mean = scored.f1_by_au(run.data.aus), scored.mean_f1()
    writer.scalars(step, {"mean_f1": mean} | {f"f1/{au_label(au)}": value for au, value in f1.items()})
    writer.image(step, "heatmaps", draw_heatmaps(run, current.variables))
    is_better = mean > best.mean_f1
    epoch = step // run.schedule.steps_per_epoch
    progress.say(f"epoch {epoch}: mean F1 {100 * mean:.1f} on {run.data.select.name}{' (best)' * is_better}")
    if not is_better:
        return dataclasses.replace(best, epochs_since=best.epochs_since + 1)
    weights.save(run.workdir / "best", run.step.model, current.variables, best_meta(run, step, mean))
    return BestEpoch(mean, step)


def best_meta(run: TrainingRun, step: int, mean_f1: float) -> WeightsMeta:
    """Return what the weights of a step record: how it was selected, and what it has learnt from."""
    *earlier, own = run.lineage
    chain = [*earlier, dataclasses.replace(own, steps=step)]
    extra = {
        "step": step,
        "selection": run.data.selection,
        "selection_mean_f1": mean_f1,
        "trained_on": run.trained_on,
        lineage.KEY: [link.to_dict() for link in chain],
        "corpora": [identity.to_dict() for identity in run.data.identities],
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
    landmarks, labels = jnp.asarray(batch["landmarks"]), jnp.asarray(batch["labels"])
    size, image_size = predicted.shape[1], batch["image"].shape[1]
    return heatmap_sheet.heatmap_sheet(
        batch["image"],
        targets=np.asarray(targets(landmarks, labels, run.step.centres, size=size, image_size=image_size)),
        predictions=predicted,
        labels=batch["labels"],
        aus=run.data.aus,
        path=path,
    )


def finish(run: TrainingRun, writer: MetricsWriter) -> dict[str, Any]:
    """Test the best epoch on the test fold and on further corpora; write and print the results."""
    _, variables, meta = weights.load(run.workdir / "best")
    if lineage.KEY not in meta.extra:  # written by a version that recorded none
        meta = best_meta(run, meta.extra["step"], meta.extra["selection_mean_f1"])
        weights.save(run.workdir / "best", run.step.model, variables, meta)
    variables = sharding.place(variables, run.sharding.of(variables))
    rows: list[f1_table.F1Row] = []
    for faces in (run.data.test, *run.data.also_test):
        f1 = evaluate(run, variables, faces).f1_by_au(run.data.aus)
        rows.append((faces.name, tuple(f1), tuple(f1.values())))
    sheet = draw_heatmaps(run, variables, run.workdir / "heatmaps.png" if run.is_first else None)
    writer.image(run.schedule.total, "test_heatmaps", sheet)
    report = write_report(run, meta, rows) if run.is_first else {}
    run.say(f"\nF1 of step {meta.extra['step']}, {run.data.selection}:\n\n{f1_table.f1_table(rows)}\n")
    run.say(f"{run.workdir}: best/ (weights), results.json, curves.png, heatmaps.png, metrics.jsonl")
    return report


def write_report(run: TrainingRun, meta: WeightsMeta, rows: Sequence[f1_table.F1Row]) -> dict[str, Any]:
    """Write results.json and the training curves; return the contents of results.json.

    Args:
      run: The run.
      meta: Metadata of the best epoch's weights.
      rows: F1 on the test fold, then on the same fold of further corpora.
    """
    (name, aus, f1), *others = rows
    step = meta.extra["step"]
    also_test = {
        other: {"mean_f1": float(np.mean(values)), "f1": dict(zip(map(au_label, numbers), values, strict=True))}
        for other, numbers, values in others
    }
    metrics = read_metrics(run.workdir / "metrics.jsonl")
    training_curves.training_curves(metrics, run.workdir / "curves.png", best_step=step)
    return results.write_results(
        run.workdir / "results.json",
        aus=aus,
        f1=f1,
        split=name,
        selection=run.data.selection,
        step=step,
        also_test=also_test,
        corpora=[identity.to_dict() for identity in run.data.identities],
        lineage=[link.to_dict() for link in lineage.links(meta)],
        provenance=provenance_lib.provenance(),
    )

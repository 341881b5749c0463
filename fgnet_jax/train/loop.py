"""."""

import dataclasses
import functools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fgnet_jax.aus import label as au_label
from fgnet_jax.data.pipeline import ProcessShard, describe, eval_batches, train_batches
from fgnet_jax.metrics import f1_table
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.models.weights import WeightsMeta
from fgnet_jax.runtime import files, sharding, signals
from fgnet_jax.runtime import provenance as provenance_lib
from fgnet_jax.train import checkpoints, results, splits, state, steps
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.config import Config
from fgnet_jax.train.evaluator import ScoredFaces, score
from fgnet_jax.train.metrics_writer import MetricsWriter, Progress, read_metrics
from fgnet_jax.train.optimizer import optimizer
from fgnet_jax.train.splits import trained_on
from fgnet_jax.train.targets import targets
from fgnet_jax.visualization import heatmap_sheet, training_curves


class NotFiniteError(ArithmeticError):
    """Loss or gradient is no longer a number; the message says at which step and on which faces."""

    def __init__(self, diverged: int, message: str):
        super().__init__(message)
        self.diverged = diverged  # number of updates of the state that gave it


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """Everything that stays the same during a run."""

    config: Config
    workdir: Path
    data: splits.RunData
    step: steps.StepConfig
    schedule: config_lib.Schedule
    sharding: sharding.Sharding
    share: ProcessShard
    train_step: Any
    eval_step: Any
    heatmap_step: Any
    is_first: bool
    trained_on: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far; kept in every checkpoint. One at an epoch's end does not know of that epoch yet."""

    mean_f1: float = -1.0
    step: int = 0
    epochs_since: int = 0


def train(config: Config, workdir: Path) -> dict[str, Any]:
    """Runs, or goes on with, an experiment to its end; returns what results.json holds.

    Raises:
      ConfigError: for a configuration that cannot be run, or another one than the workdir was begun with.
      NotFiniteError: when the loss is no longer a number; the last good checkpoint stays.
    """
    run = prepare(config, workdir)
    with checkpoints.open_manager(workdir / "checkpoints") as manager:
        current, best = start(run, manager)
        write_provenance(run)
        with MetricsWriter(workdir, run.is_first, int(current.step)) as writer:
            with signals.StopSignal(active=jax.process_count() == 1) as stop:
                try:
                    stopped_by = loop(run, manager, writer, current, best, stop)
                    manager.wait_until_finished()
                    if not stopped_by:
                        stop.raise_from_now_on()
                        return finish(run, writer)
                except NotFiniteError as error:
                    raise discard_diverged(run, manager, error) from None
                except signals.Stopped as signal:
                    stopped_by = str(signal)
            _say(run, f"Stopped by {stopped_by}; all is saved. The same command goes on from here.")
            raise SystemExit(0)


def prepare(config: Config, workdir: Path) -> TrainingRun:
    """Checks the workdir, opens the data, compiles nothing yet."""
    is_first = jax.process_index() == 0
    config_lib.check_same(config, workdir)
    layout = sharding.create(config.train.shard_params)
    config_lib.check_divides(config, layout.mesh.size)
    files.check_writable(workdir, disk_needed(config, (workdir / "config.json").exists()))
    data = splits.open_run(config)
    step = config_lib.step_config(config, data.aus)
    plan = config_lib.schedule(config, len(data.train.indices))
    rate_ends = 0 if step.optim.schedule == "constant" else plan.total  # runs of any length then share a program
    train_step, eval_step, heatmap_step = compile_steps(step, rate_ends, layout)
    share = ProcessShard(jax.process_index(), jax.process_count())
    seen = trained_on(config, data, plan.total)
    return TrainingRun(
        config, workdir, data, step, plan, layout, share, train_step, eval_step, heatmap_step, is_first, seen
    )


def write_provenance(run: TrainingRun) -> None:
    """Writes what this run is into its workdir: once it has begun, since what was refused may be put right."""
    if run.is_first:
        text = json.dumps(run.config.to_dict(), indent=2)
        files.write_text(run.workdir / "config.json", text + "\n")
        files.write_text(run.workdir / "provenance.json", json.dumps(provenance_lib.provenance(), indent=2) + "\n")


def disk_needed(config: Config, is_begun: bool) -> int:
    """Bytes that a run still writes at most: a third checkpoint beside two, and the best weights twice.

    A checkpoint holds parameters and two moments. A run that was begun has its two checkpoints and best weights.
    """
    shapes = fgnet.abstract(config_lib.model_config(config))
    return (4 if is_begun else 11) * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


@functools.lru_cache(maxsize=4)  # several runs of one process compile once
def compile_steps(step: steps.StepConfig, total: int, layout: sharding.Sharding):
    """The jitted steps, with where their arrays lie: the state as `layout` says, batches split over the devices."""
    tx = optimizer(step.optim, total)
    shapes = jax.eval_shape(lambda v: state.create(v, step.optim, tx), fgnet.abstract(step.model))
    placed = layout.of(shapes)
    train_step = jax.jit(
        functools.partial(steps.train_step, step, tx),
        in_shardings=(placed, layout.batch, layout.whole),
        out_shardings=(placed, layout.whole),
        donate_argnums=0,
        compiler_options=compiler_options.training(),
    )

    def evaluate(variables: fgnet.Variables, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        kept = {name: batch[name] for name in ("labels", "index", "valid")}
        return kept | {"scores": steps.eval_step(step, variables, batch)}

    def heatmaps(variables: fgnet.Variables, batch: Mapping[str, jax.Array]) -> jax.Array:
        return fgnet.au_heatmaps(step.model, variables, batch["image"], len(step.centres))

    jitted = functools.partial(jax.jit, out_shardings=layout.whole, compiler_options=compiler_options.inference())
    eval_step, heatmap_step = jitted(evaluate), jitted(heatmaps)
    return train_step, eval_step, heatmap_step


def start(run: TrainingRun, manager) -> tuple[state.TrainState, BestEpoch]:
    """The first state: of this workdir's last checkpoint, or of converted weights, or from scratch."""
    tx = optimizer(run.step.optim, run.schedule.total)
    shapes = jax.eval_shape(lambda v: state.create(v, run.step.optim, tx), fgnet.abstract(run.step.model))
    placed = run.sharding.of(shapes)
    latest = manager.latest_step()
    if latest is not None:
        _say(run, f"Going on with {run.workdir} at step {latest} of {run.schedule.total}")
        restored, meta = checkpoints.restore_step(manager, latest, shapes, placed)
        return restored, BestEpoch(**meta["best"])
    variables = initial_variables(run)
    fresh = jax.jit(lambda v: state.create(v, run.step.optim, tx), out_shardings=placed)
    return fresh(sharding.place(variables, run.sharding.of(variables))), BestEpoch()


def initial_variables(run: TrainingRun) -> fgnet.Variables:
    """Converted weights where `init_from` names some, else fresh values."""
    model, source = run.step.model, run.config.init_from
    if not source:
        _say(run, f"Training from scratch in {run.workdir}")
        return fgnet.init(model, run.config.seed)
    _say(run, f"Training from {source} in {run.workdir}")
    stored, variables, _ = weights.load(source)
    how = {name: getattr(model, name) for name in ("dropout", "dtype", "precision", "remat")}
    same_sizes = dataclasses.replace(stored, **how)
    if same_sizes != model:
        lines = config_lib.differences(stored.to_dict(), model.to_dict())
        raise config_lib.ConfigError(
            f"{source} holds another network than the configuration's:\n  " + "\n  ".join(lines)
        )
    return variables


def loop(run: TrainingRun, manager, writer: MetricsWriter, current: state.TrainState, best: BestEpoch, stop) -> str:
    """All steps that are left; returns what stopped it before the end.

    The figures of a step are looked at while the next one runs. A state is saved before it is scored: that takes longer
    than whoever stops a run may wait.
    """
    train, plan = run.config.train, run.schedule
    key = jax.random.key(run.config.seed)
    first = int(current.step)
    batches = training_batches(run, first)
    with Progress(plan.total, first, train.batch_size, run.is_first) as progress:
        if first and first % plan.steps_per_epoch == 0:
            best = end_epoch(run, writer, progress, current, best)
        pending = None
        for done in range(first + 1, plan.total + 1):
            if train.patience and best.epochs_since >= train.patience:
                progress.say(f"No better epoch in the last {train.patience}: stopped early")
                break
            batch = next(batches)
            faces = batch.pop("index")
            current, figures = run.train_step(current, sharding.global_batch(batch, run.sharding), key)
            if pending:
                write_metrics(run, writer, progress, *pending)
            pending = (done, figures, faces)
            ends_epoch, stopping = done % plan.steps_per_epoch == 0, must_stop(stop, manager, done)
            if ends_epoch or stopping or done % train.checkpoint_steps == 0:
                write_metrics(run, writer, progress, *pending)  # before anything is saved: a bad state must not be
                pending = None
                checkpoints.save_step(manager, done, current, {"best": dataclasses.asdict(best)})
            if stopping:
                return stop.received or "pre-emption"
            if ends_epoch:
                best = end_epoch(run, writer, progress, current, best)
    return ""


def training_batches(run: TrainingRun, first: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches of this process from step `first` on."""
    data, train = run.data.train, run.config.train
    loading = config_lib.loader_config(run.config, train.batch_size, data.corpus, run.data.aus)
    per_pass = run.schedule.steps_per_pass
    return train_batches(data.corpus, data.indices, loading, per_pass, run.config.seed, run.share, first)


def must_stop(stop: signals.StopSignal, manager, done: int) -> bool:
    """Whether a signal came; on several hosts, whether any of them is being taken away (they agree on the step)."""
    return manager.reached_preemption(done) if jax.process_count() > 1 else stop.received is not None


def write_metrics(
    run: TrainingRun, writer: MetricsWriter, progress: Progress, step: int, figures: Mapping, faces: np.ndarray
) -> None:
    """Writes the figures of a step.

    Raises:
      NotFiniteError: if one of them is not.
    """
    values = {name: float(value) for name, value in figures.items()}
    if not all(map(math.isfinite, values.values())):
        names = "\n  ".join(describe(run.data.train.corpus, faces.tolist()))
        what = ", ".join(f"{name} {value}" for name, value in values.items())
        raise NotFiniteError(
            step - 1, f"not finite at step {step}: {what}. Its faces (process {run.share.index}):\n  {names}"
        )
    writer.scalars(step, values)
    progress.update(step, values["loss"])


def discard_diverged(run: TrainingRun, manager, error: NotFiniteError) -> NotFiniteError:
    """Deletes a checkpoint of the diverged state, if an older one is there, and adds to the error what is left."""
    kept = checkpoints.discard_step(manager, error.diverged)
    left = "Nothing had been saved." if kept is None else f"{run.workdir}/checkpoints keeps the state of step {kept}."
    return NotFiniteError(error.diverged, f"{error}\n{left}")


def end_epoch(
    run: TrainingRun, writer: MetricsWriter, progress: Progress, current: state.TrainState, best: BestEpoch
) -> BestEpoch:
    """Scores the selection set, keeps the state if it is the best so far, and draws an image of it."""
    step = int(current.step)
    scored = evaluate(run, current.variables, run.data.select)
    if not np.isfinite(scored.scores).all():
        raise NotFiniteError(step, f"not finite: scores of {run.data.select.name} after step {step}.")
    f1 = scored.f1_by_au(run.data.aus)
    mean = scored.mean_f1()
    writer.scalars(step, {"mean_f1": mean} | {f"f1/{au_label(au)}": value for au, value in f1.items()})
    writer.image(step, "heatmaps", draw_heatmaps(run, current.variables))
    is_better = mean > best.mean_f1
    epoch = step // run.schedule.steps_per_epoch
    progress.say(f"epoch {epoch}: mean F1 {100 * mean:.1f} on {run.data.select.name}{' (best)' * is_better}")
    if not is_better:
        return dataclasses.replace(best, epochs_since=best.epochs_since + 1)
    extra = {"step": step, "selection": run.data.selection, "selection_mean_f1": mean}
    extra["trained_on"] = run.trained_on
    meta = WeightsMeta(aus=run.data.aus, corpus=run.config.data.corpus, extra=extra)
    weights.save(run.workdir / "best", run.step.model, current.variables, meta)
    return BestEpoch(mean, step)


def evaluate(run: TrainingRun, variables: fgnet.Variables, faces: splits.FaceSubset) -> ScoredFaces:
    """Scores of some faces, by the AUs that are trained."""
    loading = config_lib.loader_config(run.config, run.config.train.eval_batch_size, faces.corpus, run.data.aus)
    return score(run.eval_step, variables, faces.corpus, faces.indices, loading, run.sharding, run.share)


def draw_heatmaps(run: TrainingRun, variables: fgnet.Variables, path: Path | None = None) -> np.ndarray:
    """Targets beside predictions for a few faces of the test fold, (H, W, 3) uint8."""
    faces, size = run.data.test, run.config.train.eval_batch_size
    indices = faces.indices[np.linspace(0, len(faces.indices) - 1, size).astype(int)]
    loading = config_lib.loader_config(run.config, size, faces.corpus, run.data.aus)
    batch = next(eval_batches(faces.corpus, indices, loading, ProcessShard()))
    predicted = np.asarray(run.heatmap_step(variables, sharding.place(batch, run.sharding.batch)))
    landmarks, labels = jnp.asarray(batch["landmarks"]), jnp.asarray(batch["labels"])
    wanted = targets(landmarks, labels, run.step.centres, predicted.shape[1], batch["image"].shape[1])
    return heatmap_sheet.heatmap_sheet(
        batch["image"], np.asarray(wanted), predicted, batch["labels"], run.data.aus, path
    )


def finish(run: TrainingRun, writer: MetricsWriter) -> dict[str, Any]:
    """Tests the best state on the fold that was left out and on the other corpora; writes and prints the results."""
    _, variables, meta = weights.load(run.workdir / "best")
    variables = sharding.place(variables, run.sharding.of(variables))
    rows = []
    for faces in (run.data.test, *run.data.also_test):
        f1 = evaluate(run, variables, faces).f1_by_au(run.data.aus)
        rows.append((faces.name, tuple(f1), tuple(f1.values())))
    sheet = draw_heatmaps(run, variables, run.workdir / "heatmaps.png" if run.is_first else None)
    writer.image(run.schedule.total, "test_heatmaps", sheet)
    report = write_report(run, meta.extra["step"], rows) if run.is_first else {}
    _say(run, f"\nF1 of step {meta.extra['step']}, {run.data.selection}:\n\n{f1_table.f1_table(rows)}\n")
    _say(run, f"{run.workdir}: best/ (weights), results.json, curves.png, heatmaps.png, metrics.jsonl")
    return report


def _say(run: TrainingRun, text: str) -> None:
    if run.is_first:
        print(text, flush=True)


def write_report(run: TrainingRun, step: int, rows: list) -> dict[str, Any]:
    """results.json and the curves; the first row is the fold that was left out, the others further corpora."""
    (name, aus, f1), *others = rows
    also = {
        other: {"mean_f1": float(np.mean(values)), "f1": dict(zip(map(au_label, numbers), values, strict=True))}
        for other, numbers, values in others
    }
    training_curves.training_curves(
        read_metrics(run.workdir / "metrics.jsonl"), run.workdir / "curves.png", best_step=step
    )
    return results.write_results(
        run.workdir / "results.json",
        aus=aus,
        f1=f1,
        split=name,
        selection=run.data.selection,
        step=step,
        also_test=also,
        provenance=provenance_lib.provenance(),
    )

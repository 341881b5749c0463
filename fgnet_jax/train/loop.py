"""Training from a configuration to results: a run's loop over steps and epochs.

A run lives in its workdir: configuration and provenance, the latest checkpoints, metrics, the best epoch's weights, and
at its end results and plots. It saves in the middle and at the end of epochs, can be stopped at any step, and resumes
with the same numbers. `fgnet_jax.train.run` has its start, `epoch_end` the end of an epoch, `finish` its own.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from fgnet_jax.data import sampling
from fgnet_jax.data.pipeline import HostBatch, describe, train_batches
from fgnet_jax.runtime import sharding, signals
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.train import best as best_lib
from fgnet_jax.train import checkpoints, state, workdirs
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.best import Ranking
from fgnet_jax.train.config import Config
from fgnet_jax.train.epoch_end import NotFiniteError, end_epoch
from fgnet_jax.train.finish import finish
from fgnet_jax.train.metrics_writer import MetricsWriter
from fgnet_jax.train.optimizer import learning_rates
from fgnet_jax.train.profiling import Profiler
from fgnet_jax.train.run import TrainingRun, prepare_run, start, write_provenance


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


def train(config: Config, workdir: Path, *, profile: tuple[int, int] | None = None) -> dict[str, Any]:
    """Run an experiment to its end, or resume it; return the contents of results.json.

    Args:
      config: What to run.
      workdir: The run's folder.
      profile: First and last step of a trace, which is written to WORKDIR/profile.

    Raises:
      ConfigError: The configuration cannot be run, the workdir was begun with another one, or another training is
        running there.
      NotFiniteError: The loss is not finite; the last good checkpoint stays.
      SystemExit: With status 0: a signal stopped the run, and all is saved.
    """
    with workdirs.held(workdir):
        return _train(prepare_run(config_lib.with_home(config), workdir), profile)


def _train(run: TrainingRun, profile: tuple[int, int] | None) -> dict[str, Any]:
    """Run an experiment, in a workdir that is held."""
    folder = run.workdir / "checkpoints"
    # Signals outermost: they are caught until the last save, which is waited for when the manager is closed, has ended.
    with (
        signals.StopSignal(active=jax.process_count() == 1, later=True) as stop,
        checkpoints.open_manager(folder) as manager,
    ):
        run, current, best = start(run, manager)
        write_provenance(run)
        with MetricsWriter(
            run.workdir,
            active=run.is_first,
            resume_step=int(current.step),
            loggers=run.config.train.loggers,
            config=run.config.to_dict(),
        ) as writer:
            try:
                with Profiler(run.workdir, profile, say=run.say, active=run.is_first) as profiler:
                    stopped_by = run_steps(
                        run, manager, writer, stop=stop, current=current, best=best, profiler=profiler
                    )
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
    best: Ranking,
    profiler: Profiler,
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
        if first and (schedule.evaluates(first) or first in best_lib.saved(run.workdir)):
            stop.begin()
            best = end_epoch(run, writer, progress, current=current, best=best)
        pending = None
        if first < schedule.total:
            progress.say("Compiling the training step: seconds for a small network, minutes for the published one")
        for step in range(first + 1, schedule.total + 1):
            if settings.patience and best.since >= settings.patience:
                progress.say(f"No better epoch in the last {settings.patience}: stopped early")
                break
            batch = next(batches)
            indices = batch.pop("index")
            with profiler.step(step):
                current, metrics = run.compiled.train(current, sharding.global_batch(batch, run.sharding), key)
            profiler.end(step, metrics)
            stop.begin()  # before, there is nothing to save
            if pending:
                write_metrics(run, writer, progress, pending)
            pending = StepMetrics(step, metrics, indices)
            evaluates, stopping = schedule.evaluates(step), must_stop(stop, manager, step)
            saves = step % schedule.steps_per_epoch == 0 or step % settings.checkpoint_steps == 0
            if evaluates or stopping or saves:
                write_metrics(run, writer, progress, pending)  # before anything is saved: a diverged state must not be
                pending = None
                checkpoints.save_step(manager, step, current, {"best": best.to_dict()})
            if stopping:
                return stop.received or "pre-emption"
            if evaluates:
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
        sampler=_sampler(run),
    )


def _sampler(run: TrainingRun) -> sampling.Sampler | None:
    """Return the order of the training faces; None for the published one."""
    if run.config.data.sampler == sampling.SHUFFLED:
        return None
    return sampling.balanced(run.data.train.indices, run.data.train.labels(run.data.aus), seed=run.config.seed)


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
    writer.scalars(step, values | learning_rates(run.step.optim, step - 1, run.schedule.total))
    progress.update(step, detail=f"loss {values['loss']:.4f}")


def discard_diverged(run: TrainingRun, manager: ocp.CheckpointManager, error: NotFiniteError) -> NotFiniteError:
    """Delete a checkpoint of the diverged state, if there is an older one, and add to the error what is left."""
    latest = checkpoints.discard_step(manager, error.diverged)
    left = (
        "Nothing had been saved." if latest is None else f"{run.workdir}/checkpoints keeps the state of step {latest}."
    )
    return NotFiniteError(error.diverged, f"{error}\n{left}")

"""Distillation from a request to results: faces and heatmaps cached, the student trained, its results written.

It can be stopped at any moment and is resumed by the same command: what teachers have seen they do not see again, and
training goes on from its last checkpoint, with the same numbers.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
import orbax.checkpoint as ocp

from fgnet_jax.distill import batches, cache, labelling, record, steps
from fgnet_jax.distill.agreement import Agreement
from fgnet_jax.distill.batches import StudentFaces
from fgnet_jax.distill.finish import finish
from fgnet_jax.distill.run import DistillRequest, DistillRun, check_inputs, prepare
from fgnet_jax.distill.teachers import Teachers
from fgnet_jax.models import fgnet
from fgnet_jax.runtime import files, sharding, signals
from fgnet_jax.runtime.command_line import status
from fgnet_jax.runtime.progress import Progress
from fgnet_jax.train import best as best_lib
from fgnet_jax.train import checkpoints, workdirs
from fgnet_jax.train.best import Evaluation, Ranking
from fgnet_jax.train.defaults import ConfigError
from fgnet_jax.train.epoch_end import NotFiniteError
from fgnet_jax.train.metrics_writer import MetricsWriter
from fgnet_jax.train.state import TrainState

COMMAND = "distill"


def distill(request: DistillRequest) -> dict[str, Any]:
    """Carry out a request to its end, or resume it; return the contents of results.json.

    Raises:
      ConfigError: It cannot be carried out, the workdir was begun otherwise, or another run is going on there.
      NoFacesError: No input has a face.
      NotFiniteError: The loss is not finite; the last good checkpoint stays.
      SystemExit: With status 0: a signal stopped the run, and all is saved.
    """
    with workdirs.held(request.output):
        run = prepare(request)
        for line in run.remarks:
            status(COMMAND, line)
        check_inputs(run.workdir, run.cache_settings())
        if results := _finished(run):
            status(COMMAND, f"{run.workdir} is finished, its faces were deleted: results.json is what it ended with")
            return results
        with signals.StopSignal(later=True) as stop:
            stopped_by = fill_cache(run, stop)
            if not stopped_by:
                return train(run, open_faces(run), stop)
    _end(stopped_by)


def _finished(run: DistillRun) -> dict[str, Any] | None:
    """Return the results of a finished run whose cache is gone: nothing else would need it; else None.

    Raises:
      ConfigError: The results are damaged.
    """
    is_cached = cache.read_index(run.cache) is not None
    return None if is_cached else workdirs.read_json(run.workdir / workdirs.RESULTS)


def _end(stopped_by: str) -> NoReturn:
    status(COMMAND, f"stopped by {stopped_by}; all is saved. The same command resumes from here")
    raise SystemExit(0)


def fill_cache(run: DistillRun, stop: signals.StopSignal) -> str:
    """Let the teachers see every face, unless they have; return the name of a signal that stopped it, or ""."""
    settings = run.cache_settings()
    run.cache.mkdir(parents=True, exist_ok=True)
    if cache.begin(run.cache, settings, run.file_sizes()):
        return ""
    status(COMMAND, announcement(run))
    teachers = Teachers(
        run.teachers, map_size=run.step.model.map_size, batch_size=run.config.distill.teacher_batch_size
    )
    stop.begin()
    return labelling.label(
        run.cache,
        run.inputs,
        teachers,
        shard_faces=run.config.distill.shard_faces,
        stop=lambda: stop.received,
        settings=settings,
    )


def announcement(run: DistillRun) -> str:
    """Say how large the cache will be, and where.

    Raises:
      NotWritableError: The disk has not so much space.
    """
    per_face = cache.face_bytes(run.step.model.image_size, run.step.model.map_size, len(run.aus))
    begun = cache.position(run.cache)
    expected = run.inputs.expected
    begun_text = f" {begun.faces:,} are there." * bool(begun.faces)
    if expected is None:
        size = f"about {_size(per_face)} a face, {_size(1000 * per_face)} for 1,000"
        return f"{run.cache}: faces and their heatmaps will be kept here, {size}.{begun_text}"
    total = expected * per_face
    files.check_writable(run.cache, max(total - begun.faces * per_face, 0))
    return f"{run.cache}: {expected:,} faces and their heatmaps will be kept here, about {_size(total)}.{begun_text}"


def _size(count: float) -> str:
    """Return a number of bytes as text."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def open_faces(run: DistillRun) -> StudentFaces:
    """Open the complete cache, and divide its faces.

    Raises:
      CacheError: It is damaged.
      ConfigError: There are too few faces.
    """
    data, config = run.inputs.data, run.config
    try:
        faces = batches.divide(
            cache.CachedFaces(run.cache),
            corpus_train=None if data is None else len(data.train.indices),
            names=run.inputs.names,
            share=config.data.held_out,
            seed=config.data.seed,
            count=config.distill.faces,
        )
    except cache.CacheError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    left_out = faces.cached.counts["left_out"]
    without = f"; {left_out:,} left out, whose heatmaps are not finite" if left_out else ""
    status(COMMAND, f"{len(faces.train):,} faces to train on, {len(faces.held_out):,} held out: {faces.rule}{without}")
    return faces


def train(run: DistillRun, faces: StudentFaces, stop: signals.StopSignal) -> dict[str, Any]:
    """Train the student on cached faces, or go on with it; return the contents of results.json."""
    with checkpoints.open_manager(run.workdir / "checkpoints") as manager:
        current, best = start(run, manager)
        record.write_begin(run)
        writer = MetricsWriter(
            run.workdir,
            active=True,
            resume_step=int(current.step),
            loggers=run.config.train.loggers,
            config=run.config.to_dict(),
        )
        with writer:
            try:
                stopped_by = run_steps(run, faces, manager, writer, stop=stop, current=current, best=best)
                manager.wait_until_finished()
                if not stopped_by:
                    stop.begin()  # a run that is only tested has no step
                    stop.raise_from_now_on()
                    return finish(run, faces, writer)
            except NotFiniteError as error:
                latest = checkpoints.discard_step(manager, error.diverged)
                left = "nothing had been saved" if latest is None else f"the state of step {latest} stays"
                raise NotFiniteError(error.diverged, f"{error}; {left}") from None
            except signals.Stopped as signal:
                stopped_by = str(signal)
    _end(stopped_by)


def start(run: DistillRun, manager: ocp.CheckpointManager) -> tuple[TrainState, Ranking]:
    """Return the first state: of the latest checkpoint that is intact, or from scratch."""
    shapes = jax.eval_shape(lambda variables: steps.create(variables, run.step), fgnet.abstract(run.step.model))
    placement = jax.tree.map(lambda _: run.layout.replicated, shapes)
    restored = checkpoints.restore_latest(manager, like=shapes, shardings=placement)
    if restored is not None:
        for line in restored.damaged:
            status(COMMAND, line)
        status(COMMAND, f"resuming {run.workdir} at step {restored.step} of {run.config.train.steps}")
        return restored.state, best_lib.resumed(run.workdir, Ranking.from_dict(restored.metadata["best"]))
    fresh = jax.jit(lambda variables: steps.create(variables, run.step), out_shardings=placement)
    return fresh(fgnet.init(run.step.model, run.config.seed)), Ranking()


def run_steps(
    run: DistillRun,
    faces: StudentFaces,
    manager: ocp.CheckpointManager,
    writer: MetricsWriter,
    *,
    stop: signals.StopSignal,
    current: TrainState,
    best: Ranking,
) -> str:
    """Train from the current state to the end; return the signal's name if one stopped it, else "".

    A step's metrics are read while the next one runs. A state is saved before it is evaluated.
    """
    settings, key = run.config.train, jax.random.key(run.config.seed)
    first = int(current.step)
    loaded = training_batches(run, faces, first)
    with _progress(run, first) as progress:
        if first and (_evaluates(run, first) or first in best_lib.saved(run.workdir)):
            stop.begin()
            best = evaluate(run, faces, writer, progress, current=current, best=best)
        pending: tuple[int, Mapping[str, jax.Array]] | None = None
        for step in range(first + 1, settings.steps + 1):
            current, metrics = run.train(current, sharding.global_batch(next(loaded), run.layout), key)
            stop.begin()  # before, there is nothing to save
            if pending:
                write_metrics(run, writer, progress, *pending)
            pending = step, metrics
            evaluates, stopping = _evaluates(run, step), stop.received is not None
            if evaluates or stopping or step % settings.checkpoint_steps == 0:
                write_metrics(run, writer, progress, *pending)  # before a diverged state could be saved
                pending = None
                checkpoints.save_step(manager, step, current, {"best": best.to_dict()})
            if stopping:
                return stop.received or ""
            if evaluates:
                best = evaluate(run, faces, writer, progress, current=current, best=best)
    return ""


def training_batches(run: DistillRun, faces: StudentFaces, first: int) -> Iterator[dict[str, np.ndarray]]:
    """Load the batches from the one after step `first` on, without what the step does not read."""
    names = ["image", "heatmaps"] + ["labels", "landmarks"] * (run.step.label_weight > 0)
    loaded = batches.train_batches(
        faces,
        batch_size=run.config.train.batch_size,
        seed=run.config.seed,
        start=first,
        threads=run.config.data.threads,
    )
    for batch in loaded:
        yield {name: batch[name] for name in names}


def _evaluates(run: DistillRun, step: int) -> bool:
    """Return whether the student is compared with its teachers after a step; it always is after the last one."""
    return step % run.config.train.evaluate_steps == 0 or step == run.config.train.steps


def _progress(run: DistillRun, first: int) -> Progress:
    rate = (run.config.train.batch_size, "faces")
    return Progress(run.config.name, run.config.train.steps, "steps", start=first, rate=rate)


def write_metrics(
    run: DistillRun, writer: MetricsWriter, progress: Progress, step: int, metrics: Mapping[str, jax.Array]
) -> None:
    """Write and show the metrics of a step.

    Raises:
      NotFiniteError: One of them is not finite.
    """
    values = {name: float(value) for name, value in metrics.items()}
    if not all(map(math.isfinite, values.values())):
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        raise NotFiniteError(step - 1, f"not finite at step {step}: {text}")
    progress.update(step, detail=f"loss {values['loss']:.4f}")
    writer.scalars(step, values | {"lr": run.step.optim.rate(step - 1), "faces_per_second": progress.rate()})


def evaluate(
    run: DistillRun,
    faces: StudentFaces,
    writer: MetricsWriter,
    progress: Progress,
    *,
    current: TrainState,
    best: Ranking,
) -> Ranking:
    """Compare the student with its teachers on the held-out faces, and save its weights if they are the best.

    Raises:
      NotFiniteError: A score is not finite.
    """
    step, variables = int(current.step), current.evaluated
    agreement = Agreement.of(run, variables, faces)
    if not agreement.is_finite:
        raise NotFiniteError(step, f"not finite: scores of held-out faces after step {step}")
    measured = agreement.means()
    writer.scalars(step, measured | agreement.by_au())
    following = best.added(Evaluation(-measured["validation_loss"], step), 1)
    progress.say(
        f"step {step}: validation loss {measured['validation_loss']:.4f}, "
        f"{100 * measured['agreement']:.1f} % of presences as the teachers'"
        + (f", correlation {measured['correlation']:.3f}" if "correlation" in measured else "")
        + " (best)" * (following.since == 0)
    )
    if step in following.steps:
        meta = record.meta(run, faces, step=step, measured=measured)
        best_lib.save(run.workdir, following, config=run.step.model, variables=variables, meta=meta)
    return following

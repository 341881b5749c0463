"""A training run and its start: configuration checked, data opened, steps jitted, first state placed on the devices."""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
import orbax.checkpoint as ocp

from fgnet_jax.data.pipeline import ProcessShard
from fgnet_jax.models import fgnet, weights
from fgnet_jax.models.config import ModelConfig
from fgnet_jax.models.lineage import Link
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.runtime import files, sharding
from fgnet_jax.runtime import provenance as provenance_lib
from fgnet_jax.train import (
    ancestry,
    best,
    checkpoints,
    initial_weights,
    intensity,
    loggers,
    optimizer_names,
    splits,
    state,
    steps,
    weighting,
    workdirs,
)
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.best import Ranking
from fgnet_jax.train.config import Config
from fgnet_jax.train.evaluator import METRICS, EvalStep, compile_eval_steps, selectable
from fgnet_jax.train.optimizer import OptimConfig, optimizer


class CompiledSteps(NamedTuple):
    """The jitted steps of a run.

    Attributes:
      train: State, batch and random key to the next state and the step's metrics.
      evaluate: Variables and batch to scores, labels, indices and validity; see `EvalStep`.
      heatmaps: Variables and batch to the heatmaps of the K AUs, not clipped.
    """

    train: Callable[[state.TrainState, steps.Batch, jax.Array], tuple[state.TrainState, dict[str, jax.Array]]]
    evaluate: EvalStep
    heatmaps: Callable[[fgnet.Variables, steps.Batch], jax.Array]


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """Everything that stays the same during a run.

    Attributes:
      config: Its configuration.
      workdir: Its folder.
      data: The faces to train on, to select the best epoch on, and to test on.
      step: What its steps are compiled for.
      schedule: How many steps it has.
      sharding: Placement of arrays on devices.
      shard: What this process loads of every batch.
      compiled: Its jitted steps.
      is_first: Whether this process is the one that writes files and prints.
      trained_on: What its weights record about the training data.
      lineage: Every step from published files to its weights, itself last.
      remarks: What its user should know before it starts, a line each.
    """

    config: Config
    workdir: Path
    data: splits.RunData
    step: steps.StepConfig
    schedule: config_lib.Schedule
    sharding: sharding.Sharding
    shard: ProcessShard
    compiled: CompiledSteps
    is_first: bool
    trained_on: dict[str, Any]
    lineage: tuple[Link, ...]
    remarks: tuple[str, ...]

    def say(self, text: str) -> None:
        """Print text, in the first process alone."""
        if self.is_first:
            print(text, flush=True)


def prepare_run(config: Config, workdir: Path) -> TrainingRun:
    """Check configuration and workdir, open the data, and set up the steps; nothing is compiled yet."""
    more_epochs = config_lib.check_same(config, workdir)
    layout = sharding.create(config.train.shard_params)
    config_lib.check_seeds(config)
    config_lib.check_divides(config, layout.mesh.size)
    loggers.check(config.train.loggers)
    earlier = ancestry.earlier_links(config, workdir)
    if config.init_from and not workdirs.has_checkpoint(workdir):
        meta = weights.load_meta(config.init_from)
        initial_weights.check_network(meta, config_lib.model_config(config), config.init_from)
    files.check_writable(workdir, disk_needed(config, (workdir / workdirs.CONFIG).exists()))
    data, remarks = open_data(config, workdir, earlier)
    step = config_lib.step_config(config, data.aus, data.train.labels(data.aus))
    schedule = config_lib.schedule(config, len(data.train.indices))
    # With a constant rate, runs of any length share a program.
    schedule_end = 0 if step.optim.schedule == "constant" else schedule.total
    recorded = workdirs.read_lineage(workdir)
    began_with = recorded[-1].weights_sha256 if recorded else ""
    own = ancestry.own_link(config, data, name=workdir.absolute().name, weights_sha256=began_with)
    return TrainingRun(
        config=config,
        workdir=workdir,
        data=data,
        step=step,
        schedule=schedule,
        sharding=layout,
        shard=ProcessShard(jax.process_index(), jax.process_count()),
        compiled=compile_steps(step, schedule_end, layout),
        is_first=jax.process_index() == 0,
        trained_on=splits.trained_on(config, data, schedule.total),
        lineage=(*earlier, own),
        remarks=(*remarks, *filter(None, [more_epochs, *_remarks(step, layout, data.aus)])),
    )


def _remarks(step: steps.StepConfig, layout: sharding.Sharding, aus: tuple[int, ...]) -> tuple[str, ...]:
    """Return what a user should know of the steps that are compiled; empty lines among them."""
    return unsplit(layout, step.model), undecayed(step.optim), weighting.described(step.loss, aus)


def unsplit(layout: sharding.Sharding, model: ModelConfig) -> str:
    """Return the line that says that devices cannot share a network's parameters, although they should; or nothing."""
    places = jax.tree.leaves(layout.of(fgnet.abstract(model)))
    if not layout.shard_params or layout.mesh.size == 1 or not all(place.is_fully_replicated for place in places):
        return ""
    devices = layout.mesh.size
    return (
        f"train.shard_params: {devices} devices cannot share any layer's input channels evenly: each holds all of them"
    )


def undecayed(optim: OptimConfig) -> str:
    """Return the line that says that a weight decay has no effect, although it was configured; or nothing."""
    if not optim.weight_decay or optimizer_names.decays(optim.name):
        return ""
    return f"optim.weight_decay {optim.weight_decay:g} has no effect: optax.{optim.name} takes no weight_decay"


def open_data(config: Config, workdir: Path, earlier: Sequence[Link]) -> tuple[splits.RunData, tuple[str, ...]]:
    """Open the corpora of a run; return them, and what its user should know before it starts.

    Args:
      config: The run's configuration.
      workdir: Its folder.
      earlier: Lineage of the weights that it begins with.

    Raises:
      ConfigError: They were prepared anew since the run was begun, or the run would be tested on subjects from whom its
        first weights have learnt.
    """
    data = splits.open_run(config)
    not_compared = workdirs.check_corpora(workdir, data.identities)
    if not_compared:
        _check_aus(workdir, data.aus)
    ancestry.check_tests(earlier, data, config.init_from)
    remarks = (*filter(None, [not_compared]), *ancestry.remarks(earlier, data), *intensity.remarks(config, data))
    if config.train.select_on == "held_out":
        selection = data.selection + ancestry.selected_on_learnt(earlier, data.select)
        data = dataclasses.replace(data, selection=selection)
    return dataclasses.replace(data, selection=_selected_by(config, data)), remarks


def _selected_by(config: Config, data: splits.RunData) -> str:
    """Return the rule of selection in words, with the metric if it is not F1.

    Raises:
      ConfigError: The metric has no value for the faces that epochs are selected on.
    """
    metric = config.train.select_metric
    if not selectable(data.select.labels(data.aus), metric):
        raise config_lib.ConfigError(
            f'train.select_metric "{metric}" has no value for {data.select.name}: no AU there has the labels that it '
            "needs; hold out more subjects (data.held_out), or others (data.seed)"
        )
    return data.selection if metric == "f1" else data.selection.replace("epoch", f"epoch by {METRICS[metric]}", 1)


def _check_aus(workdir: Path, aus: tuple[int, ...]) -> None:
    """Refuse AUs in another order than those of the weights that a run has saved."""
    if not (workdir / "best").is_dir():
        return
    stored = weights.load_meta(workdir / "best").aus
    if stored != aus:
        raise config_lib.ConfigError(
            f"{workdir} was begun with the AUs {', '.join(map(str, stored))}, but its corpora now have "
            f"{', '.join(map(str, aus))}; prepare them as they were, or train anew in another --workdir"
        )


def disk_needed(config: Config, is_begun: bool) -> int:
    """Compute how many bytes a run still writes at most: a third checkpoint beside two, and two sets of best weights.

    A checkpoint holds parameters, two moments, and averages if they are kept. A run that was begun has its two
    checkpoints and best weights.
    """
    shapes = fgnet.abstract(config_lib.model_config(config))
    checkpoint, best = 4 if config.train.ema else 3, config.train.keep_best
    sets = checkpoint + 1 if is_begun else 3 * checkpoint + best + 1
    return sets * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


@functools.lru_cache(maxsize=4)  # several runs of one process compile once
def compile_steps(step: steps.StepConfig, total_steps: int, layout: sharding.Sharding) -> CompiledSteps:
    """Jit the steps of a run: the state is placed as `layout` says, batches are split over the devices."""
    tx = optimizer(step.optim, total_steps)
    placement = layout.of(state_shapes(step, total_steps))
    traced = platforms.traced_for(layout.platform, functools.partial(steps.train_step, step, tx))
    train_step = jax.jit(
        gathering.traced_as(layout.kernels, layout.images, traced),
        in_shardings=(placement, layout.batch, layout.replicated),
        out_shardings=(placement, layout.replicated),
        donate_argnums=0,
        compiler_options=compiler_options.training(layout.platform),
    )

    evaluation = compile_eval_steps(step.model, len(step.centres), layout, step)
    return CompiledSteps(train_step, evaluation.score, evaluation.heatmaps)


def state_shapes(step: steps.StepConfig, total_steps: int) -> state.TrainState:
    """Return the training state, of `jax.ShapeDtypeStruct`."""
    tx = optimizer(step.optim, total_steps)
    return jax.eval_shape(lambda variables: _create(variables, step, tx), fgnet.abstract(step.model))


def _create(variables: fgnet.Variables, step: steps.StepConfig, tx: optax.GradientTransformation) -> state.TrainState:
    return state.create(variables, step.optim, tx, averaged=step.ema > 0)


def start(run: TrainingRun, manager: ocp.CheckpointManager) -> tuple[TrainingRun, state.TrainState, Ranking]:
    """Return the run with its lineage, and its first state: of a checkpoint, of given weights, or from scratch."""
    for line in run.remarks:
        run.say(line)
    shapes = state_shapes(run.step, run.schedule.total)
    placement = run.sharding.of(shapes)
    restored = checkpoints.restore_latest(manager, like=shapes, shardings=placement)
    if restored is not None:
        for line in restored.damaged:
            run.say(line)
        run.say(f"Resuming {run.workdir} at step {restored.step} of {run.schedule.total}")
        return run, restored.state, best.resumed(run.workdir, Ranking.from_dict(restored.metadata["best"]))
    begun, variables = begin(run)
    tx = optimizer(run.step.optim, run.schedule.total)
    fresh = jax.jit(lambda variables: _create(variables, run.step, tx), out_shardings=placement)
    return begun, fresh(sharding.place(variables, run.sharding.of(variables))), Ranking()


def begin(run: TrainingRun) -> tuple[TrainingRun, fgnet.Variables]:
    """Load the weights that `init_from` names, or initialise the network anew; the run's lineage then has them.

    Raises:
      ConfigError: The weights are of another network, or others than those that the run was begun with.
    """
    model, source = run.step.model, run.config.init_from
    if not source:
        run.say(f"Training from scratch in {run.workdir}")
        return run, fgnet.init(model, run.config.seed)
    run.say(f"Training from {source} in {run.workdir}")
    loaded = initial_weights.load(source, model, aus=run.data.aus, seed=run.config.seed)
    if loaded.text:
        run.say(loaded.text)
    *earlier, own = run.lineage
    if own.weights_sha256 not in ("", loaded.sha256):
        raise config_lib.ConfigError(
            f"{source} holds other weights than those that {run.workdir} was begun with; "
            "put those back, or give another --workdir"
        )
    link = dataclasses.replace(own, weights_sha256=loaded.sha256)
    return dataclasses.replace(run, lineage=(*earlier, link)), loaded.variables


def write_provenance(run: TrainingRun) -> None:
    """Write configuration, provenance, corpora and lineage into the workdir.

    Once the run has begun: a run that was refused leaves none, so that its configuration can be corrected. The
    configuration is last: with it, the run counts as begun.
    """
    if not run.is_first:
        return
    if config_lib.check_same(run.config, run.workdir):
        (run.workdir / workdirs.RESULTS).unlink(missing_ok=True)  # of fewer epochs than the configuration will say
    workdirs.write_record(run.workdir / workdirs.LINEAGE, [link.to_dict() for link in run.lineage])
    workdirs.write_record(run.workdir / workdirs.CORPORA, [identity.to_dict() for identity in run.data.identities])
    contents = {
        "provenance.json": provenance_lib.provenance(),
        workdirs.CONFIG: run.config.to_dict(),
    }
    for name, content in contents.items():
        files.write_text(run.workdir / name, json.dumps(content, indent=2) + "\n")

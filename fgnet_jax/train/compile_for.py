"""Compile before you rent: the programs of a run, compiled for devices that are not there.

What `python -m fgnet_jax.train --compile_for TARGET` does: it compiles the very training step and evaluation of a
configuration, prints what they need of a device, and finds settings that fit where the given ones do not.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh

from fgnet_jax.runtime import compiled, sharding, topologies
from fgnet_jax.runtime.compiled import Program, gib
from fgnet_jax.runtime.topologies import Target
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import planned, proposals, run
from fgnet_jax.train.defaults import Config
from fgnet_jax.train.planned import PlannedRun
from fgnet_jax.train.proposals import Setting, Trial
from fgnet_jax.train.targets import INTENSITY

Report = Callable[[str], None]
"""Prints a line."""

TRAINING, EVALUATION = "training step", "evaluation"


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The programs of a run on a target, traced and compiled when they are needed.

    Attributes:
      config: The run's configuration.
      target: The devices.
      aus: AUs that are trained.
      steps: Steps of the run; None if not known.
    """

    config: Config
    target: Target
    aus: tuple[int, ...]
    steps: int | None

    @functools.cached_property
    def layout(self) -> sharding.Sharding:
        """Placement of arrays on the devices."""
        return sharding.create(self.config.train.shard_params, devices=self.target.devices)

    @functools.cached_property
    def arguments(self) -> tuple[Any, dict[str, jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]:
        """Shapes of the state, a batch and a key, each with its placement."""
        shapes = run.state_shapes(self._step, self._schedule_end)
        key = jax.eval_shape(lambda: jax.random.key(0))
        placed_key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=self.layout.replicated)
        return compiled.placed(shapes, self.layout.of(shapes)), self._batch(self.config.train.batch_size), placed_key

    @property
    def argument_bytes(self) -> int:
        """Bytes of the training step's arguments on a device."""
        return compiled.size_on_device(self.arguments)

    def training(self) -> Program:
        """Compile the training step."""
        size, parts = self.config.train.batch_size, self.config.train.accumulate
        known = {"arguments": self.argument_bytes, "repeats": parts}
        return self._compile(lambda: self._steps.train.lower(*self.arguments), size, **known)

    def evaluation(self) -> Program:
        """Compile the evaluation of a batch; the optimiser's state stays in memory beside it."""
        size, state = self.config.train.eval_batch_size, self.arguments[0]
        batch = self._batch(size)
        batch["index"] = self._split((size,), np.int32)
        batch["valid"] = self._split((size,), np.bool_)
        arguments = state.variables, batch
        beside = compiled.size_on_device(state) - compiled.size_on_device(state.variables)
        known = {"arguments": compiled.size_on_device(arguments), "beside": beside}
        return self._compile(lambda: self._steps.evaluate.lower(*arguments), size, **known)

    def _compile(self, lower: Callable[[], jax.stages.Lowered], images: int, **known: int) -> Program:
        model = self._step.model
        return compiled.compile_program(
            lower,
            self.target,
            images=images // len(self.target.devices),
            **known,
            float32=model.matmul_precision if model.dtype == "float32" else None,
        )

    @functools.cached_property
    def _step(self) -> Any:  # noqa: ANN401 - StepConfig, by the configuration's keys
        return config_lib.step_config(self.config, self.aus)

    @property
    def _schedule_end(self) -> int:
        return 0 if self._step.optim.schedule == "constant" else self.steps or 1

    @functools.cached_property
    def _steps(self) -> Any:  # noqa: ANN401 - CompiledSteps, whose fields are jitted functions
        return run.compile_steps(self._step, self._schedule_end, self.layout)

    def _batch(self, size: int) -> dict[str, jax.ShapeDtypeStruct]:
        side, labels = self.config.model.image_size, (size, len(self.aus))
        shapes = {
            "image": self._split((size, side, side, 3), np.uint8),
            "landmarks": self._split((size, config_lib.NUM_LANDMARKS, 2), np.float32),
            "labels": self._split(labels, np.int8),
        }
        if self._step.target == INTENSITY:
            shapes["intensities"] = self._split(labels, np.float32)
        return shapes

    def _split(self, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:  # noqa: ANN401 - a NumPy dtype
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self.layout.batch)


def compile_for(config: Config, target: Target, *, command: str, report: Report, output: Report = print) -> bool:
    """Compile a run for a target, print what it needs, and propose what fits where it does not.

    Args:
      config: The run's configuration.
      target: The devices.
      command: The command that trains, for the proposal: what was given, without `--compile_for`.
      report: Prints lines of progress.
      output: Prints the result.

    Returns:
      Whether the run fits.

    Raises:
      ConfigError: The configuration cannot be run, or not on so many devices.
    """
    config_lib.check_divides(config, len(target.devices))
    plan = planned.plan(config)
    output(f"{target.name}: {_devices(target)}; {plan.remark}")
    given = Prepared(config, target, plan.aus, plan.steps)
    programs = {TRAINING: _timed(TRAINING, given.training, report)}
    if programs[TRAINING].fits(target.chip):
        programs[EVALUATION] = _timed(EVALUATION, given.evaluation, report)
    output(compiled.table(programs, target.chip))
    if all(program.fits(target.chip) for program in programs.values()):
        output(f"fits. {duration(programs, config, plan)}")
        return True
    for name, program in programs.items():
        if not program.fits(target.chip):
            output(compiled.does_not_fit(name, program, target.chip))
    found = _propose(given, programs, report)
    if found is None:
        output("nothing that was tried fits")
    else:
        what, flags = found
        output(f"this fits on {what}:\n  {' '.join([command, *flags])}")
    return False


def duration(programs: Mapping[str, Program], config: Config, plan: PlannedRun) -> str:
    """Return how long a run takes at least, by the roofline of its programs."""
    step, evaluation, size = programs[TRAINING], programs[EVALUATION], config.train.batch_size
    if not step.seconds:
        return "There is no roofline for it: `python -m benchmarks` measures this machine."
    what = "1,000 steps" if plan.steps is None else f"the run's {plan.steps:,} steps"
    training = step.seconds * (plan.steps or 1000)
    pace = f"At most {compiled.three_digits(size / step.seconds)} images/s on all devices"
    text = f"{pace}, so {what} of {size} images take {_time(training)} at least"
    if plan.steps is None or plan.evaluated is None or not evaluation.seconds:
        return f"{text}, without evaluation"
    evaluated = plan.evaluated / config.train.eval_batch_size * evaluation.seconds
    whole = _time(training + evaluated)
    return f"{text}; {whole} with evaluation, of {plan.evaluated:,} faces in all epochs and at the end"


def _time(seconds: float) -> str:
    """Format seconds with a fitting unit."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"


def _devices(target: Target) -> str:
    count, hosts = len(target.devices), target.hosts
    return f"{count} {target.kind}" + (f" on {hosts} hosts" if hosts > 1 else "")


def _timed(name: str, compile_it: Callable[[], Program], report: Report) -> Program:
    report(f"compiling the {name}")
    program, seconds = compiled.timed(compile_it)
    ended = f"is refused: {program.refusal}" if program.refusal else f"needs {gib(program.needed)} a device"
    report(f"the {name} {ended} (compiled in {seconds:.0f} s)")
    return program


def _propose(given: Prepared, programs: dict[str, Program], report: Report) -> tuple[str, list[str]] | None:
    """Return a target, what it then does, and the flags with which the run fits it; None if nothing does."""
    setting = chosen = _setting(given)
    figures = ""
    if not programs[TRAINING].fits(given.target.chip):
        found = proposals.search(
            _trial(setting, programs[TRAINING], given),
            proposals.candidates(setting),
            attempt=lambda candidate: _attempt(given, candidate, report),
            arguments=functools.partial(_argument_bytes, given),
            memory=given.target.chip.memory,
            report=report,
        )
        if found is None:
            return None
        chosen = found.setting
        figures = f" with {gib(found.needed)} of {gib(given.target.chip.memory or None)}"
        if found.seconds:
            figures += f", at most {compiled.three_digits(chosen.batch_size / found.seconds)} images/s"
    prepared = _with(given, chosen)
    size = _evaluated_at_once(prepared, report, is_refused=EVALUATION in programs)
    if size is None:
        return None
    changed = [f"--config.train.eval_batch_size={size}"] if size != given.config.train.eval_batch_size else []
    flags = dataclasses.replace(chosen, target=setting.target).flags(setting)
    return chosen.target + figures, flags + changed


def _evaluated_at_once(prepared: Prepared, report: Report, *, is_refused: bool) -> int | None:
    """Return the largest `eval_batch_size` that fits of the configured one, its half, …; None if none does.

    Args:
      prepared: A run whose training fits.
      report: Prints lines of progress.
      is_refused: Whether the configured size is known not to fit.
    """
    size, devices = prepared.config.train.eval_batch_size, len(prepared.target.devices)
    if is_refused:
        size //= 2
    while size and size % devices == 0:
        config = prepared.config.copy_and_resolve_references()
        config.train.eval_batch_size = size
        tried = dataclasses.replace(prepared, config=config)
        report(f"trying: --config.train.eval_batch_size={size}")
        if _timed(EVALUATION, tried.evaluation, report).fits(prepared.target.chip):
            return size
        size //= 2
    return None


def _setting(given: Prepared) -> Setting:
    train = given.config.train
    return Setting(
        target=given.target.name,
        devices=len(given.target.devices),
        batch_size=train.batch_size,
        accumulate=train.accumulate,
        remat=given.config.model.remat,
        shard_params=train.shard_params,
    )


def _with(given: Prepared, setting: Setting) -> Prepared:
    """Return the run with another setting."""
    same = setting.target == given.target.name
    target = given.target if same else topologies.open_target(setting.target)
    config = setting.apply(given.config)
    devices = len(target.devices)
    if config.train.eval_batch_size % devices:
        config.train.eval_batch_size = devices
    return dataclasses.replace(given, config=config, target=target)


def _argument_bytes(given: Prepared, setting: Setting) -> int:
    """Compute the bytes of a setting's arguments on a device, without its devices, and without tracing it."""
    state, batch, _ = given.arguments
    mesh = AbstractMesh((setting.devices,), (sharding.AXIS,), axis_types=(AxisType.Auto,))
    layout = sharding.Sharding(cast(Mesh, mesh), setting.shard_params)
    an_image = compiled.size_on_device(batch) / given.config.train.batch_size * len(given.target.devices)
    images = setting.batch_size // setting.devices
    return compiled.size_on_device(compiled.placed(state, layout.of(state))) + int(images * an_image)


def _attempt(given: Prepared, setting: Setting, report: Report) -> Trial:
    prepared = _with(given, setting)
    return _trial(setting, _timed(TRAINING, prepared.training, report), prepared)


def _trial(setting: Setting, program: Program, prepared: Prepared) -> Trial:
    fits = program.fits(prepared.target.chip)
    return Trial(setting, fits, arguments=program.arguments, needed=program.needed, seconds=program.seconds)

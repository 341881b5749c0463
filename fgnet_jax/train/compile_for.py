"""Compile before you rent: the programs of a run, compiled for devices that are not there.

What `python -m fgnet_jax.train --compile_for TARGET` does: it compiles the very training step and evaluation of a
configuration, prints what they need of a device, and finds settings that fit where the given ones do not.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fgnet_jax.runtime import compiled, sharding, topologies
from fgnet_jax.runtime.compiled import Program, gib
from fgnet_jax.runtime.topologies import Target
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import planned, proposals, run
from fgnet_jax.train.defaults import Config
from fgnet_jax.train.proposals import Setting, Trial

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
        size = self.config.train.batch_size
        return self._compile(lambda: self._steps.train.lower(*self.arguments), size, arguments=self.argument_bytes)

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
        side = self.config.model.image_size
        return {
            "image": self._split((size, side, side, 3), np.uint8),
            "landmarks": self._split((size, config_lib.NUM_LANDMARKS, 2), np.float32),
            "labels": self._split((size, len(self.aus)), np.int8),
        }

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
        output(f"fits. {duration(programs[TRAINING], config, target, plan.steps)}")
        return True
    for name, program in programs.items():
        if not program.fits(target.chip):
            output(compiled.does_not_fit(name, program, target.chip))
    found = _propose(given, programs, report)
    if found is None:
        output("nothing that was tried fits")
    else:
        where, flags = found
        output(f"this fits on {where}:\n  {' '.join([command, *flags])}")
    return False


def duration(program: Program, config: Config, target: Target, steps: int | None) -> str:
    """Return how long the training of a run takes at least, by the roofline of its step."""
    if not program.seconds:
        return f"How fast {target.kind} is, is not known here."
    together = config.train.batch_size / program.seconds
    what = "1,000 steps" if steps is None else f"the run's {steps:,} steps"
    seconds = program.seconds * (steps or 1000)
    hours = f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"
    pace = f"At most {compiled.three_digits(together)} images/s on all devices"
    return f"{pace}, so {what} of {config.train.batch_size} images take {hours} at least, without evaluation"


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
    """Return a target and the flags with which the run fits it; None if nothing that was tried does."""
    setting = chosen = _setting(given)
    if not programs[TRAINING].fits(given.target.chip):
        found = proposals.search(
            _trial(setting, programs[TRAINING], given),
            proposals.candidates(setting),
            attempt=lambda candidate: _attempt(given, candidate, report),
            arguments=lambda candidate: _with(given, candidate).argument_bytes,
            memory=given.target.chip.memory,
            report=report,
        )
        if found is None:
            return None
        chosen = found.setting
    prepared = _with(given, chosen)
    size = _evaluated_at_once(prepared, report, is_refused=EVALUATION in programs)
    if size is None:
        return None
    changed = [f"--config.train.eval_batch_size={size}"] if size != given.config.train.eval_batch_size else []
    return chosen.target, dataclasses.replace(chosen, target=setting.target).flags(setting) + changed


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


def _attempt(given: Prepared, setting: Setting, report: Report) -> Trial:
    prepared = _with(given, setting)
    return _trial(setting, _timed(TRAINING, prepared.training, report), prepared)


def _trial(setting: Setting, program: Program, prepared: Prepared) -> Trial:
    fits = program.fits(prepared.target.chip)
    return Trial(setting=setting, fits=fits, arguments=program.arguments, needed=program.needed)

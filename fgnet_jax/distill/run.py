"""A distillation and its start: teachers and faces, what may be tested, the workdir, and the jitted steps."""

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from fgnet_jax.aus import label as au_label
from fgnet_jax.distill import cache, settings, steps
from fgnet_jax.distill import teachers as teachers_lib
from fgnet_jax.distill.faces import FaceInputs
from fgnet_jax.distill.steps import Batch, StepConfig
from fgnet_jax.distill.teachers import Teacher
from fgnet_jax.media.sources import Source
from fgnet_jax.models import fgnet
from fgnet_jax.models.ops import gathering, platforms
from fgnet_jax.models.ops.cpu import compiler_options
from fgnet_jax.predict import input_files
from fgnet_jax.predict.pipeline import PredictOptions
from fgnet_jax.runtime import sharding
from fgnet_jax.train import ancestry, loggers, workdirs
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.state import TrainState

FACES = "faces"
"""Folder of the cache in a workdir."""

INPUTS = "inputs.json"
"""File of a workdir: of which teachers, faces and options its student is; it stays when the cache is deleted."""


@dataclasses.dataclass(frozen=True)
class DistillRequest:
    """What a command line asks for.

    Attributes:
      teachers: Weights directories, or workdirs of runs.
      sources: Images and videos; may be none where the configuration names a corpus.
      options: How faces are found in them.
      output: The workdir.
      config: The configuration.
    """

    teachers: Sequence[str]
    sources: Sequence[Source]
    options: PredictOptions
    output: Path
    config: Config


@dataclasses.dataclass(frozen=True, eq=False)
class DistillRun:
    """Everything that stays the same during a run.

    Attributes:
      config: Its configuration.
      workdir: Its folder.
      teachers: The teachers.
      inputs: The faces that they see.
      step: What its steps are compiled for.
      layout: Placement of arrays on devices.
      train: State, batch and random key to the next state and the step's metrics.
      evaluate: Variables and batch to scores and errors (`steps.evaluate_step`).
      remarks: What its user should know before it starts, a line each.
    """

    config: Config
    workdir: Path
    teachers: tuple[Teacher, ...]
    inputs: FaceInputs
    step: StepConfig
    layout: sharding.Sharding
    train: Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]
    evaluate: Callable[[fgnet.Variables, Batch], dict[str, jax.Array]]
    remarks: tuple[str, ...]

    @property
    def aus(self) -> tuple[int, ...]:
        """The student's AUs, in channel order."""
        return self.inputs.aus

    @property
    def cache(self) -> Path:
        """The folder of faces and heatmaps."""
        return self.workdir / FACES

    def file_sizes(self) -> dict[str, int]:
        """Return the bytes of each file that faces are found in, by name."""
        facts = {source.name: input_files.facts(source.path) for source in self.inputs.sources}
        return {name: found["bytes"] for name, found in facts.items() if found}

    def cache_settings(self) -> dict[str, Any]:
        """Return what decides the content of the cache, ready for JSON; it reads the teachers' values."""
        data, options = self.inputs.data, self.inputs.options
        files_found = None
        if self.inputs.sources:
            size = max(self.inputs.sides)
            found = {"every": options.every, "names": [source.name for source in self.inputs.sources]}
            files_found = found | options.finder_options(size).describe()
        corpus = None
        if data is not None:
            corpus = {key: self.config.data[key] for key in ("corpus", "fold", "seed", "samples", "held_out")}
            corpus |= {"also_train": list(self.config.data.also_train), "eval_frames": self.config.train.eval_frames}
            corpus |= {"fingerprints": [identity.fingerprint for identity in data.train.corpus.identities]}
        return {
            "teachers": [teacher.describe() for teacher in self.teachers],
            "joined": teachers_lib.RULE if len(self.teachers) > 1 else "",
            "aus": list(self.aus),
            "image_size": self.step.model.image_size,
            "map_size": self.step.model.map_size,
            "files": files_found,
            "corpus": corpus,
        }


def prepare(request: DistillRequest) -> DistillRun:
    """Check a request, open the teachers and the corpus, and set up the steps; nothing is compiled yet.

    Raises:
      ConfigError: It cannot be carried out, or the workdir was begun with another configuration.
      WeightsError: A teacher is no weights directory, or detects no AUs.
      FileNotFoundError: The corpus is not prepared.
    """
    config, layout = config_lib.with_home(request.config), sharding.create()
    settings.check(config, layout.mesh.size, bool(request.sources))
    check_same(config, request.output)
    loggers.check(config.train.loggers)
    teachers = teachers_lib.open_all(request.teachers, config.distill.teacher_fold)
    aus = teachers_lib.union(teachers)
    step = settings.step_config(config, aus)
    data = settings.open_data(config)
    if data is not None:
        for teacher in teachers:
            ancestry.check_tests(teacher.links, data, teacher.name, fold_key="distill.teacher_fold")
        if not set(data.test.corpus.aus) & set(aus):
            raise ConfigError(f"{data.test.corpus.name} and the teachers have no AU in common")
    sides = dict.fromkeys(teacher.config.image_size for teacher in teachers)
    sides.pop(step.model.image_size, None)
    inputs = FaceInputs(request.sources, request.options, data, (*sides, step.model.image_size), aus)
    return DistillRun(
        config=config,
        workdir=request.output,
        teachers=teachers,
        inputs=inputs,
        step=step,
        layout=layout,
        train=compile_train(step, layout),
        evaluate=compile_evaluate(step, layout),
        remarks=(f"The student's AUs: {', '.join(map(au_label, aus))}", *teachers_lib.remarks(teachers)),
    )


def check_same(config: Config, workdir: Path) -> None:
    """Check that a run can be resumed in this workdir: it is new, or was begun with the same configuration.

    Raises:
      ConfigError: It was begun with another one; the message lists what differs, but for `RESUMABLE_KEYS`.
    """
    stored = workdirs.read_json(workdir / workdirs.CONFIG)
    if stored is None:
        return
    if not isinstance(stored, dict) or not isinstance(stored.get("distill"), dict):
        raise ConfigError(f"{workdir / workdirs.CONFIG}: not the configuration of a student; give another --output")
    lines = config_lib.differences(stored, json.loads(json.dumps(config.to_dict())))
    lines = [line for line in lines if not line.startswith(tuple(f"{key}:" for key in settings.RESUMABLE_KEYS))]
    if lines:
        text = "\n  ".join(lines)
        raise ConfigError(f"{workdir} was begun with another configuration; give another --output\n  {text}")


def check_inputs(workdir: Path, settings: Mapping[str, Any]) -> None:
    """Check that a student has learnt from the same teachers and faces, whether its cache is still there or not.

    Raises:
      CacheError: It was begun with others; the message lists what differs.
      ConfigError: What it recorded is damaged.
    """
    stored = workdirs.read_json(workdir / INPUTS)
    if stored is None:
        return
    if not isinstance(stored, dict):
        raise ConfigError(f"{workdir / INPUTS}: damaged; give another --output")
    if lines := cache.settings_differences(stored, settings):
        text = "\n  ".join(lines)
        raise cache.CacheError(
            f"{workdir} was begun with other teachers, faces or options; go on with those, or give another --output:"
            f"\n  {text}"
        )


@functools.lru_cache(maxsize=4)  # several runs of one process compile once
def compile_train(
    step: StepConfig, layout: sharding.Sharding
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, jax.Array]]]:
    """Jit the training step; the state is on every device, batches are split over them."""
    traced = platforms.traced_for(layout.platform, functools.partial(steps.train_step, step))
    return jax.jit(
        gathering.traced_as(layout.kernels, layout.images, traced),
        in_shardings=(layout.replicated, layout.batch, layout.replicated),
        out_shardings=layout.replicated,
        donate_argnums=0,
        compiler_options=compiler_options.training(layout.platform),
    )


@functools.lru_cache(maxsize=4)
def compile_evaluate(
    step: StepConfig, layout: sharding.Sharding
) -> Callable[[fgnet.Variables, Batch], dict[str, jax.Array]]:
    """Jit the comparison with the teachers."""
    traced = platforms.traced_for(layout.platform, functools.partial(steps.evaluate_step, step))
    return jax.jit(
        gathering.traced_as(layout.kernels, layout.images, traced),
        out_shardings=layout.replicated,
        compiler_options=compiler_options.inference(layout.platform, is_small=True),
    )

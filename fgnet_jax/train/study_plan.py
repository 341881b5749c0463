"""The plan of a study, before any work: what is done, what will be trained, for how long, and on how much disk."""

import contextlib
import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from fgnet_jax.aus import SYNTHETIC
from fgnet_jax.data import folds
from fgnet_jax.data.corpus import CorpusError, corpus_folds, find_corpus
from fgnet_jax.models import weights
from fgnet_jax.runtime.files import NotWritableError
from fgnet_jax.train import ancestry, initial_weights, pace, planned, run, workdirs
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.config import Config, ConfigError
from fgnet_jax.train.pace import Pace
from fgnet_jax.train.study import Study

NOT_KNOWN = "not known"
"""What stands for a number that nothing says."""

_REFUSALS = (ConfigError, CorpusError, weights.WeightsError, NotWritableError, FileNotFoundError)


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """What is planned for a run.

    Attributes:
      name: Its name.
      is_done: Whether it has its results; the rest is of no interest then.
      holder: Which process trains it now, in words; None if none does.
      saved: Steps that are saved.
      steps: Steps that it has; None where the number of its faces is not known.
      seconds: How long it takes from here; None where that is not known.
      disk: How many bytes it adds until it is finished.
      peak: How many bytes more it needs on its way, at most.
      faces: What the number of steps was taken from.
      is_prepared: Whether its corpora are there.
      refusal: Why it cannot be trained; "" if it can.
    """

    name: str
    is_done: bool = False
    holder: str | None = None
    saved: int = 0
    steps: int | None = None
    seconds: float | None = None
    disk: int = 0
    peak: int = 0
    faces: str = ""
    is_prepared: bool = True
    refusal: str = ""


@dataclasses.dataclass(frozen=True)
class StudyPlan:
    """What is planned for a study.

    Attributes:
      folder: Folder of its runs.
      runs: Its runs, in the order of the work.
      paces: What the times were taken from, in words.
    """

    folder: Path
    runs: tuple[RunPlan, ...]
    paces: tuple[str, ...]

    @property
    def remaining(self) -> list[RunPlan]:
        """The runs that are to be trained."""
        return [run_plan for run_plan in self.runs if not run_plan.is_done]

    @property
    def refusal(self) -> str:
        """Why a run cannot be trained, with its name; "" if all can."""
        found = [run_plan for run_plan in self.remaining if run_plan.refusal]
        more = f"; and {len(found) - 1} more of the study's runs cannot be trained" if len(found) > 1 else ""
        return f"{found[0].name}: {found[0].refusal}{more}" if found else ""


def make(study: Study) -> StudyPlan:
    """Plan a study; nothing is rendered or trained."""
    measured = _paces(study)
    return _joined(study, [_plan(study, name, measured[name]) for name in study.configs], measured)


def refreshed(plan: StudyPlan, study: Study) -> StudyPlan:
    """Return a study's plan after runs were trained: what is left, by the pace that is known now."""
    measured, runs = _paces(study), []
    for run_plan in plan.runs:
        saved = workdirs.saved_step(study.workdir(run_plan.name))
        seconds = _seconds(study.configs[run_plan.name], measured[run_plan.name], run_plan.steps, saved)
        is_done = study.is_done(run_plan.name)
        runs.append(dataclasses.replace(run_plan, is_done=is_done, saved=saved, seconds=seconds))
    return _joined(study, runs, measured)


def _joined(study: Study, runs: Sequence[RunPlan], measured: Mapping[str, Pace | None]) -> StudyPlan:
    sources = dict.fromkeys(found.source for found in measured.values() if found)
    return StudyPlan(study.folder, tuple(runs), tuple(sources))


def _paces(study: Study) -> dict[str, Pace | None]:
    """Return the pace of every run on this machine, by its name; None where it is not known."""
    device = jax.devices()[0]
    devices = {"kind": device.device_kind, "platform": device.platform, "count": jax.device_count()}
    kinds = {name: pace.kind(config) for name, config in study.configs.items()}
    examples = {kinds[name]: config for name, config in study.configs.items()}
    known = {kind: pace.of_runs(config, study.folder, devices) for kind, config in examples.items()}
    return {name: known[kind] for name, kind in kinds.items()}


def _plan(study: Study, name: str, measured: Pace | None) -> RunPlan:
    """Plan a run; what it is refused for is part of the plan, so that the others' plan is seen."""
    config, workdir = study.configs[name], study.workdir(name)
    try:
        if study.is_done(name):
            return RunPlan(name, is_done=True)
        config_lib.check_seeds(config)
        config_lib.check_divides(config, jax.device_count())
        _check_corpora(config)
        faces = planned.plan(config)
        refusal = _check(config, workdir, faces.aus)
    except _REFUSALS as error:
        return RunPlan(name, refusal=str(error))
    is_begun = (workdir / workdirs.CONFIG).exists()
    peak, kept = run.disk_needed(config, is_begun), run.disk_needed(config, False) - run.disk_needed(config, True)
    saved = workdirs.saved_step(workdir)
    return RunPlan(
        name=name,
        holder=study.holder(name),
        saved=saved,
        steps=faces.steps,
        seconds=_seconds(config, measured, faces.steps, saved),
        disk=0 if is_begun else max(kept, (measured and measured.disk) or 0),
        peak=peak - (0 if is_begun else kept),
        faces=faces.remark,
        is_prepared=planned.is_prepared(config),
        refusal=refusal,
    )


def _check_corpora(config: Config) -> None:
    """Refuse corpora that are there more than once, and a fold that a run's corpus does not have, if they are known."""
    data = config.data
    try:
        for name in (data.corpus, *data.also_train, *data.also_test):
            with contextlib.suppress(FileNotFoundError):
                _ = name.startswith(SYNTHETIC) or find_corpus(name, data.dir)
        folds.train_splits(data.fold, corpus_folds(data.corpus, data.dir))
    except FileNotFoundError:
        return  # `_check` says that it is missing
    except ValueError as error:
        raise ConfigError(f"data: {error}") from error


def _check(config: Config, workdir: Path, aus: tuple[int, ...]) -> str:
    """Return why a run cannot be trained, of what is known before it starts; "" if it can."""
    config_lib.step_config(config, aus)
    earlier = ancestry.earlier_links(config, workdir)
    if config.init_from and not workdirs.has_checkpoint(workdir):
        meta = weights.load_meta(config.init_from)
        initial_weights.check_network(meta, config_lib.model_config(config), config.init_from)
    if missing := planned.missing_corpora(config):
        return f"{' and '.join(missing)} must be prepared first: there is none in {config.data.dir}"
    if planned.is_prepared(config):
        run.open_data(config, workdir, earlier)
    return ""


def _seconds(config: Config, measured: Pace | None, steps: int | None, saved: int) -> float | None:
    if measured is None or steps is None:
        return None
    every = config.train.get("evaluate_steps") or steps / config.train.epochs
    return measured.seconds(steps - saved, (steps - saved) / every)


def as_text(plan: StudyPlan) -> str:
    """Return a plan as the terminal shows it."""
    lines = [_counts(plan), *_run_lines(plan)]
    absent = dict.fromkeys(run_plan.faces for run_plan in plan.remaining if not run_plan.is_prepared)
    lines += [f"Steps: {line}" for line in absent if line]
    if any(not run_plan.refusal for run_plan in plan.remaining):
        lines += [time_line(plan), _disk_line(plan)]
    return "\n".join(lines)


def _counts(plan: StudyPlan) -> str:
    done, begun = len(plan.runs) - len(plan.remaining), sum(1 for run_plan in plan.remaining if run_plan.saved)
    refused = sum(1 for run_plan in plan.remaining if run_plan.refusal and not run_plan.saved)
    rest = len(plan.remaining) - begun - refused
    text = f"{_runs(len(plan.runs))} in {plan.folder}: {done} done, {begun} begun, {rest} to begin"
    return text + (f", {refused} that cannot be" if refused else "")


def _run_lines(plan: StudyPlan) -> list[str]:
    width = max(len(run_plan.name) for run_plan in plan.runs)
    return [f"  {run_plan.name:<{width}}  {_state(run_plan)}" for run_plan in plan.runs]


def _state(run_plan: RunPlan) -> str:
    if run_plan.is_done:
        return "done"
    if run_plan.refusal:
        return f"cannot be trained: {run_plan.refusal}"
    steps = NOT_KNOWN if run_plan.steps is None else f"{run_plan.steps:,}"
    to_begin = f"{steps} steps" if run_plan.steps is not None else f"steps {NOT_KNOWN}"
    parts = [f"step {run_plan.saved:,} of {steps}" if run_plan.saved else to_begin]
    parts.append("time not known" if run_plan.seconds is None else duration(run_plan.seconds))
    parts += [run_plan.faces] if run_plan.is_prepared else []
    return ", ".join(parts) + (f"; trained now by {run_plan.holder}" if run_plan.holder else "")


def time_line(plan: StudyPlan) -> str:
    """Return how long the remaining runs take, in words; of a part of them, this is not said of all."""
    known = [run_plan.seconds for run_plan in plan.remaining if run_plan.seconds is not None]
    unknown = len(plan.remaining) - len(known)
    if not known:
        return (
            f"Time: {NOT_KNOWN}: no run of this network and corpus has measured it in {plan.folder} on such a machine"
        )
    by = f"one process, at most about, by {'; by '.join(plan.paces)}"
    rest = f"; {unknown} more {'run' if unknown == 1 else 'runs'}: {NOT_KNOWN}" if unknown else ""
    return f"Time: {duration(sum(known))} for {_runs(len(known))} by {by}{rest}"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _disk_line(plan: StudyPlan) -> str:
    adds = sum(run_plan.disk for run_plan in plan.remaining)
    peak = max(run_plan.peak for run_plan in plan.remaining)
    folder = next(path for path in (plan.folder, *plan.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"Disk: {_gib(adds)} more, and {_gib(peak)} on the way for each process; {_gib(free)} are free"
    return text + ("\nWARNING: that is not enough" if adds + peak > free else "")


def duration(seconds: float) -> str:
    """Return a duration in words: `3 d 4 h`, `3 h 20 min`, `4 min`, `20 s`."""
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{minutes // 1440} d {minutes % 1440 // 60} h"
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

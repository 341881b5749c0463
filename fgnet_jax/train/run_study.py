"""What the training command does with a study: its runs from the command line, its plan, its work, its last line."""

from collections.abc import Sequence

from fgnet_jax.runtime import command_line as runtime_command_line
from fgnet_jax.train import command_line, study_arguments, study_plan, workdirs
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import study as study_lib
from fgnet_jax.train.defaults import Config, ConfigError
from fgnet_jax.train.study import Outcome, Study
from fgnet_jax.train.study_plan import StudyPlan

RUNS = "runs"
"""Folder of runs where no other is given."""


def of_command(runs: Sequence[Sequence[str]], config: Config | None, workdir: str | None) -> Study:
    """Return the study that a command line names.

    Args:
      runs: A command line for each of its runs (`study_arguments.single_runs`).
      config: The configuration of a command line that names one run.
      workdir: The value of --workdir: the folder of the runs, or of the one run.

    Raises:
      ConfigError: A configuration cannot be loaded, two runs would have one folder, or the folder of the runs is one.
    """
    if config is not None:
        folder = config_lib.folder(workdir or f"{RUNS}/{config.name}")
        return Study({folder.name: config_lib.with_home(config)}, folder.parent)
    folder = config_lib.folder(workdir or RUNS)
    if (folder / workdirs.CONFIG).exists():
        raise ConfigError(
            f"--workdir {folder} is the folder of a run; of a study, it is the folder that its runs are in"
        )
    return Study.of([_config(words) for words in runs], folder)


def _config(words: Sequence[str]) -> Config:
    """Load the configuration of one run's command line."""
    config = study_arguments.parse_config(words)
    study_arguments.check_chosen(words, config)
    return config


def run(study: Study, *, only_one: bool, dry_run: bool) -> int:
    """Print the plan of a study, and train what is not done; return the exit status.

    Args:
      study: The study.
      only_one: Whether to train the next run that is free, and end.
      dry_run: Whether to end after the plan.

    Raises:
      ConfigError: A run cannot be trained; found before any work, for whichever run.
    """
    plan = study_plan.make(study)
    print(study_plan.as_text(plan), flush=True)
    if plan.refusal:
        raise ConfigError(plan.refusal)
    if dry_run:
        return 0
    if only_one:
        return _end(study, study_lib.train_one(study, _say))
    return _end(study, study_lib.train(study, _say, after_run=lambda: _say_rest(plan, study)))


def _say_rest(plan: StudyPlan, study: Study) -> None:
    """Print how much of a study is left, if anything is."""
    rest = study_plan.refreshed(plan, study)
    if rest.remaining:
        _say(f"{len(rest.remaining)} of {len(rest.runs)} runs are left. {study_plan.time_line(rest)}")


def _say(text: str) -> None:
    print(text, flush=True)


def _end(study: Study, outcome: Outcome) -> int:
    """Print how a study ended, or this process' part of it; return the exit status."""
    done = sum(map(study.is_done, study.configs))
    _say(f"\n{done} of {len(study.configs)} runs in {study.folder} are done, {len(outcome.trained)} by this process")
    for name, holder in outcome.held.items():
        _say(f"{name} is held by {holder}")
    if not outcome.diverged:
        return 0
    names = ", ".join(outcome.diverged)
    return runtime_command_line.fail(command_line.COMMAND, f"the loss is not finite in {names}: see above", 1)

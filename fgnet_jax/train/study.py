"""A study: runs that one command names, in a folder each, one after the other; what is done is not done again.

    RUNS/NAME           workdir of a run, as training writes it
    RUNS/.study/NAME    lock of a run: whoever holds it trains that run

Processes that share the folder (of several cards, or of several machines on one file system) share the work: each
trains the first run that is neither done nor held. A lock ends with its process (`runtime.leases`), and the run is then
resumed by the next. A process that finds every remaining run held waits, so that it takes over what another leaves
undone; when it ends, the study is done.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fgnet_jax.runtime import files, leases
from fgnet_jax.train import config as config_lib
from fgnet_jax.train import loop, workdirs
from fgnet_jax.train.defaults import Config, ConfigError

LOCKS = ".study"
"""Folder of a study's locks, in the folder of its runs."""

Say = Callable[[str], None]
"""Prints a line."""

_POLL_SECONDS = 2.0  # between two looks at runs that are held


@dataclasses.dataclass(frozen=True)
class Study:
    """Runs to train.

    Attributes:
      configs: A configuration for each run, by the name of its folder, in the order of the work.
      folder: Folder of the runs.
    """

    configs: Mapping[str, Config]
    folder: Path

    @classmethod
    def of(cls, configs: Sequence[Config], folder: Path) -> "Study":
        """Create a study of runs that are called as their configurations are.

        Raises:
          ConfigError: Two have the same name, or a user's home folder in one cannot be found.
        """
        by_name: dict[str, Config] = {}
        for config in map(config_lib.with_home, configs):
            if config.name in by_name:
                raise ConfigError(f"two runs of the study would both be {folder / config.name}: name each of them once")
            by_name[config.name] = config
        return cls(by_name, folder)

    def workdir(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.folder / name

    def lock(self, name: str) -> Path:
        """Return the file of a run's lock."""
        return self.folder / LOCKS / name.replace("/", "_")

    def is_done(self, name: str) -> bool:
        """Return whether a run has its results: of all epochs that it is to have, and of its last start.

        Raises:
          ConfigError: Its folder was begun with another configuration.
        """
        config, workdir = self.configs[name], self.workdir(name)
        config_lib.check_same(config, workdir)
        results = workdirs.read_json(workdir / workdirs.RESULTS)
        if results is None:
            return False
        stored = config_lib.as_now(workdirs.read_json(workdir / workdirs.CONFIG) or {})
        started = workdirs.read_json(workdir / workdirs.PROVENANCE) or {}
        # Epochs that were added, and killed on their way, have left the results of before.
        is_of_last_start = results.get("provenance", {}).get("time", "~") >= started.get("time", "")
        return stored["train"]["epochs"] >= config.train.epochs and is_of_last_start

    def holder(self, name: str) -> str | None:
        """Return which process trains a run, in words; None if none does."""
        return leases.holder(self.lock(name)) or workdirs.holder(self.workdir(name))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a process' part of a study ended.

    Attributes:
      trained: Names of the runs that it finished.
      diverged: Why each of the runs did not finish whose loss is not finite, by name.
      held: Who holds each of the runs that were left to other processes, by name.
    """

    trained: tuple[str, ...] = ()
    diverged: Mapping[str, str] = dataclasses.field(default_factory=dict)
    held: Mapping[str, str] = dataclasses.field(default_factory=dict)


def train(study: Study, say: Say, *, after_run: Callable[[], None] = lambda: None) -> Outcome:
    """Train every run of a study that is not done; wait for those that other processes train.

    A run whose loss is not finite does not stop the others.

    Args:
      study: The runs.
      say: Prints a line.
      after_run: Called after every run that this process has trained.

    Raises:
      ConfigError: A run cannot be trained as it is configured.
      SystemExit: With status 0: a signal stopped a run, and all is saved.
    """
    outcome, waits_for = Outcome(), frozenset[str]()
    while remaining := _remaining(study, outcome):
        ended = _train_first_free(study, remaining, say)
        if ended is None:
            waits_for = _wait(study, remaining, waits_for, say)
        else:
            outcome = _joined(outcome, ended)
            after_run()
    return outcome


def train_one(study: Study, say: Say) -> Outcome:
    """Train the first run of a study that is neither done nor held; wait for none. See `train`.

    Where its loss is not finite, the next one is trained: the tasks of a job array would else all try the same.
    """
    outcome = Outcome()
    while not outcome.trained and (remaining := _remaining(study, outcome)):
        ended = _train_first_free(study, remaining, say)
        if ended is None:
            return dataclasses.replace(outcome, held=dict(_holders(study, remaining)))
        outcome = _joined(outcome, ended)
    return outcome


def _remaining(study: Study, outcome: Outcome) -> list[str]:
    return [name for name in study.configs if name not in outcome.diverged and not study.is_done(name)]


def _joined(first: Outcome, second: Outcome) -> Outcome:
    return Outcome((*first.trained, *second.trained), {**first.diverged, **second.diverged})


def _train_first_free(study: Study, names: Sequence[str], say: Say) -> Outcome | None:
    """Train the first of these runs that no other process holds or has done; return None if there is none."""
    files.check_writable(study.folder / LOCKS)
    for name in names:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(leases.held(study.lock(name)))
            except files.LockedError:
                continue
            if ended := _train_held(study, name, say):
                return ended
    return None


def _train_held(study: Study, name: str, say: Say) -> Outcome | None:
    """Train a run whose lock is held; return None if it was done meanwhile, or is trained without this lock."""
    if study.is_done(name) or workdirs.holder(study.workdir(name)):
        return None
    say(f"\n[{list(study.configs).index(name) + 1} of {len(study.configs)} runs] {study.workdir(name)}")
    try:
        loop.train(study.configs[name], study.workdir(name))
    except workdirs.HeldError:
        return None
    except loop.NotFiniteError as error:
        say(f"{name}: {error}")
        return Outcome(diverged={name: str(error)})
    return Outcome(trained=(name,))


def _holders(study: Study, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield runs that are held, with who holds them."""
    for name in names:
        if holder := study.holder(name):
            yield name, holder


def _wait(study: Study, remaining: Sequence[str], former: frozenset[str], say: Say) -> frozenset[str]:
    """Wait a moment for runs that other processes train; say for which, where one is not among the former ones."""
    held = dict(_holders(study, remaining))
    if not held.keys() <= former:
        runs = "; ".join(f"{name} ({holder})" for name, holder in held.items())
        say(f"Every run that is left is held. Waiting for {runs}")
    time.sleep(_POLL_SECONDS)
    return former | held.keys()

"""Train FG-Net on a prepared corpus, or on synthetic faces that are rendered first.

    python -m fgnet_jax.train --config demo
    python -m fgnet_jax.train --config disfa:fold=0 --workdir runs/disfa_f0 --config.optim.lr=1e-4
    python -m fgnet_jax.train --config path/to/my.py
    python -m fgnet_jax.train --config disfa:fold=0 --compile_for v5e:4x4
    python -m fgnet_jax.train --config disfa:fold=all,seeds=3 --config bp4d:fold=0-2,seed=7

The last is a study: it trains every run that it names and that is not done, one after the other, in runs/NAME each.
Processes that start the same command share the work; one that finds every run that is left held by others waits, and
takes over what they leave undone. Its plan is printed first, and --dry_run ends there; --only_one trains one run.

With --compile_for, nothing is trained: the programs of the run are compiled for devices that this machine need not
have. Printed are what they need of each device's memory and how fast it may be, and, where they do not fit, settings
with which they do. TPUs need the extra `tpu`, GPUs `cuda`; the corpus may be absent.

A run whose workdir exists is continued: the same command resumes where it was stopped, and ends with the same numbers.

Exit status: 0, also when SIGTERM or Ctrl-C stopped it and all is saved, or when --only_one finds no run that is free;
1 if the loss is not finite (of a study: once its other runs are done), the disk is full,
or the run does not fit the devices of --compile_for; 2 for a wrong command line or a configuration that cannot be run;
130 where Ctrl-C, 143 where SIGTERM came before there was anything new to save, or a second Ctrl-C while it was saved.
"""

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

from fgnet_jax.runtime import command_line as runtime_command_line
from fgnet_jax.runtime import compilation_cache, signals, topologies
from fgnet_jax.train import command_line, study_arguments
from fgnet_jax.train.defaults import ConfigError

_CONFIG = config_flags.DEFINE_config_file("config", None, "the experiment: a configuration's name or file; see below")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run, runs/NAME by default; of a study, of its runs")
_ONLY_ONE = flags.DEFINE_bool("only_one", False, "train the next run of a study that is free, and end: for job arrays")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print what would be trained, for how long, on how much disk, and end")
_MULTIHOST = flags.DEFINE_bool("multihost", False, "train on all hosts that this command was started on")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "address of process 0, if the cluster does not provide it")
_PROCESSES = flags.DEFINE_integer("processes", None, "number of processes, if the cluster does not provide it")
_PROCESS = flags.DEFINE_integer("process", None, "number of this process, if the cluster does not provide it")
_COMPILE_FOR = flags.DEFINE_string(
    "compile_for", None, "compile the run for these devices and say whether it fits: " + topologies.EXPECTED
)
_PROFILE = flags.DEFINE_string(
    "profile", None, "write a trace of these steps, FIRST:LAST such as 10:15, to WORKDIR/profile"
)
_NO_CACHE = flags.DEFINE_bool("no_cache", False, compilation_cache.help_text())
_FLAGS = tuple(
    flag.name
    for flag in (
        *(_CONFIG, _WORKDIR, _ONLY_ONE, _DRY_RUN, _PROFILE, _COMPILE_FOR),
        *(_MULTIHOST, _COORDINATOR, _PROCESSES, _PROCESS, _NO_CACHE),
    )
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; the run itself is `fgnet_jax.train.loop.train`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # On several hosts, JAX has its own handler of SIGTERM.
    is_alone = not command_line.has_flag(arguments, ("--multihost", "-multihost"))
    with signals.EndAtOnce(_report_stop, active=is_alone):
        status = _run(arguments)
    if status:
        runtime_command_line.end(status)  # now: the threads of a save that failed would print behind the message
    sys.exit(0)


def _report_stop(name: str) -> None:
    compiles = flags.FLAGS.is_parsed() and _COMPILE_FOR.value is not None
    when = "" if compiles else " before there was anything new to save"
    runtime_command_line.fail(command_line.COMMAND, f"stopped by {name}{when}", 1)


def _run(arguments: list[str]) -> int:
    """Run the command line; print what stopped it, and return the exit status."""
    try:
        parser = command_line.parser(__doc__ or "", _FLAGS)
        if command_line.has_flag(arguments, ("-h", "--help", "-help", "-?")):
            print(command_line.help_text(parser, arguments), end="")
            return 0
        if command_line.has_flag(arguments, ("--version",)):
            parser.parse_args(["--version"])
        words = command_line.normalize(arguments)
        runs = study_arguments.single_runs(words) if study_arguments.is_study(words) else []
        # ml_collections looks for overrides in sys.argv.
        sys.argv = [sys.argv[0], *(runs[0] if runs else words)]
        app.run(functools.partial(_train, runs, arguments), flags_parser=_parse)
    except SystemExit as ended:
        return int(ended.code or 0)
    except ConfigError as error:
        return runtime_command_line.fail(command_line.COMMAND, error, 2)
    except KeyboardInterrupt:
        line = "interrupted before everything was saved; the same command resumes from the last save"
        return runtime_command_line.fail(command_line.COMMAND, line, runtime_command_line.INTERRUPTED)
    raise AssertionError("app.run exits")


def _parse(argv: list[str]) -> list[str]:
    """Parse flags as absl does, but report usage errors in one line, a wrong key with the nearest existing one."""
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is None:
            command_line.parser(__doc__ or "", _FLAGS).error("--config is required, such as --config demo; see --help")
        _ = _CONFIG.value.name  # a file that cannot be loaded only raises now
        return rest
    except (flags.Error, OSError) as error:
        if "as a ConfigDict" in str(error):  # a section was given a value
            _refuse_overrides(argv)
        command_line.exit_with(command_line.without_traceback(error))
    except (AttributeError, KeyError):
        _refuse_overrides(argv)
        raise


def _refuse_overrides(argv: list[str]) -> None:
    """End with what is wrong with `--config.KEY`; the file is loaded again without these, for the keys that it has."""
    sys.argv = [argument for argument in argv if not argument.startswith("--config.")]
    flags.FLAGS(sys.argv)
    try:
        command_line.check_overrides(argv, _CONFIG.value)
    except ConfigError as refusal:
        command_line.exit_with(refusal)


def _train(runs: list[list[str]], given: Sequence[str], rest: list[str]) -> None:
    """Train the run that the flags describe, or the study of these runs, each a command line; `given` is the user's."""
    if runs or _ONLY_ONE.value or _DRY_RUN.value:
        _train_study(runs, rest)
        return
    if _COMPILE_FOR.value is not None:
        _compile_for(rest, _COMPILE_FOR.value, given)
        return
    import jax  # here and below: after the help and usage errors, which need not wait for JAX

    from fgnet_jax.runtime import devices, logs
    from fgnet_jax.train import config, loop, profiling

    if len(rest) > 1:
        command_line.exit_with(ConfigError(f"unexpected argument {rest[1]!r}"))
    workdir = config.folder(_WORKDIR.value or f"runs/{_CONFIG.value.name}")
    with _together(workdir), _one_line(workdir):
        logs.setup_logging()
        devices.check()
        compilation_cache.enable("train", is_enabled=not _NO_CACHE.value)
        logs.setup_logging(jax.process_index() == 0)
        profile = None if _PROFILE.value is None else profiling.parse(_PROFILE.value)
        loop.train(_CONFIG.value, workdir, profile=profile)


def _train_study(runs: list[list[str]], rest: list[str]) -> None:
    """Plan a study, and train its runs that are not done."""
    if len(rest) > 1:
        command_line.exit_with(ConfigError(f"unexpected argument {rest[1]!r}"))
    if _COMPILE_FOR.value is not None or _MULTIHOST.value or _PROFILE.value is not None:
        flag = "--multihost" if _MULTIHOST.value else "--compile_for" if _COMPILE_FOR.value else "--profile"
        command_line.exit_with(ConfigError(f"{flag} is for one run: name one configuration, fold and seed"))
    if _DRY_RUN.value:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU may be training
    from fgnet_jax.runtime import devices, logs
    from fgnet_jax.train import run_study

    with _one_line(Path(_WORKDIR.value or "runs")):
        logs.setup_logging()
        devices.check()
        compilation_cache.enable("train", is_enabled=not _NO_CACHE.value)
        study = run_study.of_command(runs, None if runs else _CONFIG.value, _WORKDIR.value)
        status = run_study.run(study, only_one=_ONLY_ONE.value, dry_run=_DRY_RUN.value)
    if status:
        raise SystemExit(status)


def _compile_for(rest: list[str], name: str, given: Sequence[str]) -> None:
    """Compile the run that the flags describe; end with status 1 where it does not fit."""
    if len(rest) > 1:
        command_line.exit_with(ConfigError(f"unexpected argument {rest[1]!r}"))
    if _MULTIHOST.value:
        command_line.exit_with(
            ConfigError("--compile_for compiles for all hosts in one process: leave --multihost out")
        )
    topologies.set_environment()
    with _one_line(Path()):
        target = topologies.open_target(name)
        from fgnet_jax.runtime import logs
        from fgnet_jax.train import compile_for, config

        logs.setup_logging()
        # The cache cannot read programs for absent devices, which it would write (JAX 0.10).
        compilation_cache.enable("train", is_enabled=False)
        words = command_line.without(given, ("compile_for", "compile-for"))
        fits = compile_for.compile_for(
            config.with_home(_CONFIG.value),
            target,
            command=f"{runtime_command_line.program('train')} {words}",
            report=functools.partial(runtime_command_line.status, "train"),
        )
    if not fits:
        raise SystemExit(1)


@contextlib.contextmanager
def _together(workdir: Path) -> Iterator[None]:
    """Work with the processes of other hosts, if there are any; end where one of them is gone, or this one fails."""
    if not _MULTIHOST.value:
        yield
        return
    import jax

    from fgnet_jax.runtime import peers

    try:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"--multihost: {error}") from error
    watch = peers.watch(lambda text: _report_loss(text, workdir))
    try:
        yield
    except SystemExit as ended:
        if ended.code:
            watch.leave(int(ended.code))
        watch.close()
        raise
    except Exception:
        watch.wait_for_verdict()  # the error of a collective operation is no news where a process is gone
        traceback.print_exc()
        watch.leave(1)
    watch.close()


def _report_loss(text: str, workdir: Path) -> None:
    """Print why a run on several hosts cannot go on, and what is left of it."""
    saved = [int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdecimal()]
    left = f"step {max(saved)} is saved in {workdir}" if saved else "nothing had been saved"
    line = f"{text}; {left}. Start the same command on all hosts again"
    runtime_command_line.fail(command_line.COMMAND, line, 1)


@contextlib.contextmanager
def _one_line(workdir: Path) -> Iterator[None]:
    """End the program with a line where a run cannot be begun, is not finite, or fills the disk."""
    from fgnet_jax.data.corpus import CorpusError
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.runtime import devices, files
    from fgnet_jax.train import checkpoints, loop

    try:
        yield
    except (
        ConfigError,
        topologies.TargetError,
        CorpusError,
        WeightsError,
        devices.DevicesError,
        files.NotWritableError,
        FileNotFoundError,
    ) as error:
        command_line.exit_with(error)
    except loop.NotFiniteError as error:
        command_line.exit_with(error, 1)
    except (OSError, ValueError) as error:
        if not checkpoints.is_full_disk(error):
            raise
        saved = f"The last good save stays in {workdir}/checkpoints; with space, the same command resumes from there."
        command_line.exit_with(f"the disk of {workdir} is full. {saved}", 1)


if __name__ == "__main__":
    main()

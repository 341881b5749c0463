"""Train FG-Net on a prepared corpus, or on synthetic faces that are rendered first.

    python -m fgnet_jax.train --config demo
    python -m fgnet_jax.train --config disfa:fold=0 --workdir runs/disfa_f0 --config.optim.lr=1e-4
    python -m fgnet_jax.train --config path/to/my.py

A run whose workdir exists is continued: the same command resumes where it was stopped, and ends with the same numbers.

Exit status: 0, also when SIGTERM or Ctrl-C stopped it and all is saved; 1 if the loss is not finite or the disk is
full; 2 for a wrong command line or a configuration that cannot be run.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import app, flags
from ml_collections import config_flags

from fgnet_jax.train import command_line
from fgnet_jax.train.defaults import ConfigError

_CONFIG = config_flags.DEFINE_config_file("config", None, "the experiment: a configuration's name or file; see below")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run; runs/NAME by default. A run there is continued")
_MULTIHOST = flags.DEFINE_bool("multihost", False, "train on all hosts that this command was started on")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "address of process 0, if the cluster does not provide it")
_PROCESSES = flags.DEFINE_integer("processes", None, "number of processes, if the cluster does not provide it")
_PROCESS = flags.DEFINE_integer("process", None, "number of this process, if the cluster does not provide it")
_FLAGS = tuple(flag.name for flag in (_CONFIG, _WORKDIR, _MULTIHOST, _COORDINATOR, _PROCESSES, _PROCESS))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; the run itself is `fgnet_jax.train.loop.train`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = command_line.parser(__doc__ or "", _FLAGS)
    if command_line.has_flag(arguments, ("-h", "--help", "-help", "-?")):
        print(command_line.help_text(parser, arguments), end="")
        sys.exit(0)
    if command_line.has_flag(arguments, ("--version",)):
        parser.parse_args(["--version"])
    try:
        # ml_collections looks for overrides in sys.argv.
        sys.argv = [sys.argv[0], *command_line.normalize(arguments)]
    except ConfigError as error:
        command_line.exit_with(error)
    app.run(_train, flags_parser=_parse)
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
        command_line.exit_with(command_line.without_traceback(error))
    except (AttributeError, KeyError):
        # The file is loaded again without overrides, for the keys that it has.
        sys.argv = [argument for argument in argv if not argument.startswith("--config.")]
        flags.FLAGS(sys.argv)
        try:
            command_line.check_overrides(argv, _CONFIG.value)
        except ConfigError as refusal:
            command_line.exit_with(refusal)
        raise


def _train(rest: list[str]) -> None:
    """Train the run that the flags describe."""
    import jax  # here and below: after the help and usage errors, which need not wait for JAX

    from fgnet_jax.models import weights
    from fgnet_jax.runtime import files, logs
    from fgnet_jax.train import checkpoints, config, loop

    if len(rest) > 1:
        command_line.exit_with(ConfigError(f"unexpected argument {rest[1]!r}"))
    if _MULTIHOST.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    logs.setup_logging(not _MULTIHOST.value or jax.process_index() == 0)
    workdir = _WORKDIR.value or f"runs/{_CONFIG.value.name}"
    try:
        loop.train(_CONFIG.value, config.folder(workdir))
    except (ConfigError, weights.WeightsError, files.NotWritableError, FileNotFoundError) as error:
        command_line.exit_with(error)
    except loop.NotFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except (OSError, ValueError) as error:
        if not checkpoints.is_full_disk(error):
            raise
        saved = f"The last good save stays in {workdir}/checkpoints; with space, the same command resumes from there."
        print(f"error: the disk of {workdir} is full. {saved}\n  {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()

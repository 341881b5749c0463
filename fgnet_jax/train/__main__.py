"""Trains FG-Net: `python -m fgnet_jax.train --config configs/demo.py [--workdir DIR] [--config.KEY=VALUE ...]`.

Reads top to bottom: the command, a run, its start, its loop, its end.
"""

import sys

import jax
from absl import app, flags
from ml_collections import config_flags

from fgnet_jax.models import weights
from fgnet_jax.runtime import files, logs
from fgnet_jax.train import checkpoints
from fgnet_jax.train import config as config_lib
from fgnet_jax.train.loop import NotFiniteError, train

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment: FILE[:key=value,...], such as configs/demo.py")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run lives; runs/NAME by default. A run there is continued.")
_MULTIHOST = flags.DEFINE_bool("multihost", False, "Train on all hosts that this command was started on")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where the cluster does not tell")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes, where the cluster does not tell")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, where the cluster does not tell")


def main(argv: list[str]) -> None:
    """The command."""
    if len(argv) > 1:
        config_lib.exit_with(config_lib.ConfigError(f"unexpected argument {argv[1]!r}"))
    if _MULTIHOST.value:
        jax.distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    logs.setup_logging(not _MULTIHOST.value or jax.process_index() == 0)
    config = _CONFIG.value
    workdir = _WORKDIR.value or f"runs/{config.name}"
    try:
        train(config, config_lib.folder(workdir))
    except (config_lib.ConfigError, weights.WeightsError, files.NotWritableError, FileNotFoundError) as error:
        config_lib.exit_with(error)
    except NotFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except (OSError, ValueError) as error:
        if not checkpoints.is_full_disk(error):
            raise
        saved = f"The last good save stays in {workdir}/checkpoints; with room, the same command goes on from there."
        print(f"error: the disk of {workdir} is full. {saved}\n  {error}", file=sys.stderr)
        raise SystemExit(1) from None


def parse(argv: list[str]) -> list[str]:
    """absl's parsing, but what it does not take is refused in a line, a wrong key with the nearest that there is."""
    try:
        rest = flags.FLAGS(argv)
        _ = _CONFIG.value.name  # a file that is not there is only missed now
        return rest
    except (flags.Error, OSError) as error:
        config_lib.exit_with(config_lib.without_traceback(error))
    except (AttributeError, KeyError):
        # ml_collections looks for overrides in sys.argv: the file is read again without them, for the keys it has.
        sys.argv = [argument for argument in argv if not argument.startswith("--config.")]
        flags.FLAGS(sys.argv)
        try:
            config_lib.check_overrides(argv, _CONFIG.value)
        except config_lib.ConfigError as refusal:
            config_lib.exit_with(refusal)
        raise


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse)

"""Distil a student: a small network for real time, which learns the heatmaps of FG-Net from any faces.

    python -m fgnet_jax.distill --teacher weights/fgnet_disfa --faces videos/ --output runs/student
    python -m fgnet_jax.distill --teacher runs/disfa_f0 --teacher runs/bp4d_f0 --faces a.mp4 photos/ --output runs/both
    python -m fgnet_jax.distill --teacher runs/disfa_f0 --config student:corpus=disfa,fold=0 --output runs/student_f0

The faces are found and aligned as `predict` does it, and need no labels. The teachers see each of them once: faces and
heatmaps are kept in DIR/faces, whose size is said before. A student of several teachers has the AUs of all of them; of
an AU that several have, it learns the mean of their heatmaps, or, on faces of a corpus that one has learnt from, those
of that one alone. With a corpus in the configuration, the faces of its training subjects are learnt from (beside
--faces), and student and teachers are tested on the fold that is left out.

DIR/best has the student's weights: every command takes DIR as it takes the workdir of a training. It is not tested on
subjects whom a teacher has learnt from, nor on those of the corpus whose faces it has seen.

A run that was stopped, or killed at any moment, is continued by the same command, with the same numbers.

Exit status: 0, also when SIGTERM or Ctrl-C stopped it and all is saved; 1 if the loss is not finite, or the disk is
full; 2 for a command line that cannot be carried out, such as one whose inputs have no face; 130 where Ctrl-C, 143
where SIGTERM came before there was anything to save.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_jax.distill import defaults
from fgnet_jax.faces.detection import DETECTORS
from fgnet_jax.runtime import command_line, compilation_cache
from fgnet_jax.runtime.command_line import Parser, positive, program
from fgnet_jax.train.defaults import ConfigError

if TYPE_CHECKING:
    from fgnet_jax.distill.run import DistillRequest

_MODULE = "fgnet_jax.distill"


@command_line.command(_MODULE)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    words, overrides = defaults.split_overrides(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(words)
    from fgnet_jax.data.corpus import CorpusError  # after the help and usage errors, which need not wait for JAX
    from fgnet_jax.distill import labelling, loop
    from fgnet_jax.faces.detection import DetectorError
    from fgnet_jax.metrics.calibration import CalibrationError
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.runtime import devices, files, logs, signals
    from fgnet_jax.train import checkpoints
    from fgnet_jax.train.epoch_end import NotFiniteError

    refusals = (
        *(ConfigError, WeightsError, CorpusError, CalibrationError, DetectorError),
        *(labelling.NoFacesError, files.NotWritableError, FileNotFoundError),
    )
    logs.setup_logging()
    try:
        request = _request(arguments, overrides)
        with signals.EndAtOnce(_report_stop):
            devices.check()
            compilation_cache.enable("distill", is_enabled=not arguments.no_cache)
            loop.distill(request)
    except refusals as error:
        return command_line.fail(_MODULE, error, 2)
    except NotFiniteError as error:
        return command_line.fail(_MODULE, error, 1)
    except (OSError, ValueError) as error:
        if not checkpoints.is_full_disk(error):
            raise
        line = f"the disk of {arguments.output} is full; with space, the same command resumes from the last save"
        return command_line.fail(_MODULE, line, 1)
    return 0


def _report_stop(name: str) -> None:
    command_line.fail(_MODULE, f"stopped by {name} before there was anything new to save", 1)


def _request(arguments: argparse.Namespace, overrides: Sequence[str]) -> "DistillRequest":
    """Check a command line, and return its request.

    Raises:
      ConfigError: It cannot work.
    """
    import importlib.util

    from fgnet_jax.distill.run import DistillRequest
    from fgnet_jax.media import sources as sources_lib
    from fgnet_jax.predict.pipeline import PredictOptions

    config = defaults.load(arguments.config, overrides)
    sources = sources_lib.find(arguments.faces)
    missing = [source for source in sources if source.kind == "missing"]
    if missing and len(missing) == len(sources) and not (arguments.output / "faces" / "index.json").exists():
        raise ConfigError(f"--faces: nothing to read: {missing[0].name}: {missing[0].problem}")
    if importlib.util.find_spec("av") is None and any(source.kind == "video" for source in sources):
        raise ConfigError("video is read by PyAV, which is not installed: pip install 'fgnet_jax[video]'")
    options = PredictOptions(
        largest=arguments.largest,
        every=arguments.every,
        detector=arguments.detector,
        predictor=arguments.predictor,
        aligned=arguments.aligned,
    )
    return DistillRequest(
        teachers=arguments.teacher, sources=sources, options=options, output=arguments.output, config=config
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, apart from `--config.KEY=VALUE`."""
    command = Parser(__doc__ or "", program("distill"))
    command.add_argument(
        "--teacher",
        required=True,
        action="append",
        metavar="WEIGHTS",
        help="weights, or the workdir of a run, whose heatmaps are learnt; may be given several times",
    )
    command.add_argument(
        "--faces",
        nargs="+",
        default=[],
        metavar="INPUT",
        help="images, videos, folders (all in them), patterns, or @FILE with one path per line",
    )
    command.add_argument("--output", required=True, type=Path, metavar="DIR", help="the run's folder")
    command.add_argument(
        "--config",
        default=defaults.DEFAULT,
        metavar="NAME|FILE[:KEY=VALUE,...]",
        help="configuration of the student; default %(default)s",
    )
    command.add_argument("--aligned", action="store_true", help="the images are aligned faces: skip face detection")
    command.add_argument("--largest", action="store_true", help="only the largest face of each frame")
    command.add_argument(
        "--every", type=positive, default=1, metavar="N", help="only every N-th frame of videos; default 1"
    )
    command.add_argument(
        "--detector", choices=DETECTORS, default=DETECTORS[0], help="the face detector; default %(default)s"
    )
    command.add_argument("--predictor", metavar="FILE", help="dlib's shape_predictor_68_face_landmarks.dat")
    compilation_cache.add_flag(command)
    command.epilog = f"{command.epilog}\nAll keys of a configuration, with what they mean: {defaults.__file__}\n"
    command.usage = (
        f"{command.prog} --teacher WEIGHTS [--teacher WEIGHTS ...] [--faces INPUT ...] --output DIR "
        "[--config NAME|FILE] [--config.KEY=VALUE ...] [option ...]"
    )
    return command


if __name__ == "__main__":
    sys.exit(main())

"""Export a network for programs without this package: StableHLO by jax.export, or ONNX, with a JSON beside it.

    python -m fgnet_jax.export --weights weights/fgnet_disfa --output model.stablehlo

writes model.stablehlo (the program), model.npz (its weights, an argument of the program: inside it they would be
constants in text, 1.3 GB at the published size) and model.json (AUs, sizes, inputs and outputs). It needs the extra
`export`; `pip install jax flatbuffers` then runs it without this package, on CPU, NVIDIA GPU and TPU:

    import jax, numpy as np
    from jax import export

    program = export.deserialize(open("model.stablehlo", "rb").read())
    weights = jax.device_put(dict(np.load("model.npz")))
    scores, heatmaps = jax.jit(program.call)(weights, faces)  # faces: uint8 (N, 256, 256, 3), RGB, aligned

    python -m fgnet_jax.export --weights runs/student --format onnx --output student.onnx

writes a student as ONNX, in float32: one file of about 5 MB at the default size, of plain operators, for any number of
faces, which ONNX Runtime runs on computers, phones and in browsers (docs/web). It needs the extra `export`, too. With
--int8 INPUT ..., it is written in int8: a quarter of the size, and faster on processors with instructions for it.
The inputs are images or videos, in which faces are found as `predict` does it, or aligned faces with --aligned: half
of them calibrate, and on the others int8 is compared with float32; what it costs is printed, and in the JSON.

    python -m fgnet_jax.export --weights weights/fgnet_disfa --format onnx --output model.onnx --batch 1

writes an FG-Net as ONNX by jax2onnx (extra `onnx`), for a batch of one size and in float32: jax2onnx supports no other
batch, and ONNX Runtime no bfloat16 for this network. Tensors over a megabyte are in model.onnx.data beside it: 1.3 GB
at the published size. The description of an ONNX file is NAME.onnx.json, so that both formats may lie in one folder.

Exit status: 0; 1 if a result could not be written; 2 for a wrong command line or missing weights.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fgnet_jax.export.description import ONNX, STABLEHLO, SYMBOLIC, written_files
from fgnet_jax.runtime import command_line, devices

if TYPE_CHECKING:
    import numpy as np

    from fgnet_jax.models.config import NetworkConfig
    from fgnet_jax.predict.detector import Detector


class ExportError(Exception):
    """An export that cannot be carried out; nothing has been written."""


@command_line.command("fgnet_jax.export")
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        for line in _run(arguments):
            print(line)
    except ExportError as error:
        return command_line.fail("fgnet_jax.export", error, 2)
    except BrokenPipeError:  # of standard output
        raise
    except OSError as error:
        return command_line.fail("fgnet_jax.export", f"cannot write the results: {error}", 1)
    return 0


def _run(arguments: argparse.Namespace) -> list[str]:
    """Carry out a command line, and return the lines to print."""
    arguments.format = _format(arguments)
    _check_files(arguments)
    from fgnet_jax.export import onnx, stablehlo
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector, describe

    devices.check()
    try:
        _check_network(arguments, describe(arguments.weights, dtype=arguments.dtype).config)
        detector = Detector.load(arguments.weights, dtype=arguments.dtype)
    except WeightsError as error:
        raise ExportError(str(error)) from error
    lines = []
    if arguments.int8:
        paths, cost = onnx.write_int8(detector, arguments.output, _faces(detector, arguments))
        lines.append(str(cost))
    else:
        write = onnx.write if arguments.format == ONNX else stablehlo.write
        paths = write(detector, arguments.output, None if arguments.batch == SYMBOLIC else arguments.batch)
    return [*lines, *(f"wrote {path} ({path.stat().st_size:,} bytes)" for path in paths)]


def _faces(detector: "Detector", arguments: argparse.Namespace) -> "np.ndarray":
    """Find the faces that int8 is calibrated on and compared."""
    from fgnet_jax.export import int8
    from fgnet_jax.faces.detection import DetectorError

    try:
        return int8.find_faces(detector, arguments.int8, arguments.aligned)
    except (int8.FacesError, DetectorError) as error:
        raise ExportError(str(error)) from error


def _format(arguments: argparse.Namespace) -> str:
    """Return the format that is asked for, by its name or the file's; refuse two that differ."""
    by_suffix = {".onnx": ONNX, ".stablehlo": STABLEHLO}.get(arguments.output.suffix)
    chosen = arguments.format or by_suffix or STABLEHLO
    if by_suffix not in (None, chosen):
        raise ExportError(f"--output {arguments.output} has the name of {by_suffix}, --format is {chosen}")
    return chosen


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse files that cannot be written, and flags without their inputs, before anything is read."""
    output = arguments.output
    if arguments.aligned and not arguments.int8:
        raise ExportError("--aligned is of the inputs of --int8, which are missing")
    if output.suffix in (".npz", ".json", ""):
        raise ExportError(f"--output {output}: name it .{arguments.format}; .npz and .json are the files beside it")
    for path in written_files(output, arguments.format):
        if path.exists() and not arguments.overwrite:
            raise ExportError(f"{path} exists; give another --output, or --overwrite to replace it")


def _check_network(arguments: argparse.Namespace, config: "NetworkConfig") -> None:
    """Refuse a network that the format is not written for, or not without a library that is missing."""
    from fgnet_jax.models.config import StudentConfig

    library, extra = "flatbuffers", "export"
    is_student = isinstance(config, StudentConfig)
    if arguments.int8:
        _check_int8(arguments, is_student)
    if arguments.format == ONNX:
        library, extra = ("onnx", "export") if is_student else ("jax2onnx", "onnx")
        if arguments.batch == SYMBOLIC and not is_student:
            raise ExportError("jax2onnx cannot write this network for a batch of any size; give its size by --batch N")
        if config.dtype != "float32":
            raise ExportError(f"ONNX is written in float32, not in {config.dtype}; give --dtype float32")
    for needed in (library, *(["onnxruntime"] if arguments.int8 else [])):
        if find_spec(needed) is None:
            raise ExportError(f"{arguments.format} needs {needed}: pip install 'fgnet_jax[{extra}]'")


def _check_int8(arguments: argparse.Namespace, is_student: bool) -> None:
    """Refuse what is not written in int8."""
    if not is_student:
        raise ExportError(f"--int8 is for students, {arguments.weights} is an FG-Net")
    if arguments.format != ONNX:
        raise ExportError(f"--int8 is written as ONNX, not as {arguments.format}; give --format onnx")
    if arguments.batch not in (None, SYMBOLIC):
        raise ExportError(f"--int8 is for batches of any size; leave out --batch {arguments.batch}")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(__doc__ or "", command_line.program("export"))
    add = parser.add_argument
    add("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    add("--output", required=True, type=Path, metavar="FILE", help="the program's file, .stablehlo or .onnx")
    add("--format", choices=(STABLEHLO, ONNX), help="what to write (default by the file's name, else stablehlo)")
    batch = "faces per call, or symbolic: any number (default symbolic; for FG-Net's ONNX 1)"
    add("--batch", type=_batch, metavar="N", help=batch)
    add("--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON")
    add("--int8", nargs="+", metavar="INPUT", help="write in int8, calibrated on the faces of these images and videos")
    add("--aligned", action="store_true", help="the inputs of --int8 are aligned faces: skip face detection")
    add("--overwrite", action="store_true", help="replace files that exist")
    return parser


def _batch(text: str) -> int | str:
    if text == SYMBOLIC:
        return SYMBOLIC
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be {SYMBOLIC} or a whole number, at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

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

    python -m fgnet_jax.export --weights weights/fgnet_disfa --format onnx --output model.onnx --batch 1

writes ONNX by jax2onnx (extra `onnx`), for a batch of one size and in float32: jax2onnx supports no other batch, and
ONNX Runtime no bfloat16 for this network. Tensors over a megabyte are in model.onnx.data beside it: 1.3 GB at the
published size. The description of an ONNX file is NAME.onnx.json, so that both formats may lie in one folder.

Exit status: 0; 1 if a result could not be written; 2 for a wrong command line or missing weights.
"""

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax import aus as aus_lib
from fgnet_jax.runtime import command_line, devices, files
from fgnet_jax.runtime.version import __version__

if TYPE_CHECKING:
    import jax
    from jax.export import Exported

    from fgnet_jax.models.fgnet import Arrays, Variables
    from fgnet_jax.predict.detector import Detector

PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}
"""Platforms that an exported program runs on: `jax.export`'s names, with those of `fgnet_jax.models.ops.platforms`."""

SYMBOLIC = "symbolic"
"""Value of `--batch` for batches of any size, known only when the program is called."""

STABLEHLO, ONNX = "stablehlo", "onnx"

LARGE_TENSOR = 2**20
"""Bytes from which on a tensor of an ONNX file is stored in a file of its own."""

_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Where")
"""ONNX' operations whose inputs may have sides of 1 in place of the result's."""

_NEEDED = {STABLEHLO: "flatbuffers", ONNX: "jax2onnx"}
_EXTRAS = {STABLEHLO: "export", ONNX: "onnx"}


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


def program(detector: "Detector", batch: int | None = None) -> "Exported":
    """Export the network as a program of (weights, images) for `PLATFORMS`, each with the paths that are fast on it.

    Args:
      detector: The network.
      batch: Faces per call; None for any number.

    Returns:
      A program that takes the weights (`flat`) and uint8 images (batch, S, S, 3), and returns scores (batch, K) in
      [-1, 1] and clipped heatmaps (batch, size, size, K), both float32, as `Detector.predict` does.
    """
    import jax
    from jax import export

    networks = {name: _network(detector, platform) for name, platform in PLATFORMS.items()}
    images = _image_shape(detector, batch if batch is not None else export.symbolic_shape("batch")[0])
    arrays = {path: jax.ShapeDtypeStruct(array.shape, array.dtype) for path, array in flat(detector).items()}
    # Not this process' platform decides, but the one that the program is compiled for later: one branch for each.
    chosen = jax.jit(lambda arrays, images: jax.lax.platform_dependent(arrays, images, **networks))
    return export.export(chosen, platforms=tuple(PLATFORMS))(arrays, images)


def _network(detector: "Detector", platform: str) -> "Callable[[Arrays, jax.Array], tuple[jax.Array, jax.Array]]":
    """Return the detector's function of (flat weights, images), for a platform of `fgnet_jax.models.ops.platforms`."""
    from fgnet_jax.predict import network

    # Without its jit: jax2onnx traces with its own primitives, and they would stay in the jit's cache.
    forward = inspect.unwrap(network.forward)
    return lambda arrays, images: forward(detector.config, len(detector.aus), platform, _nested(arrays), images)


def _image_shape(detector: "Detector", batch: object) -> "jax.ShapeDtypeStruct":
    """Return the shape and dtype of images, for a batch of a number or of a symbolic size."""
    import jax

    side = detector.config.image_size
    return jax.ShapeDtypeStruct((batch, side, side, 3), np.uint8)


def flat(detector: "Detector") -> "Arrays":
    """Return a detector's weights as one dictionary: "params/encoder/body/0/conv1/kernel" to array."""
    from fgnet_jax.models import weights

    groups = weights.groups(detector.variables).items()
    return {f"{group}/{path}": array for group, arrays in groups for path, array in arrays.items()}


def _nested(arrays: "Arrays") -> "Variables":
    """Return the network's variables from the dictionary of `flat`."""
    from fgnet_jax.models.fgnet import Variables

    groups: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}, "buffers": {}}
    for name, array in arrays.items():
        group, _, path = name.partition("/")
        groups[group][path] = array
    return Variables(**groups)


def describe(detector: "Detector", batch: int | None, files: dict[str, str]) -> dict[str, Any]:
    """Return the JSON beside a program: its AUs and sizes, its inputs and its outputs.

    Args:
      detector: The network.
      batch: Faces per call; None for any number.
      files: Names of the other files by their kind.
    """
    from fgnet_jax.models import lineage

    config, count = detector.config, len(detector.aus)
    size: int | str = batch or "batch"
    spans = "mean over space of the clipped heatmap, in [-1, 1]; the AU is present where it is above 0"
    maps = "heatmaps clipped to [-1, 1], over the whole face image"
    faces = "RGB faces, 0 to 255, aligned by FFHQ's recipe"
    intensity = None
    if (fitted := detector.calibration) is not None:
        meaning = "an AU's intensity, 0 to 5, is linear in its score between these points, and constant beyond them"
        intensity = {"meaning": meaning} | fitted.to_dict()
    return {
        "files": files,
        "aus": list(detector.aus),
        "names": [aus_lib.NAMES.get(au, "") for au in detector.aus],
        "corpus": detector.meta.corpus,
        "learnt_from": lineage.learnt_from(detector.meta),
        "image_size": config.image_size,
        "heatmap_size": config.heatmap_size,
        "batch": batch or SYMBOLIC,
        "computed_in": config.dtype,
        "inputs": {"images": _array((size, config.image_size, config.image_size, 3), "uint8", faces)},
        "outputs": {
            "scores": _array((size, count), "float32", spans),
            "heatmaps": _array((size, config.heatmap_size, config.heatmap_size, count), "float32", maps),
        },
        "intensity": intensity,
        "sources": list(detector.meta.sources),
        "fgnet_jax": __version__,
    }


def _array(shape: tuple[int | str, ...], dtype: str, meaning: str) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype, "meaning": meaning}


def write(detector: "Detector", output: Path, batch: int | None = None) -> list[Path]:
    """Write a program with its weights and its JSON beside it; each file appears whole, the JSON last.

    Args:
      detector: The network.
      output: The program's file; the others have its name, but for the ending.
      batch: Faces per call; None for any number.

    Returns:
      The files.

    Raises:
      OSError: One of them cannot be written.
    """
    import jax

    exported = program(detector, batch)
    paths = output, arrays_file, text_file = written_files(output, STABLEHLO)
    output.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {path: np.asarray(array) for path, array in flat(detector).items()}
    with files.replacing(output) as temporary:
        temporary.write_bytes(exported.serialize())
    with files.replacing(arrays_file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)
    description = describe(detector, batch, {"stablehlo": output.name, "weights": arrays_file.name})
    description |= {"platforms": list(PLATFORMS), "jax": jax.__version__}
    description["calling_convention"] = exported.calling_convention_version
    files.write_text(text_file, json.dumps(description, indent=2) + "\n")
    return paths


def write_onnx(detector: "Detector", output: Path, batch: int = 1) -> list[Path]:
    """Write ONNX, float32, for a batch of one size, with its large tensors and its JSON beside it, the JSON last.

    Args:
      detector: The network, computing in float32.
      output: The .onnx file.
      batch: Faces per call.

    Returns:
      The files.

    Raises:
      OSError: One of them cannot be written.
    """
    jax2onnx = importlib.import_module("jax2onnx")  # by name: it may be in another environment than type checkers
    network, arrays = _network(detector, "cpu"), flat(detector)
    output, data_file, text_file = written_files(output, ONNX)
    output.parent.mkdir(parents=True, exist_ok=True)
    data_file.unlink(missing_ok=True)
    jax2onnx.to_onnx(
        lambda images: network(arrays, images),
        [_image_shape(detector, batch)],
        model_name="fgnet",
        return_mode="file",
        output_path=output,
        input_names=["images"],
        output_names=["scores", "heatmaps"],
    )
    _store_once(output, data_file)
    names = {"onnx": output.name} | ({"weights": data_file.name} if data_file.exists() else {})
    description = describe(detector, batch, names) | {"jax2onnx": version("jax2onnx")}
    files.write_text(text_file, json.dumps(description, indent=2) + "\n")
    return [path for path in (output, data_file, text_file) if path.exists()]


def _store_once(output: Path, data_file: Path) -> None:
    """Write an ONNX file again whose constants are stored once, where jax2onnx repeats them for every pixel."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(str(output))
    known = {value.name: _shape(value) for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for tensor in model.graph.initializer:
        if _may_be_smaller(tensor, users.get(tensor.name, []), known):
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(without_repetitions(array), tensor.name))
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in model.graph.value_info:
        for side, length in zip(value.type.tensor_type.shape.dim, stored.get(value.name, ()), strict=False):
            side.dim_value = length
    data_file.unlink(missing_ok=True)
    onnx.save_model(
        model, str(output), save_as_external_data=True, location=data_file.name, size_threshold=LARGE_TENSOR
    )


def _shape(value: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - ONNX' description of a tensor
    """Return a tensor's shape; None where a side of it is not known."""
    described = value.type.tensor_type
    sides = tuple(side.dim_value for side in described.shape.dim)
    return sides if described.HasField("shape") and all(sides) else None


def _may_be_smaller(tensor: Any, users: list[Any], known: dict[str, tuple[int, ...] | None]) -> bool:  # noqa: ANN401 - ONNX'
    """Tell whether all that use a constant broadcast it, against another input that has the result's shape already."""
    return bool(users) and all(
        node.op_type in _BROADCASTING
        and any(
            name != tensor.name and known.get(name) is not None and known[name] == known.get(node.output[0])
            for name in node.input
        )
        for node in users
    )


def without_repetitions(array: np.ndarray) -> np.ndarray:
    """Return an array with a side of 1 for each axis along which it repeats itself: broadcast, it is the same."""
    for axis in range(array.ndim):
        first = np.take(array, [0], axis) if array.shape[axis] else array
        if array.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, array.shape), array):
            array = first
    return array


def written_files(output: Path, format: str) -> list[Path]:
    """Return the program's file, the one with its weights, and its JSON.

    Two formats of one name do not meet: model.npz and model.json beside model.stablehlo, model.onnx.data and
    model.onnx.json beside model.onnx.
    """
    if format == ONNX:
        return [output, output.with_name(f"{output.name}.data"), output.with_name(f"{output.name}.json")]
    return [output, output.with_suffix(".npz"), output.with_suffix(".json")]


def _run(arguments: argparse.Namespace) -> list[str]:
    """Carry out a command line, and return the lines to print."""
    _check(arguments)
    from fgnet_jax.models.weights import WeightsError
    from fgnet_jax.predict.detector import Detector

    devices.check()
    try:
        detector = Detector.load(arguments.weights, dtype=arguments.dtype)
    except WeightsError as error:
        raise ExportError(str(error)) from error
    if arguments.format == ONNX:
        _check_float32(detector)
        paths = write_onnx(detector, arguments.output, arguments.batch or 1)
    else:
        paths = write(detector, arguments.output, None if arguments.batch == SYMBOLIC else arguments.batch)
    return [f"wrote {path} ({path.stat().st_size:,} bytes)" for path in paths]


def _check(arguments: argparse.Namespace) -> None:
    """Refuse a command line that cannot work, before anything is read."""
    output, needed = arguments.output, _NEEDED[arguments.format]
    if output.suffix in (".npz", ".json", ""):
        raise ExportError(f"--output {output}: name it .{arguments.format}; .npz and .json are the files beside it")
    for path in written_files(output, arguments.format):
        if path.exists() and not arguments.overwrite:
            raise ExportError(f"{path} exists; give another --output, or --overwrite to replace it")
    if arguments.format == ONNX and arguments.batch == SYMBOLIC:
        raise ExportError("jax2onnx cannot write this network for a batch of any size; give its size by --batch N")
    if find_spec(needed) is None:
        raise ExportError(f"{arguments.format} needs {needed}: pip install 'fgnet_jax[{_EXTRAS[arguments.format]}]'")


def _check_float32(detector: "Detector") -> None:
    if detector.config.dtype != "float32":
        raise ExportError("ONNX Runtime does not run this network in bfloat16; give --dtype float32")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(__doc__ or "", command_line.program("export"))
    add = parser.add_argument
    add("--weights", required=True, metavar="DIR", help="weights from convert_weights or training")
    add("--output", required=True, type=Path, metavar="FILE", help="the program's file, .stablehlo or .onnx")
    add("--format", choices=(STABLEHLO, ONNX), default=STABLEHLO, help="what to write (default stablehlo)")
    add(
        "--batch",
        type=_batch,
        metavar="N",
        help="faces per call, or symbolic: any number (default symbolic; for ONNX 1)",
    )
    add("--dtype", choices=("float32", "bfloat16"), help="number format to compute in; default as in the weights' JSON")
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

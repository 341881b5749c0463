"""ONNX files: a student by `student_onnx`, in float32 or int8; an FG-Net by `traced_onnx`; the JSON beside them."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.export import int8, student_onnx, traced_onnx
from fgnet_jax.export.description import ONNX, describe, written_files
from fgnet_jax.models.config import StudentConfig
from fgnet_jax.runtime import files

if TYPE_CHECKING:
    import onnx

    from fgnet_jax.predict.detector import Detector


def write(detector: "Detector", output: Path, batch: int | None = None) -> list[Path]:
    """Write ONNX, float32, and its JSON beside it, the JSON last; tensors of FG-Net over a megabyte in a third file.

    Args:
      detector: The network, computing in float32.
      output: The .onnx file.
      batch: Faces per call; None for any number, which a student alone can take.

    Returns:
      The files.

    Raises:
      OSError: One of them cannot be written.
    """
    output, data_file, _ = written_files(output, ONNX)
    output.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(detector.config, StudentConfig):
        written = _student(detector, batch)
        with files.replacing(output) as temporary:
            temporary.write_bytes(written.SerializeToString(deterministic=True))
        data_file.unlink(missing_ok=True)  # of the network that was replaced
        return _with_description(detector, output, batch, {"onnx": version("onnx")})
    data_file.unlink(missing_ok=True)  # ONNX would append to it
    traced_onnx.write(detector, output, data_file, batch or 1)
    return _with_description(detector, output, batch or 1, {"jax2onnx": version("jax2onnx")})


def write_int8(detector: "Detector", output: Path, faces: np.ndarray) -> tuple[list[Path], int8.Cost]:
    """Write a student's ONNX in int8, for any number of faces, and its JSON, which tells what int8 costs.

    Args:
      detector: The student.
      output: The .onnx file.
      faces: uint8 (N, S, S, 3), to calibrate and to compare.

    Returns:
      The files, and what int8 costs.

    Raises:
      OSError: One of them cannot be written.
    """
    output, data_file, _ = written_files(output, ONNX)
    output.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(output) as temporary:
        cost = int8.quantise(_student(detector, None), faces, temporary)
    data_file.unlink(missing_ok=True)
    more = {"onnxruntime": version("onnxruntime"), "computed_in": "int8", "int8": cost.to_dict()}
    return _with_description(detector, output, None, more), cost


def _student(detector: "Detector", batch: int | None) -> "onnx.ModelProto":
    assert isinstance(detector.config, StudentConfig)
    return student_onnx.model(detector.config, detector.variables, len(detector.aus), batch)


def _with_description(detector: "Detector", output: Path, batch: int | None, more: dict[str, Any]) -> list[Path]:
    """Write the JSON, and return all files."""
    output, data_file, text_file = written_files(output, ONNX)
    names = {"onnx": output.name} | ({"weights": data_file.name} if data_file.exists() else {})
    files.write_text(text_file, json.dumps(describe(detector, batch, names) | more, indent=2) + "\n")
    return [path for path in (output, data_file, text_file) if path.exists()]

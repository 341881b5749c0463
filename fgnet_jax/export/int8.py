"""A student's ONNX in int8: static quantisation by ONNX Runtime, calibrated on faces, with what it costs on others.

Weights get a scale per channel and maps one each, from their least and largest values on the calibration faces. The
first convolution, which sees pixels, and the last, whose values are averaged to scores, stay in float32.
Weights use 7 of the 8 bits, because processors without VNNI add products in 16 bits, where 8 would overflow.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from fgnet_jax.predict.detector import Detector

LEAST_FACES = 32
"""Faces without which ranges of values would be guesses: half of them calibrate, the other half are compared."""

MOST_FACES = 1024
"""Faces that are read: more change nothing."""

_PREPARED = {"onnx.quant.pre_process": "onnxruntime.quant"}  # shapes are known: onnxruntime warns otherwise


class FacesError(ValueError):
    """Faces that cannot calibrate: too few; the message says why."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What int8 costs, on faces that it was not calibrated on.

    Attributes:
      calibrated: Faces that it was calibrated on.
      compared: Faces that both number formats have computed.
      mean: Mean difference of scores.
      largest: Largest difference of scores.
      changed: Share of presences that change.
    """

    calibrated: int
    compared: int
    mean: float
    largest: float
    changed: float

    def __str__(self) -> str:
        """Return a line."""
        return (
            f"int8, calibrated on {self.calibrated} faces, against float32 on {self.compared} others: scores differ "
            f"by {self.mean:.4f} in the mean and {self.largest:.4f} at most; {100 * self.changed:.2f} % of presences "
            "change"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return dataclasses.asdict(self)


def find_faces(detector: "Detector", inputs: Sequence[str], aligned: bool) -> np.ndarray:
    """Find faces in images and videos as `predict` does, up to `MOST_FACES`.

    Args:
      detector: The network, which says how large faces are.
      inputs: Files, folders and patterns.
      aligned: Whether they are aligned faces already.

    Returns:
      uint8 (N, S, S, 3), in the order of the inputs.

    Raises:
      FacesError: They are too few.
      DetectorError: dlib or its data file is missing.
    """
    from fgnet_jax.media import sources
    from fgnet_jax.predict import pipeline

    found, problem = [], ""
    for frame in pipeline.detect_faces(sources.find(inputs), detector, pipeline.PredictOptions(aligned=aligned)):
        found += [face.aligned for face in frame.faces]
        problem = problem or (f"; {frame.frame.source.name}: {frame.problem}" if frame.problem else "")
        if len(found) >= MOST_FACES:
            break
    if len(found) < LEAST_FACES:
        raise FacesError(f"--int8 needs at least {LEAST_FACES} faces, found {len(found)}{problem}")
    return np.stack(found[:MOST_FACES])


def quantise(model: "onnx.ModelProto", faces: np.ndarray, output: "Path") -> Cost:
    """Write a student's ONNX in int8.

    Args:
      model: The student in float32.
      faces: uint8 (N, S, S, 3): the first half calibrate, the second are compared.
      output: The file.

    Raises:
      OSError: It cannot be written.
    """
    import onnx
    from onnxruntime import quantization

    half = len(faces) // 2
    prepared = onnx.shape_inference.infer_shapes(model)
    onnx.helper.set_model_props(prepared, _PREPARED)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    quantization.quantize_static(
        prepared,
        output,
        _reader(faces[:half]),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Add", "Relu"],
        nodes_to_exclude=[convolutions[0], convolutions[-1]],
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
    )
    exact, rounded = _scores(model.SerializeToString(), faces[half:]), _scores(output.read_bytes(), faces[half:])
    differences = np.abs(exact - rounded)
    changed = float(((exact > 0) != (rounded > 0)).mean())
    return Cost(half, len(faces) - half, float(differences.mean()), float(differences.max()), changed)


def _reader(faces: np.ndarray) -> Any:  # noqa: ANN401 - onnxruntime's class, which is imported late
    """Return what feeds faces to ONNX Runtime's calibration, one at a time."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(faces)

        def get_next(self) -> dict[str, np.ndarray] | None:
            face = next(self.rest, None)
            return None if face is None else {"images": face[None]}

    return Reader()


def _scores(model: bytes, faces: np.ndarray) -> np.ndarray:
    """Compute scores (N, K) by ONNX Runtime, one face at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([np.asarray(session.run(["scores"], {"images": face[None]})[0]) for face in faces])

"""ONNX of any network by jax2onnx, for batches of one size; constants that it repeats are stored once."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.export import stablehlo
from fgnet_jax.export.description import flat

if TYPE_CHECKING:
    from fgnet_jax.predict.detector import Detector

LARGE_TENSOR = 2**20
"""Bytes from which on a tensor of an ONNX file is stored in a file of its own."""

_BROADCASTING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Where")
"""ONNX' operations whose inputs may have sides of 1 in place of the result's."""


def write(detector: "Detector", output: Path, data_file: Path, batch: int) -> None:
    """Write ONNX, float32, for a batch of one size.

    Args:
      detector: The network, computing in float32.
      output: The .onnx file.
      data_file: The file of its tensors over `LARGE_TENSOR`, which is written if there are any.
      batch: Faces per call.

    Raises:
      OSError: One of them cannot be written.
    """
    jax2onnx = importlib.import_module("jax2onnx")  # by name: it may be in another environment than type checkers
    network, arrays = stablehlo.network(detector, "cpu"), flat(detector)
    jax2onnx.to_onnx(
        lambda images: network(arrays, images),
        [stablehlo.image_shape(detector, batch)],
        model_name="fgnet",
        return_mode="file",
        output_path=output,
        input_names=["images"],
        output_names=["scores", "heatmaps"],
    )
    _store_once(output, data_file)


def _store_once(output: Path, data_file: Path) -> None:
    """Write an ONNX file again whose constants are stored once, where jax2onnx repeats them for every pixel."""
    import onnx

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

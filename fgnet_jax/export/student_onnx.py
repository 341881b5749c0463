"""ONNX of a student, operator by operator: what browsers have, for batches of any size, in one file.

jax2onnx would do, but it writes BatchNorm as four operators, convolutions between two transpositions each, and batches
of one size; it needs an environment of its own, too. Here BatchNorm is folded into the convolution before it, maps are
laid out as ONNX has them, and each function below mirrors one of `fgnet_jax.models.student`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from fgnet_jax.models import fgnet
from fgnet_jax.models.config import StudentConfig
from fgnet_jax.models.layers import BATCH_NORM_EPS
from fgnet_jax.models.student import ConvNorm, DepthwiseNorm, Inverted, Partial, Residual, Student

if TYPE_CHECKING:
    import onnx

    from fgnet_jax.models.layers import BatchNorm, Conv

OPSET, IR_VERSION = 17, 8
"""Version of ONNX' operators and of its file: of 2022, so that older runtimes read it."""

BATCH = "batch"
"""Name of the side of inputs and outputs that any number of faces may have."""


@dataclasses.dataclass
class Graph:
    """A graph that is being written, whose tensors are named by their number.

    Attributes:
      nodes: Its operators, in their order.
      constants: Its weights.
    """

    nodes: list["onnx.NodeProto"] = dataclasses.field(default_factory=list)
    constants: list["onnx.TensorProto"] = dataclasses.field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - ONNX' own
        """Add an operator with one output, and return the name of that."""
        import onnx

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, array: np.ndarray) -> str:
        """Add a constant, and return its name."""
        import onnx

        name = f"constant_{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def convolve(self, x: str, kernel: np.ndarray, bias: np.ndarray, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution by an odd square kernel (k, k, in / groups, out), padded by k // 2, and its bias (out,)."""
        weights = self.constant(kernel.transpose(3, 2, 0, 1).astype(np.float32))
        side = kernel.shape[0]
        geometry = {"kernel_shape": [side] * 2, "pads": [side // 2] * 4, "strides": [stride] * 2, "group": groups}
        return self.add("Conv", x, weights, self.constant(bias.astype(np.float32)), **geometry)

    def enlarge(self, x: str, factor: int, mode: str, coordinates: str) -> str:
        """Add an operator that makes maps `factor` times as high and as wide, by modes of ONNX' Resize."""
        scales = self.constant(np.array([1, 1, factor, factor], np.float32))
        modes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
        return self.add("Resize", x, "", scales, **modes)


def model(config: StudentConfig, variables: fgnet.Variables, count: int, batch: int | None) -> "onnx.ModelProto":
    """Write a student as ONNX: from uint8 images (batch, S, S, 3) to the scores and heatmaps that `Detector` returns.

    Args:
      config: Its sizes.
      variables: Its weights.
      count: Heatmaps that belong to AUs: the first ones.
      batch: Faces per call; None for any number.
    """
    import onnx

    graph, size = Graph(), batch or BATCH
    _connect(graph, _student(fgnet.merge(config, variables)), config, count)
    kinds, side = onnx.TensorProto, config.heatmap_size
    images = ("images", kinds.UINT8, [size, config.image_size, config.image_size, 3])
    results = [("scores", kinds.FLOAT, [size, count]), ("heatmaps", kinds.FLOAT, [size, side, side, count])]
    inputs, *outputs = [onnx.helper.make_tensor_value_info(*described) for described in (images, *results)]
    written = onnx.helper.make_graph(graph.nodes, "student", [inputs], outputs, graph.constants)
    opset = onnx.helper.make_opsetid("", OPSET)
    result = onnx.helper.make_model(written, opset_imports=[opset], ir_version=IR_VERSION, producer_name="fgnet_jax")
    onnx.checker.check_model(result, full_check=True)
    return result


def _student(network: fgnet.FGNet | Student) -> Student:
    assert isinstance(network, Student)
    return network


def _connect(graph: Graph, student: Student, config: StudentConfig, count: int) -> None:
    """Add everything from the input `images` to the outputs."""
    pixels = graph.add("Cast", "images", to=1)  # to float32
    scaled = graph.add("Div", pixels, graph.constant(np.array(127.5, np.float32)))
    centred = graph.add("Sub", scaled, graph.constant(np.array(1, np.float32)))
    heatmaps = _heatmaps(graph, student, graph.add("Transpose", centred, perm=[0, 3, 1, 2]), count)
    if config.heatmap_size != config.map_size:
        factor = config.heatmap_size // config.map_size
        heatmaps = graph.enlarge(heatmaps, factor, "linear", "align_corners")
    limits = [graph.constant(np.array(limit, np.float32)) for limit in (-1, 1)]
    clipped = graph.add("Clip", graph.add("Transpose", heatmaps, perm=[0, 2, 3, 1]), *limits, output="heatmaps")
    graph.add("ReduceMean", clipped, output="scores", axes=[1, 2], keepdims=0)


def _heatmaps(graph: Graph, student: Student, x: str, count: int) -> str:
    """Add `Student.__call__`: maps (N, count, H, W) of images (N, 3, S, S)."""
    x, maps = _relu(graph, _conv_norm(graph, student.stem, x, stride=2)), []
    for down, blocks in zip(student.downs, student.stages, strict=True):
        x = _relu(graph, _conv_norm(graph, down, x, stride=2))
        for block in blocks:
            x = _block(graph, block, x)
        maps.append(x)
    x = _conv(graph, student.laterals[2], maps[2])
    for i, join in zip((1, 0), student.joins, strict=True):
        doubled = graph.enlarge(x, 2, "nearest", "asymmetric")
        x = graph.add("Add", doubled, _conv(graph, student.laterals[i], maps[i]))
        x = _relu(graph, _conv_norm(graph, join, x))
    return _conv(graph, student.output, x, count)


def _block(graph: Graph, block: Residual | Partial | Inverted, x: str) -> str:
    if isinstance(block, Residual):
        changed = _conv_norm(graph, block.second, _relu(graph, _conv_norm(graph, block.first, x)))
        return _relu(graph, graph.add("Add", x, changed))
    if isinstance(block, Partial):
        wide = _relu(graph, _conv_norm(graph, block.expand, _mixed(graph, block, x)))
    else:
        wide = _relu(graph, _conv_norm(graph, block.expand, x))
        wide = _relu(graph, _conv_norm(graph, block.depthwise, wide))
    return graph.add("Add", x, _conv_norm(graph, block.project, wide))


def _mixed(graph: Graph, block: Partial, x: str) -> str:
    """Add the convolution of a part of the channels."""
    bounds = [graph.constant(np.array([place], np.int64)) for place in (0, block.mixed, np.iinfo(np.int64).max, 1)]
    start, middle, end, axis = bounds
    mixed = _conv(graph, block.spatial, graph.add("Slice", x, start, middle, axis))
    return graph.add("Concat", mixed, graph.add("Slice", x, middle, end, axis), axis=1)


def _conv(graph: Graph, conv: "Conv", x: str, count: int | None = None) -> str:
    """Add a convolution, of its first `count` outputs alone."""
    kernel = np.asarray(conv.kernel[...])[..., :count]
    bias = np.zeros(kernel.shape[-1]) if conv.bias is None else np.asarray(conv.bias[...])[:count]
    return graph.convolve(x, kernel, bias, conv.stride)


def _conv_norm(graph: Graph, layer: ConvNorm | DepthwiseNorm, x: str, stride: int = 1) -> str:
    """Add a convolution with the BatchNorm after it in its kernel and bias, folded in float64."""
    source, groups = (layer.conv, 1) if isinstance(layer, ConvNorm) else (layer, layer.kernel[...].shape[-1])
    gain, offset = _folded(layer.norm)
    kernel = np.asarray(source.kernel[...], np.float64) * gain
    return graph.convolve(x, kernel, offset, stride, groups)


def _folded(norm: "BatchNorm") -> tuple[np.ndarray, np.ndarray]:
    """Return what BatchNorm multiplies channels by, and what it adds: float64 (C,)."""
    scale, bias, mean, var = (np.asarray(v[...], np.float64) for v in (norm.scale, norm.bias, norm.mean, norm.var))
    gain = scale / np.sqrt(var + BATCH_NORM_EPS)
    return gain, bias - mean * gain


def _relu(graph: Graph, x: str) -> str:
    return graph.add("Relu", x)

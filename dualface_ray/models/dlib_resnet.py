"""dlib's metric ResNet as an ONNX graph.

    image ─ conv 7x7/2 ─ relu ─ max pool 3x3/2 ─ [block] x 14 ─ mean over the picture ─ matrix ─► 128 numbers
    block:        x ─ conv 3x3 ─ relu ─ conv 3x3 ─(+ x)─ relu
    block, down:  x ─ conv 3x3/2 ─ relu ─ conv 3x3 ─(+ mean pool 2x2/2 of x)─ relu

The arrangement is that of dlib's example ``dnn_metric_learning_on_images_ex.cpp``. Two facts differ from common
practice: layers with a stride pad nothing, and where the two arms of a sum differ in size or channels the smaller one
is filled up with zeros at its end (``add_prev`` in dlib's ``layers.h``).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dualface_ray.frames import EMBEDDING_SIZE, F32
from dualface_ray.models.dlib_dat import ConvLayer, parse_dlib_resnet

INPUT_PX = 150
_BLOCKS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Filters, blocks, and whether the first block of the group halves the picture."""
_OPSET = 13
_IR_VERSION = 8


class _Graph:
    """A graph under construction; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def conv(self, source: str, name: str, weight: F32, bias: F32, layer: ConvLayer) -> str:
        inputs = [source, self.weight(f"{name}.weight", weight), self.weight(f"{name}.bias", bias)]
        pads = [layer.padding] * 4
        return self.node("Conv", inputs, name, strides=[layer.stride] * 2, pads=pads, kernel_shape=weight.shape[2:])

    def grow(self, source: str, name: str, channels: int, pixels: int) -> str:
        """Zeros behind the last channel, row and column."""
        if channels == pixels == 0:
            return source
        pads = self.weight(f"{name}.pads", np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64))
        return self.node("Pad", [source, pads], name, mode="constant")


def convert_dlib_resnet(data: bytes) -> bytes:
    """Turn dlib's file into a serialised ONNX model.

    Input ``chips``: float32 (batch, 3, 150, 150), RGB 0..255, upright face chips; output ``embedding``: float32
    (batch, 128), not normalised, as dlib gives it.

    Raises:
        ModelError: the file is not dlib's metric ResNet.
    """
    net = parse_dlib_resnet(data)
    graph = _Graph()
    folded = [_fold_affine(layer) for layer in net.layers]
    weight, bias = _fold_means(*folded[0], net.means)
    x = graph.conv("chips", "stem.conv", weight, bias, net.layers[0])
    x = graph.node("Relu", [x], "stem.relu")
    x = graph.node("MaxPool", [x], "stem.pool", kernel_shape=[3, 3], strides=[2, 2])
    pixels, channels, at = 35, 32, 1  # 150 -> 72 by the convolution -> 35 by the pool
    for group, (filters, count, halves) in enumerate(_BLOCKS):
        for index in range(count):
            name, down = f"group{group}.{index}", halves and index == 0
            y = graph.conv(x, f"{name}.conv1", *folded[at], net.layers[at])
            y = graph.node("Relu", [y], f"{name}.relu1")
            y = graph.conv(y, f"{name}.conv2", *folded[at + 1], net.layers[at + 1])
            at += 2
            if down:
                x = graph.node("AveragePool", [x], f"{name}.pool", kernel_shape=[2, 2], strides=[2, 2])
                pooled, strided = pixels // 2, (pixels - 3) // 2 + 1
                x = graph.grow(x, f"{name}.grow1", filters - channels, max(strided - pooled, 0))
                y = graph.grow(y, f"{name}.grow2", 0, max(pooled - strided, 0))
                pixels, channels = max(pooled, strided), filters
            x = graph.node("Add", [y, x], f"{name}.sum")
            x = graph.node("Relu", [x], f"{name}.relu2")
    x = graph.node("GlobalAveragePool", [x], "mean")
    x = graph.node("Flatten", [x], "flat")
    graph.node("MatMul", [x, graph.weight("matrix", net.matrix)], "embedding")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "dlib-resnet",
            [helper.make_tensor_value_info("chips", TensorProto.FLOAT, ["batch", 3, INPUT_PX, INPUT_PX])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", EMBEDDING_SIZE])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    model.producer_name = "dualface_ray"
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _fold_affine(layer: ConvLayer) -> tuple[F32, F32]:
    """Merge a convolution and its affine layer: g (w x + c) + b = (g w) x + (g c + b)."""
    return layer.weight * layer.gamma[:, None, None, None], layer.bias * layer.gamma + layer.beta


def _fold_means(weight: F32, bias: F32, means: F32) -> tuple[F32, F32]:
    """Merge dlib's (pixel - mean) / 256 into the first convolution; exact because that pads nothing."""
    scaled = weight.astype(np.float64) / 256.0
    shift = np.einsum("ocij,c->o", scaled, means.astype(np.float64))
    return scaled.astype(np.float32), (bias - shift).astype(np.float32)

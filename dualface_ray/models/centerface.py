"""CenterFace: turning the published graph into one that takes any batch and size."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from dualface_ray.errors import ModelError

OUTPUTS = ("heatmap", "log_size", "offset", "landmarks")
"""Names given to the outputs, in the order of the published graph; channels 1, 2, 2, 10, stride 4."""
_CHANNELS = (1, 2, 2, 10)
_OPSET = 13  # the lowest with per-channel quantisation; every operator used here means the same since opset 9
_IR_VERSION = 8


def clean_centerface(data: bytes) -> bytes:
    """The same network with dynamic batch, height and width, readable names and nothing unused.

    The published graph lists its weights as inputs as well, carries counters of the training that no node reads, and
    fixes its dims at 10x3x32x32. Batch normalisation behind the three transposed convolutions is folded into them.

    Args:
        data: the serialised ONNX model as published.

    Raises:
        ModelError: this is not that graph.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own exception classes for damaged bytes
        raise ModelError(f"not an ONNX model: {error}", where="centerface") from error
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != len(OUTPUTS):
        raise ModelError(f"expected 1 input and 4 outputs, found {len(inputs)} and {len(graph.output)}", where="graph")
    rename = {inputs[0]: "images"} | {value.name: name for value, name in zip(graph.output, OUTPUTS, strict=True)}
    nodes = _fold_transposed(list(graph.node), weights)
    for node in nodes:
        node.input[:] = [rename.get(name, name) for name in node.input]
        node.output[:] = [rename.get(name, name) for name in node.output]
    used = {name for node in nodes for name in node.input}
    cleaned = helper.make_graph(
        nodes,
        "centerface",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, f"{name}_h", f"{name}_w"])
            for name, channels in zip(OUTPUTS, _CHANNELS, strict=True)
        ],
        [weights[name] for name in sorted(weights) if name in used],
    )
    result = helper.make_model(cleaned, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    result.producer_name = "dualface_ray"
    onnx.checker.check_model(result, full_check=True)
    return bytes(result.SerializeToString(deterministic=True))


def _fold_transposed(nodes: list[onnx.NodeProto], weights: dict[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Merge each BatchNormalization into the ConvTranspose before it: y = g (w x - m) / sqrt(v + e) + b."""
    producer = {node.output[0]: node for node in nodes}
    kept: list[onnx.NodeProto] = []
    for node in nodes:
        before = producer.get(node.input[0])
        if node.op_type != "BatchNormalization" or before is None or before.op_type != "ConvTranspose":
            kept.append(node)
            continue
        gamma, beta, mean, variance = (numpy_helper.to_array(weights[name]) for name in node.input[1:5])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / (variance + epsilon) ** 0.5
        kernel = numpy_helper.to_array(weights[before.input[1]])  # (in, out, rows, columns)
        folded, bias = f"{before.output[0]}.weight", f"{before.output[0]}.bias"
        weights[folded] = numpy_helper.from_array(kernel * factor[None, :, None, None], folded)
        weights[bias] = numpy_helper.from_array(beta - mean * factor, bias)
        before.input[:] = [before.input[0], folded, bias]
        before.output[0] = node.output[0]
    return kept

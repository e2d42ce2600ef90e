"""FP16: precision lives in the ONNX graph, where ONNX Runtime can check it on a CPU before any engine is built.

TensorRT 11 has no precision flags and 10 prefers strongly typed networks, so the graph itself says half: weights are
rounded once, the few operators that need single precision keep it between casts, and the types of inputs and outputs
are chosen by the caller. The converter covers plain feed-forward graphs, which is all this project uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dualface_ray.errors import ModelError

HALF_MAX = 65504.0
"""Largest finite IEEE 754 binary16 number."""
HALF_TINY = 2.0**-24
"""Smallest positive binary16 number (subnormal)."""

FULL_PRECISION_INPUTS: dict[str, frozenset[int]] = {"Resize": frozenset({1, 2}), "Upsample": frozenset({1})}
"""Inputs that ONNX wants as float32 whatever the data: regions and scales."""

FULL_PRECISION_OPERATORS = frozenset({"ReduceSumSquare", "ReduceL2", "LpNormalization", "Range", "CumSum"})
"""Sums of squares overflow at 65504; sequences and running sums lose integers above 2048."""

_SUBGRAPHS = frozenset({"If", "Loop", "Scan"})
_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@dataclass(frozen=True, slots=True)
class HalfReport:
    """What the rounding of the weights did."""

    converted: int
    clipped: int
    """Weights beyond the range of binary16, now at its end."""
    vanished: int
    """Weights too small for binary16, now zero."""


def to_half(data: bytes, *, keep_inputs: bool = False, keep_outputs: bool = True) -> tuple[bytes, HalfReport]:
    """Turn a float32 ONNX model into one that computes in float16.

    Args:
        data: the serialised model.
        keep_inputs: leave the inputs float32 and cast behind them; otherwise callers must feed float16.
        keep_outputs: cast the outputs back to float32, so that post-processing need not know.

    Raises:
        ModelError: the graph holds subgraphs, is quantised, or is no valid model.
    """
    try:
        model = onnx.load_model_from_string(data)
        typed = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # protobuf, checker and inference each raise their own classes
        raise ModelError(f"not a valid ONNX model: {error}", where="fp16 conversion") from error
    converter = _Converter(typed.graph)
    converter.run(keep_inputs=keep_inputs, keep_outputs=keep_outputs)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(converter.graph())
    try:
        onnx.checker.check_model(result, full_check=True)
    except Exception as error:
        raise ModelError(f"the converted graph is not valid: {error}", where="fp16 conversion") from error
    return bytes(result.SerializeToString(deterministic=True)), converter.report()


class _Converter:
    """One pass over the nodes in order; ``half`` holds the names that are float16 by now."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        values = [*graph.value_info, *graph.input, *graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._types.update({name: tensor.data_type for name, tensor in self._weights.items()})
        self._half_weights: dict[str, onnx.TensorProto] = {}
        self._half: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []
        self._made: set[str] = set()
        self._rename: dict[str, str] = {}
        self._counts = [0, 0, 0]

    def report(self) -> HalfReport:
        return HalfReport(*self._counts)

    def run(self, *, keep_inputs: bool, keep_outputs: bool) -> None:
        outputs = {value.name for value in self._graph.output}
        for value in self._graph.input:
            if value.name not in self._weights and self._types[value.name] == _FLOAT and not keep_inputs:
                value.type.tensor_type.elem_type = _HALF
                self._half.add(value.name)
        for node in self._graph.node:
            self._convert(node)
        for value in self._graph.output:
            name = value.name
            current = self._rename.get(name, name)
            if self._types.get(name) != _FLOAT or current not in self._half:
                continue
            if not keep_outputs:
                value.type.tensor_type.elem_type = _HALF
                continue
            inner = f"{name}__half"
            for node in self._nodes:
                node.input[:] = [inner if one == name else one for one in node.input]
                node.output[:] = [inner if one == name else one for one in node.output]
            self._nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}__out", to=_FLOAT))
        missing = outputs - {one for node in self._nodes for one in node.output} - set(self._types)
        if missing:
            raise ModelError(f"outputs lost in conversion: {sorted(missing)}", where="fp16 conversion")

    def _convert(self, node: onnx.NodeProto) -> None:
        if node.op_type in _SUBGRAPHS or any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute):
            raise ModelError(f"the operator {node.op_type} holds a subgraph", where=node.name or node.op_type)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            raise ModelError("the graph is already quantised", where=node.name or node.op_type)
        node = onnx.NodeProto.FromString(node.SerializeToString())
        if node.op_type == "Constant":
            self._constant(node)
            return
        full = node.op_type in FULL_PRECISION_OPERATORS
        exempt = FULL_PRECISION_INPUTS.get(node.op_type, frozenset())
        for position, name in enumerate(node.input):
            if self._types.get(name) == _FLOAT:
                node.input[position] = self._as(name, half=not full and position not in exempt)
        if node.op_type in ("Cast", "ConstantOfShape"):
            self._retype(node)
        self._nodes.append(node)
        if not full:
            self._half.update(name for name in node.output if self._types.get(name) == _FLOAT)

    def _constant(self, node: onnx.NodeProto) -> None:
        """Constants become weights, so that each user may have the type it needs."""
        for attribute in node.attribute:
            if attribute.name == "value" and attribute.t.data_type == _FLOAT:
                tensor = attribute.t
            elif attribute.name in ("value_float", "value_floats"):
                values = attribute.f if attribute.name == "value_float" else list(attribute.floats)
                tensor = numpy_helper.from_array(np.asarray(values, np.float32))
            else:
                continue
            tensor.name = node.output[0]
            self._weights[tensor.name] = tensor
            self._types[tensor.name] = _FLOAT
            return
        self._nodes.append(node)

    def _retype(self, node: onnx.NodeProto) -> None:
        """Operators whose attribute names the type of their output."""
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
                attribute.i = _HALF
            if node.op_type == "ConstantOfShape" and attribute.name == "value" and attribute.t.data_type == _FLOAT:
                value = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(value))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(
                helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16), "value"))
            )

    def _as(self, name: str, *, half: bool) -> str:
        """The name of this float value in the wanted precision, made on demand."""
        if name in self._weights:
            return self._half_weight(name) if half else name
        if (name in self._half) == half:
            return name
        cast = f"{name}__{'half' if half else 'full'}_in"
        if cast not in self._made:
            self._made.add(cast)
            to = _HALF if half else _FLOAT
            self._nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=to))
        return cast

    def _half_weight(self, name: str) -> str:
        half_name = f"{name}__fp16"
        if half_name not in self._half_weights:
            values = numpy_helper.to_array(self._weights[name])
            if not np.isfinite(values).all():
                raise ModelError("a weight is not a finite number", where=name, remedy="Use detect.precision=fp32.")
            size = np.abs(values)
            clipped = np.clip(values, -HALF_MAX, HALF_MAX).astype(np.float16)
            self._half_weights[half_name] = numpy_helper.from_array(clipped, half_name)
            self._counts[0] += values.size
            self._counts[1] += int((size > HALF_MAX).sum())
            self._counts[2] += int(((size > 0) & (clipped == 0)).sum())
        return half_name

    def graph(self) -> onnx.GraphProto:
        used = {name for node in self._nodes for name in node.input} | {value.name for value in self._graph.output}
        weights: Iterable[onnx.TensorProto] = [
            tensor for tensor in (*self._weights.values(), *self._half_weights.values()) if tensor.name in used
        ]
        inputs = [value for value in self._graph.input if value.name not in self._weights]
        return helper.make_graph(
            self._nodes, self._graph.name, inputs, list(self._graph.output), sorted(weights, key=lambda t: t.name)
        )

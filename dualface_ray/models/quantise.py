"""INT8 with a gate: Q/DQ by ONNX Runtime's static quantisation, refused unless its measured loss is small.

    float32 model ─ calibrate on frames (easy and hard) ─► Q/DQ model ─ compare on held-out frames ─► kept or refused

The comparison runs on the CPU and needs no device: Q/DQ graphs mean the same arithmetic to ONNX Runtime and to
TensorRT. Experimental and off by default.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from dualface_ray.errors import ModelError
from dualface_ray.frames import F32
from dualface_ray.models.accuracy import Found, average_precision

LEAST_FRAMES = 8
"""Fewer frames to calibrate or to judge on would say nothing."""

Decode = Callable[[dict[str, F32], float], list[Found]]
"""From a batch's outputs by name and a lowest score to what was found in each picture."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate measured."""

    ap_reference: float
    ap_candidate: float
    frames: int
    faces: int
    max_ap_loss: float

    @property
    def loss(self) -> float:
        """Average precision lost against float32; negative when the candidate happens to be better."""
        return self.ap_reference - self.ap_candidate

    @property
    def passed(self) -> bool:
        """Within the limit."""
        return self.loss <= self.max_ap_loss


class _Frames:
    """ONNX Runtime's calibration reader over prepared tensors, float32 (1, 3, H, W) each."""

    def __init__(self, name: str, tensors: Sequence[F32]) -> None:
        self._items = iter([{name: np.ascontiguousarray(tensor, np.float32)} for tensor in tensors])

    def get_next(self) -> dict[str, F32] | None:
        return next(self._items, None)


def quantise(model: bytes, calibration: Sequence[F32], *, keep_heads: bool = True) -> bytes:
    """A Q/DQ version of a float32 model: symmetric INT8, weights per channel, as TensorRT demands.

    Args:
        model: serialised float32 ONNX, opset 13 or later.
        calibration: prepared inputs, float32 (1, 3, H, W); dark, back-lit and blurred frames belong among them.
        keep_heads: leave the convolutions that write the graph's outputs in float32; they cost little and carry
            sub-pixel values that 256 steps cannot.

    Raises:
        ModelError: too few frames, or ONNX Runtime refuses the graph.
    """
    if len(calibration) < LEAST_FRAMES:
        raise ModelError(f"{len(calibration)} frames to calibrate on, at least {LEAST_FRAMES} are needed", where="int8")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    parsed = onnx.load_model_from_string(model)
    weights = {tensor.name for tensor in parsed.graph.initializer}
    input_name = next(value.name for value in parsed.graph.input if value.name not in weights)
    for index, node in enumerate(parsed.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"  # exclusion goes by name
    excluded = _head_nodes(parsed.graph) if keep_heads else []
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory(prefix="dualface-int8-") as folder:
        source, target = Path(folder) / "in.onnx", Path(folder) / "out.onnx"
        onnx.save_model(parsed, str(source))
        try:
            logger.setLevel(logging.ERROR)  # it advises through the root logger
            quantize_static(
                str(source),
                str(target),
                _Frames(input_name, calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "ConvTranspose", "Add", "MaxPool"],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
            )
            return target.read_bytes()
        except Exception as error:
            raise ModelError(f"ONNX Runtime could not quantise the model: {error}", where="int8") from error
        finally:
            logger.setLevel(level)


def _head_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions nearest to each output, looking through activations."""
    producer = {output: node for node in graph.node for output in node.output}
    names: list[str] = []
    for value in graph.output:
        node = producer.get(value.name)
        while node is not None and node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            node = producer.get(node.input[0])
        if node is not None:
            names.append(node.name)
    return names


def run_model(model: bytes, tensors: Sequence[F32], *, threads: int = 0) -> list[dict[str, F32]]:
    """Outputs by name for each prepared input, computed by ONNX Runtime on the CPU; float16 models are fed as such."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype: Any = np.float16 if given.type == "tensor(float16)" else np.float32
    names = [output.name for output in session.get_outputs()]
    results = []
    for tensor in tensors:
        values = session.run(names, {given.name: np.ascontiguousarray(tensor, dtype)})
        results.append({name: np.asarray(value, np.float32) for name, value in zip(names, values, strict=True)})
    return results


def measure(
    reference: bytes,
    candidate: bytes,
    held_out: Sequence[F32],
    decode: Decode,
    *,
    truth: Sequence[F32] | None = None,
    max_ap_loss: float,
    min_score: float = 0.5,
    rank_score: float = 0.05,
) -> GateResult:
    """Compare two models on frames neither was calibrated on.

    Without ``truth`` the reference's own detections from ``min_score`` up are the truth (its AP is then 1 by
    definition); ranking uses everything from ``rank_score`` up, so weak false alarms count against the candidate.

    Args:
        reference: float32 model.
        candidate: the model to judge.
        held_out: prepared inputs, float32 (1, 3, H, W).
        decode: turns outputs into boxes.
        truth: true boxes of each frame in the decoder's pixels, float32 (n, 4), when known.
        max_ap_loss: highest loss that passes.
        min_score: what counts as a detection.
        rank_score: lowest score that enters the ranking.

    Raises:
        ModelError: too few frames, or no face in any of them.
    """
    if len(held_out) < LEAST_FRAMES:
        raise ModelError(f"{len(held_out)} held-out frames, at least {LEAST_FRAMES} are needed", where="int8")
    found = {
        name: [decode(outputs, rank_score)[0] for outputs in run_model(model, held_out)]
        for name, model in (("reference", reference), ("candidate", candidate))
    }
    if truth is None:
        truth = [one.boxes_px[one.scores >= min_score] for one in found["reference"]]
    faces = sum(len(boxes) for boxes in truth)
    if faces == 0:
        raise ModelError("no face in any held-out frame: nothing to judge by", where="int8")
    return GateResult(
        ap_reference=average_precision(truth, found["reference"]),
        ap_candidate=average_precision(truth, found["candidate"]),
        frames=len(held_out),
        faces=faces,
        max_ap_loss=max_ap_loss,
    )


def quantise_checked(
    model: bytes,
    calibration: Sequence[F32],
    held_out: Sequence[F32],
    decode: Decode,
    *,
    max_ap_loss: float,
    truth: Sequence[F32] | None = None,
) -> tuple[bytes, GateResult]:
    """Quantise and pass the gate.

    Raises:
        ModelError: the loss is above ``max_ap_loss``; the message holds the figures.
    """
    candidate = quantise(model, calibration)
    result = measure(model, candidate, held_out, decode, truth=truth, max_ap_loss=max_ap_loss)
    if not result.passed:
        raise ModelError(
            f"int8 loses {result.loss:.4f} average precision against fp32 on {result.frames} frames with "
            f"{result.faces} faces, at most {max_ap_loss:.4f} is allowed",
            where="int8",
            remedy="Use detect.precision=fp16, or calibrate on more and harder frames.",
        )
    return candidate, result
